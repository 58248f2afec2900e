"""Puts small faults into the package, one at a time, and lists those that no test notices.

python tools/mutants.py [--packages layers method …] [--count N] [--seed S] [--out FILE] [--again]

A mutant is one change of one place. It lives in a copy of the tree, never in the working tree, and the
tests that could see it run there: first `tests/PACKAGE/**/test_FILE*.py`, then every test that imports
the file, then the rest of `tests/PACKAGE`. Each result is appended to FILE, so that an interrupted run
goes on where it stopped. At the end the tests that noticed a mutant run without it, and must pass.
`equivalent_mutants.csv` lists changes that no test can see, with the reason; they are not tried.
"""

import argparse
import ast
import copy
import csv
import functools
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.csv")
COLUMNS = (
    "mutant",
    "package",
    "file",
    "line",
    "operator",
    "change",
    "outcome",
    "seconds",
    "noticed_by",
)
# Outcomes. Unclear: the test that failed also fails without the mutant, or pytest itself failed.
KILLED, SURVIVED, TIMEOUT, UNCLEAR = "killed", "survived", "timeout", "unclear"
SLOW_PACKAGES = {"cli"}  # Its tests run whole commands, minutes a mutant: tried only when named.


class Mutant(NamedTuple):
    """One change of one place.

    Attributes:
        identity: str. A hash of the file's name, the function and the change, which survives a move.
        package, file: str. Folder in the package; path in the tree.
        line: int, from 1.
        operator: str, a key of `OPERATORS`.
        begin, end: int. The bytes of the file that are replaced.
        before, after: str. The original code, and its replacement.
    """

    identity: str
    package: str
    file: str
    line: int
    operator: str
    begin: int
    end: int
    before: str
    after: str

    @property
    def change(self):
        return " ".join(f"{self.before} -> {self.after}".split())


# Operators: each yields what may stand in a node's place, and nothing where it does not fit.


def name_of(node):
    """`mean` of both `tf.mean` and `mean`; an empty string for anything else."""
    return getattr(node, "attr", None) or getattr(node, "id", "")


def number_of(node):
    """The value of an int or float literal, sign included, else None."""
    inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    if isinstance(inner, ast.Constant) and type(inner.value) in (int, float):
        return inner.value if inner is node else -inner.value
    return None


def changed(node, **fields):
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def call(function, *arguments):
    return ast.Call(ast.Name(function), list(arguments), [])


def renamed(node, names):
    """A call with its function's name replaced by its counterpart."""
    if isinstance(node, ast.Call) and (new := names.get(name_of(node.func))):
        field = "attr" if isinstance(node.func, ast.Attribute) else "id"
        yield changed(node, func=changed(node.func, **{field: new}))


def sign(node, function):
    match node:
        case ast.BinOp(op=ast.Sub()):
            yield changed(node, op=ast.Add())
        case ast.UnaryOp(op=ast.USub()) if number_of(node) is None:
            yield node.operand
        case ast.Return(value=ast.BinOp(op=ast.Mult() | ast.Div() | ast.Sub())):
            yield changed(node, value=ast.UnaryOp(ast.USub(), node.value))


REDUCTIONS = {"mean", "sum", "max", "min", "any", "all", "argmax", "argmin", "softmax", "concatenate"}
REDUCTIONS |= {"reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "concat", "stack", "take"}


def axis(node, function):
    def others(value):
        number = number_of(value)
        if number is not None:
            yield ast.Constant({-1: 0, 0: 1}.get(number, number - 1))
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) > 1:
            yield changed(value, elts=value.elts[:-1])

    match node:
        case ast.keyword("axis", value):
            yield from (changed(node, value=other) for other in others(value))
        case ast.Call(func=ast.Attribute(attr=name), args=[values, value]) if name in REDUCTIONS:
            yield from (changed(node, args=[values, other]) for other in others(value))


def gradient(node, function):
    match node:
        case ast.Call(args=[argument]) if name_of(node.func) == "stop_gradient":
            yield argument


