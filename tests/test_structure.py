"""The shape of the package: imports point downward, and the examples in docstrings run."""

import ast
import doctest
import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import dreal_tf

PACKAGE = Path(dreal_tf.__file__).parent
REPOSITORY = PACKAGE.parent

# A part imports only from those before it.
ORDER = ("errors", "storage", "keras_internals", "modules", "replicas", "layers")
ORDER += ("networks.flops", "networks.backbones", "networks.attaching", "networks.pretrained")
ORDER += ("networks.other_backbone", "method.finite", "method.types", "method.formulas", "method.rows")
ORDER += ("method.critics", "method.rewards", "method.instruments", "method.summary", "method.metrics")
ORDER += ("retrieval", "model", "data", "visualization", "training", "analysis", "deployment")
ORDER += ("experiments", "api", "cli")
LEVELS = {part: level for level, part in enumerate(ORDER)}
# The parts that read or write files; parts that compute come before them.
FILES = {"storage", *ORDER[ORDER.index("data") :]} - {"visualization"}
PACKAGES_OF_PARTS = ("networks", "method")


def part_of(module):
    names = module.removeprefix("dreal_tf.").split(".")
    return ".".join(names[:2] if names[0] in PACKAGES_OF_PARTS else names[:1])


def imports():
    """Every (importing part, imported part) with the file, imports inside functions included."""
    packages = ["dreal_tf", *(f"dreal_tf.{name}" for name in PACKAGES_OF_PARTS)]
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] in ("__init__.py", "__main__.py", "recipes"):
            continue
        here = part_of(".".join(relative.with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module in packages:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dreal_tf."):
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [a.name for a in node.names if a.name.startswith("dreal_tf.")]
            for name in names:
                yield here, part_of(name), relative


def test_every_part_has_a_level():
    paths = [p.relative_to(PACKAGE).with_suffix("") for p in PACKAGE.rglob("*.py")]
    parts = {part_of(".".join(path.parts)) for path in paths}
    packages = {"__init__", *(f"{name}.__init__" for name in PACKAGES_OF_PARTS)}
    assert parts - packages - {"__main__", "recipes"} == set(LEVELS)


def test_arrows_point_downward():
    upward = [
        f"{path}: {here} -> {there}"
        for here, there, path in imports()
        if here != there and LEVELS[here] < LEVELS[there]
    ]
    assert not upward


def test_figures_know_no_files():
    assert not [path for here, there, path in imports() if here == "visualization" and there in FILES]


def test_layers_and_critics_meet_only_through_module_outputs():
    pairs = {(here, there) for here, there, _ in imports()}
    assert not pairs & {("layers", "method.critics"), ("method.critics", "layers")}
    assert pairs >= {("layers", "modules"), ("method.critics", "modules")}


def test_recipes_import_the_recipe_and_nothing_else_of_ours():
    """Studies and spaces are written as users write theirs: by the public names."""
    for path in (REPOSITORY / "recipes").rglob("*.py"):
        ours = "dreal_tf" if path.parent.name in ("studies", "spaces") else "dreal_tf.training.recipe"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                module = getattr(node, "module", None) or node.names[0].name
                assert module == ours, path


def resolves(reference):
    """Whether a dotted name of the package is a module or an attribute."""
    value, names = dreal_tf, reference.split(".")
    for end, name in enumerate(names[1:], start=2):
        if not hasattr(value, name):
            try:
                value = importlib.import_module(".".join(names[:end]))
            except ImportError:
                return False
        else:
            value = getattr(value, name)
    return True


def test_every_name_of_the_package_that_a_text_gives_exists():
    """Docstrings and pages follow what moves."""
    texts = [*PACKAGE.rglob("*.py"), *(REPOSITORY / "tools").rglob("*.py")]
    texts += [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    references = {
        (name, path.name)
        for path in texts
        for name in re.findall(r"\bdreal_tf(?:\.[A-Za-z_]\w*)+", path.read_text(encoding="utf-8"))
        if not name.startswith("dreal_tf.recipes")  # The folder in a wheel.
    }
    assert not sorted(pair for pair in references if not resolves(pair[0]))


def test_no_utils_and_no_star_imports():
    for path in PACKAGE.rglob("*.py"):
        assert path.stem not in ("utils", "helpers", "misc") and "import *" not in path.read_text()


@functools.cache
def modules():
    names = [m.name for m in pkgutil.walk_packages([str(PACKAGE)], "dreal_tf.")]
    return [name for name in names if "__main__" not in name and ".recipes" not in name]


@functools.cache
def public_names():
    """All that an example may use: public names of every module, and the usual few."""
    names = {"np": np, "tf": tf, "keras": keras, "Path": Path}
    for module in map(importlib.import_module, modules()):
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_"):
                names[name] = value
    return names


# Said by Keras already.
INHERITED = {"get_config", "from_config", "call", "build"}


def documented():
    """Every public class, function and method of ours that has a docstring."""
    for module_name in modules():
        module = importlib.import_module(module_name)
        yield module_name, module
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module_name:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module_name}.{name}", value
            if inspect.isclass(value):
                for inner, method in vars(value).items():
                    if (
                        inspect.isfunction(method)
                        and not inner.startswith("_")
                        and inner not in INHERITED
                    ):
                        yield f"{module_name}.{name}.{inner}", method


EXAMPLES = [
    (name, inspect.getdoc(value))
    for name, value in documented()
    if ">>>" in (inspect.getdoc(value) or "")
]


# Their examples train for a step or two, for which a graph takes several times as long.
WITHOUT_GRAPHS = ("dreal_tf.model.", "dreal_tf.training.", "dreal_tf.experiments.")


@pytest.fixture
def graphs_where_they_pay(name):
    tf.config.run_functions_eagerly(name.startswith(WITHOUT_GRAPHS))
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("graphs_where_they_pay")
@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_examples_run(name, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    # A section that follows an example without a blank line is not part of its output.
    for section in ("Source:", "Raises:", "Returns:"):
        text = text.replace(f"\n{section}", f"\n\n{section}")
    # Parts may call different things alike: in an example, its own module's come first.
    own = next(
        vars(importlib.import_module(m)) for m in sorted(modules(), key=len)[::-1] if name.startswith(m)
    )
    names = public_names() | {key: value for key, value in own.items() if not key.startswith("_")}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_every_public_class_and_function_is_documented():
    missing = [
        n for n, value in documented() if not inspect.isfunction(value) and not inspect.getdoc(value)
    ]
    missing += [
        name
        for name, value in documented()
        if inspect.isfunction(value) and not inspect.getdoc(value) and name.count(".") < 4
    ]
    assert not missing


def test_the_public_names_are_there():
    for name in dreal_tf.__all__:
        assert getattr(dreal_tf, name) is not None
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = dreal_tf.nothing


def test_no_public_name_is_also_a_module():
    """Importing the module would replace the name."""
    assert not [
        name
        for name in dreal_tf.__all__
        if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    ]
