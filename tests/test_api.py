"""The public names: their signatures, their types, and the agreement of functions and commands.

After an intended change of a public name, renew `tests/public_names.txt`:

    python tests/test_api.py
"""

import difflib
import inspect
import subprocess
import sys
from pathlib import Path

import griffe
import pytest
from fresh_process import REPOSITORY, ended

import dreal_tf
from dreal_tf import api
from dreal_tf.cli.main import VERBS

# Results that stand beside the functions they come from.
RESULTS = (
    "training.evaluation.RunMetrics",
    "analysis.audit.Audit",
    "analysis.audit_critic.CriticAudit",
)
RESULTS += ("analysis.benchmark.Benchmark", "experiments.run_study.StudyResult")
RESULTS += ("experiments.run_search.SearchResult",)
SNAPSHOT = Path(__file__).with_name("public_names.txt")
FUNCTIONS = [verb for verb in VERBS if verb.__name__ not in ("recipes", "doctor")]


def parameter_lines(function):
    """A line for each parameter: its name, annotation and default, keyword-only ones after `*`."""
    for parameter in function.parameters:
        if parameter.name == "self":
            continue
        mark = {"keyword-only": "* ", "variadic keyword": "**", "variadic positional": "*"}
        name = mark.get(parameter.kind.value, "") + parameter.name
        annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
        variadic = parameter.kind.value.startswith("variadic")
        default = f" = {parameter.default}" if parameter.default is not None and not variadic else ""
        yield f"    {name}{annotation}{default}"


def described(name, definition):
    """The lines of a function, or of a class: its constructor, methods and annotated attributes."""
    if definition.is_function:
        yield f"{name} -> {definition.returns}"
        yield from parameter_lines(definition)
        return
    if definition.is_attribute:
        yield name
        return
    yield f"{name}({', '.join(map(str, definition.bases))})"
    constructor, arguments = definition.members.get("__init__"), set()
    if constructor is not None and constructor.is_function:
        arguments = {parameter.name for parameter in constructor.parameters}
        yield from parameter_lines(constructor)
    for member_name, member in sorted(definition.members.items()):
        if member_name.startswith("_") or member.is_alias or member_name in arguments:
            continue
        if member.is_function:
            parameters = ", ".join(line.strip() for line in parameter_lines(member))
            yield f"    .{member_name}({parameters})"
        elif member.is_attribute and member.annotation is not None:
            default = f" = {member.value}" if member.value is not None else ""
            yield f"    .{member_name}: {member.annotation}{default}"


def public_names():
    """Every public name with its signature, read without importing the package."""
    package = griffe.load("dreal_tf", search_paths=[REPOSITORY], allow_inspection=False)
    definitions = {name: package[name].final_target for name in dreal_tf.__all__}
    results = package["deployment.results"].members.items()
    definitions |= {n: c for n, c in results if not c.is_alias and c.is_class}
    definitions |= {name: package[name] for name in RESULTS}
    lines = []
    for name, definition in definitions.items():
        lines += described(name, definition)
    return "\n".join(lines) + "\n"


def test_no_public_name_changes_unnoticed():
    recorded, current = (text.splitlines() for text in (SNAPSHOT.read_text(), public_names()))
    changes = [line for line in difflib.unified_diff(recorded, current, "recorded", "current", n=0)]
    assert not changes, "\n".join(
        [*changes, "If these changes are intended, run `python tests/test_api.py` and commit its file."]
    )


def test_every_parameter_of_a_public_function_is_annotated():
    for name in dreal_tf.__all__:
        value = getattr(dreal_tf, name)
        if not callable(value):
            continue
        function = value.__init__ if inspect.isclass(value) else value
        if value.__module__.startswith(("dreal_tf.experiments", "dreal_tf.training.recipe")):
            continue
        parameters = list(inspect.signature(function).parameters.values())
        missing = [p.name for p in parameters if p.annotation is p.empty and p.name != "self"]
        assert not missing, name


def test_a_type_checker_finds_no_mistake_but_the_marked_ones():
    """The public functions are typed correctly; `typed_use.py` has right calls and marked mistakes."""
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml"]
    process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


# Options whose parameter has another name.
RENAMED = {"target": "model", "run": "model", "known": "rows"}


@pytest.mark.parametrize("command", FUNCTIONS, ids=lambda command: command.__name__)
def test_every_option_of_a_command_is_an_argument_of_its_function(command):
    function = getattr(dreal_tf, command.__name__)
    assert function is getattr(api, command.__name__)
    arguments = set(inspect.signature(function).parameters)
    options = set(inspect.signature(command).parameters) - {"as_json", "print_recipe", "plugin"}
    assert {name if name in arguments else RENAMED.get(name, name) for name in options} <= arguments


WRONG = """
import sys
import dreal_tf
from dreal_tf.errors import InputError
calls = [
    lambda: dreal_tf.train("digits_resnet9_se"),
    lambda: dreal_tf.train(dreal_tf.Recipe(), smoke=True),
    lambda: dreal_tf.evaluate("no_run"),
    lambda: dreal_tf.export("no_run", "served"),
    lambda: dreal_tf.predict("no_run", "."),
    lambda: dreal_tf.predict(".", ".", top=0),
    lambda: dreal_tf.index("run", ".", out="."),
    lambda: dreal_tf.index("run", ".", out="x", data="no_recipe"),
    lambda: dreal_tf.search("index", ".", top=0),
    lambda: dreal_tf.prune("no_run"),
    lambda: dreal_tf.prune("no_run", keep=1, threshold=0.5),
    lambda: dreal_tf.audit("no_run"),
    lambda: dreal_tf.audit(),
    lambda: dreal_tf.audit(critic="no_run"),
    lambda: dreal_tf.report("no_run"),
    lambda: dreal_tf.benchmark("no_recipe"),
    lambda: dreal_tf.study("no_study", out="x"),
    lambda: dreal_tf.tune("digits_resnet8_se", space="no_space"),
]
for number, call in enumerate(calls):
    try:
        call()
    except InputError as error:
        assert "Received: " in str(error), number
    else:
        raise AssertionError(number)
print("tensorflow" in sys.modules)
"""


def test_wrong_arguments_are_refused_before_tensorflow_is_loaded(tmp_path):
    process = ended("-c", WRONG, folder=tmp_path)
    assert process.stdout == "False\n", process.stderr
    assert not list(tmp_path.iterdir()) and not process.stderr


@pytest.mark.slow
def test_benchmark_gives_ratios():
    measured = dreal_tf.benchmark("digits_resnet8_se", smoke=True, rounds=1, memory=False)
    assert measured.ratio == measured["ratio"] and set(measured.ratio) == {"sampled", "exact"}


if __name__ == "__main__":
    SNAPSHOT.write_text(public_names())