def seed(node, function):
    match node:
        case ast.keyword("seed", value) if not isinstance(value, ast.Constant):
            yield changed(node, value=ast.Constant(0))
        case ast.BinOp(op=ast.Add()) if "seed" in ast.unparse(node.left):
            yield node.left
        case ast.Call(args=[first, *_]) if name_of(node.func) in ("stateless_fold_in", "replica_seed"):
            yield first
        case ast.Call(args=[_]) if name_of(node.func) in ("default_rng", "Random"):
            yield changed(node, args=[ast.Constant(0)])


def order(node, function):
    match node:
        case ast.Call(func=ast.Name("sorted" | "reversed"), args=[argument]):
            yield call("list", argument)
        case ast.Call(args=[argument, *_]) if name_of(node.func) == "argsort":
            yield changed(node, args=[ast.UnaryOp(ast.USub(), argument), *node.args[1:]])
        case ast.Subscript(slice=ast.Slice(None, None, ast.UnaryOp(ast.USub(), ast.Constant(1)))):
            yield node.value
        case ast.Expr(ast.Call(func=ast.Attribute(attr="sort" | "reverse" | "shuffle"))):
            yield ast.Pass()


def mask(node, function):
    match node:
        case ast.UnaryOp(op=ast.Invert() | ast.Not()):
            yield node.operand
        case ast.Call(args=[condition, one, other]) if name_of(node.func) == "where":
            yield changed(node, args=[condition, other, one])
        case ast.BinOp(op=ast.BitAnd()):
            yield node.left
            yield node.right
        case ast.BinOp(op=ast.Mult()) if re.search("mask|weight", ast.unparse(node.right)):
            yield node.left


STATISTICS = {"reduce_mean": "reduce_sum", "mean": "sum", "median": "max", "std": "var"}
STATISTICS |= {"reduce_max": "reduce_min", "reduce_sum": "reduce_mean", "maximum": "minimum"}
STATISTICS |= {"reduce_std": "reduce_variance", "minimum": "maximum", "max": "min", "min": "max"}


def statistic(node, function):
    yield from renamed(node, STATISTICS)
    match node:
        case ast.keyword("ddof", ast.Constant(0 | 1 as freedom)):
            yield changed(node, value=ast.Constant(1 - freedom))
        case ast.Call(args=[values, quantile]) if name_of(node.func) in ("quantile", "percentile"):
            whole = ast.Constant(1 if name_of(node.func) == "quantile" else 100)
            yield changed(node, args=[values, ast.BinOp(whole, ast.Sub(), quantile)])


UPDATES = {"assign", "assign_add", "assign_sub", "update", "update_state", "reset_state", "append"}
UPDATES |= {"add", "extend", "commit", "apply", "apply_gradients", "average_statistics"}
CONSTRUCTORS = {"__init__", "build"}  # Without their attributes everything fails.


def state(node, function):
    match node:
        case ast.Expr(ast.Call(func=ast.Attribute(attr=method))) if method in UPDATES:
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute(ast.Name("self"))]) if function not in CONSTRUCTORS:
            yield ast.Pass()
        case ast.AugAssign():
            yield ast.Pass()


SHIFTED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


def comparison(node, function):
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SHIFTED:
            yield changed(node, ops=[SHIFTED[type(operator)]()])


ROUNDING = 1e-3  # Smaller numbers are there for rounding errors.


def constant(node, function):
    match node:
        case ast.Constant(value) if type(value) is int:
            yield ast.Constant(value + 1)
        case ast.Constant(value) if type(value) is float and value > ROUNDING:
            yield ast.Constant(2 * value)


OPERATORS = {
    "sign": sign,
    "axis": axis,
    "gradient": gradient,
    "seed": seed,
    "order": order,
    "mask": mask,
    "statistic": statistic,
    "state": state,
    "comparison": comparison,
    "constant": constant,
}


# Which mutants there are, and which tests could notice one.


def package_of(tree):
    """The one folder of a tree that is a package."""
    return next(
        path.parent for path in sorted(tree.glob("*/__init__.py")) if path.parent.name != "tests"
    )


def mutants_of(path, tree):
    """Every mutant of a file."""
    source = path.read_bytes()
    starts = [0]  # The byte at which each line begins: the parser counts bytes.
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    file, same = path.relative_to(tree).as_posix(), Counter()
    package = path.relative_to(package_of(tree)).parts[0]
    for node, function in nodes_of(ast.parse(source)):
        for operator, replacements in OPERATORS.items():
            for new in replacements(node, function):
                begin = starts[node.lineno - 1] + node.col_offset
                end = starts[node.end_lineno - 1] + node.end_col_offset
                before, after = source[begin:end].decode(), ast.unparse(ast.fix_missing_locations(new))
                if isinstance(new, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp):
                    after = f"({after})"
                change = (path.name, function, operator, before, after)
                same[change] += 1
                identity = hashlib.sha1(repr((*change, same[change])).encode()).hexdigest()[:8]
                yield Mutant(identity, package, file, node.lineno, operator, begin, end, before, after)


def nodes_of(node, function=""):
    """Every node that runs, with its function's name.

    Excludes messages of errors, annotations, and f-strings, whose positions the parser does not give.
    """
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    yield node, function
    if isinstance(node, ast.FunctionDef):
        function = node.name
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from nodes_of(child, function)


def chosen_mutants(tree, package, count, seed, equivalent=()):
    """Mutants of a package, as many kinds of fault as there are: the operators take turns."""
    files = sorted((package_of(tree) / package).rglob("*.py"))
    mutants = [mutant for file in files for mutant in mutants_of(file, tree)]
    random.Random(f"{seed} {package}").shuffle(mutants)
    turns, turn = Counter(), {}
    for mutant in mutants:
        turn[mutant] = turns[mutant.operator]
        turns[mutant.operator] += mutant.identity not in equivalent
    mutants = [mutant for mutant in mutants if mutant.identity not in equivalent]
    return sorted(mutants, key=turn.get)[:count]


def suite_for(mutant, tree):
    """Paths of the tests that could notice a mutant, likeliest first."""
    path = Path(mutant.file)
    beside = sorted((tree / "tests" / mutant.package).rglob("test_*.py"))
    named = [test for test in beside if test.name.startswith(f"test_{path.stem}")]
    every = [*beside, *sorted((tree / "tests").rglob("test_*.py"))]
    importing = [test for test in every if imports_file(test, path, tree)]
    return [test.relative_to(tree).as_posix() for test in dict.fromkeys([*named, *importing, *beside])]


def imports_file(test, path, tree):
    """Whether a test imports a file, or from one of its packages a name that the file defines."""
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    for node in ast.walk(parsed(test)):
        if isinstance(node, ast.Import) and any(alias.name == module for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name for alias in node.names}
            if node.module == module or (f"{node.module}.{path.stem}" == module and path.stem in names):
                return True
            if module.startswith(f"{node.module}.") and names & names_defined(tree / path):
                return True
    return False


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def names_defined(path):
    return {node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


# Running them.


class Workshop:
    """A copy of a tree, in which tests run on one mutant at a time.

    Args:
        tree: `Path` of the tree that is copied.
        limit: float. Seconds for the tests of one mutant.
    """

    def __init__(self, tree, limit):
        self.limit = limit
        self._folder = tempfile.TemporaryDirectory(prefix="mutants_")
        self.tree = Path(self._folder.name) / "tree"
        left_out = (".git", "__pycache__", ".*_cache", "build", "dist", "runs", ".venv")
        shutil.copytree(tree, self.tree, ignore=shutil.ignore_patterns(*left_out))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._folder.cleanup()

    def outcome(self, mutant):
        """How the tests of a mutant end: an outcome, and the test that noticed it."""
        path = self.tree / mutant.file
        source = path.read_bytes()
        path.write_bytes(source[: mutant.begin] + mutant.after.encode() + source[mutant.end :])
        try:
            status, output = self._pytest("-x", *suite_for(mutant, self.tree))
        finally:
            path.write_bytes(source)
        if status is None:
            return TIMEOUT, ""
        if status == 0:
            return SURVIVED, ""
        failed = failed_in(output)
        return (KILLED, failed[0]) if failed else (UNCLEAR, output.strip().splitlines()[-1])

    def failing(self, tests):
        """Those of some tests that fail without a mutant."""
        return set(failed_in(self._pytest(*sorted(tests))[1])) if tests else set()

    def _pytest(self, *arguments):
        """Exit code, None after the time limit; and all output."""
        # Bytecode is looked up by the file's second and size, which a mutant may share with another.
        environment = os.environ | {"PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *arguments],
            cwd=self.tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Processes that tests start end with them.
        )
        try:
            output, _ = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode, output


def failed_in(output):
    """The tests, or the files, that pytest's summary lists as failed."""
    return re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)


def results_in(path):
    """The last result of each mutant in a file of results."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["mutant"]: row for row in csv.DictReader(file)}


def record(path, *row):
    """Appends one result."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, row] if fresh else [row])


def table(rows):
    """Lines of a table: noticed and survived by package, then each mutant that was not noticed."""
    counts = {}
    for row in rows:
        counts.setdefault(row["package"], Counter())[row["outcome"]] += 1
    yield f"{'package':15}" + "".join(f"{name:>10}" for name in ("noticed", SURVIVED, TIMEOUT, UNCLEAR))
    for package, by_outcome in counts.items():
        numbers = (by_outcome[outcome] for outcome in (KILLED, SURVIVED, TIMEOUT, UNCLEAR))
        yield f"{package:15}" + "".join(f"{number:10}" for number in numbers)
    for row in rows:
        if row["outcome"] != KILLED:
            yield f"{row['outcome']} {row['mutant']} {row['file']}:{row['line']} {row['change']}"


def main(arguments=None, tree=TREE, equivalent=EQUIVALENT):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    every = sorted({path.parent.name for path in package_of(tree).glob("*/__init__.py")})
    parser.add_argument(
        "--packages", nargs="+", choices=every, default=sorted({*every} - SLOW_PACKAGES)
    )
    parser.add_argument("--count", type=int, default=10, help="mutants a package (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of mutants (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("mutants.csv"), help="file of results")
    parser.add_argument("--limit", type=float, default=900, help="seconds a mutant (default: 900)")
    parser.add_argument("--again", action="store_true", help="tries again what was not noticed")
    options = parser.parse_args(arguments)
    chosen = [
        mutant
        for package in options.packages
        for mutant in chosen_mutants(tree, package, options.count, options.seed, results_in(equivalent))
    ]
    done = results_in(options.out)
    pending = [
        mutant
        for mutant in chosen
        if mutant.identity not in done or (options.again and done[mutant.identity]["outcome"] != KILLED)
    ]
    with Workshop(tree, options.limit) as workshop:
        for number, mutant in enumerate(pending, start=1):
            began = time.perf_counter()
            outcome, noticed_by = workshop.outcome(mutant)
            seconds = round(time.perf_counter() - began, 1)
            kept = (mutant.identity, mutant.package, mutant.file, mutant.line, mutant.operator)
            record(options.out, *kept, mutant.change, outcome, seconds, noticed_by)
            location = f"{mutant.file}:{mutant.line} {mutant.change}"
            print(f"{number}/{len(pending)} {outcome} {seconds} s {location}", file=sys.stderr)
        done = results_in(options.out)
        killed = [row for row in done.values() if row["outcome"] == KILLED]
        failing = workshop.failing({row["noticed_by"] for row in killed})
    for row in killed:
        if row["noticed_by"] in failing:
            record(options.out, *(row | {"outcome": UNCLEAR}).values())
    done = results_in(options.out)
    print("\n".join(table([done[mutant.identity] for mutant in chosen if mutant.identity in done])))


if __name__ == "__main__":
    main()
