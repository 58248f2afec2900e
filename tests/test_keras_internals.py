"""Private names of other packages: one module reaches them, and each is still there."""

import ast
import importlib
import inspect
import re
import textwrap
from importlib.metadata import version
from pathlib import Path

import keras
import keras_tuner
import pytest
import tensorflow as tf
from keras_tuner.engine.base_tuner import BaseTuner
from test_structure import PACKAGE, REPOSITORY, modules

from dreal_tf import keras_internals
from dreal_tf.keras_internals import OVERRIDES, PRIVATE

INTERNALS = Path(keras_internals.__file__)
FOREIGN = ("keras", "keras_tuner", "tensorflow", "pydantic", "typer")
DOCUMENTED = {"_asdict", "_replace", "_exit"}  # Documented names of named tuples and of `os`.


def graph():
    inputs = keras.Input((2,))
    return keras.Function([inputs], [keras.layers.Dense(2)(inputs)])


def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])


def symbolic():
    return graph().outputs[0]


def masked():
    return keras.layers.Masking()(keras.Input((3, 2)))


def bayesian():
    return keras_tuner.oracles.BayesianOptimizationOracle(
        keras_tuner.Objective("loss", "min"), max_trials=1
    )


OWNERS = {
    "_nodes_by_depth": graph,
    "_outputs_struct": graph,
    "_keras_history": symbolic,
    "_inbound_nodes": lambda: keras.layers.Dense(2),
    "_keras_mask": masked,
    "_flatten_layers": lambda: keras.layers.Dense(2),
    "_compile_metrics": model,
    "_initial_epoch": model,
    "_clip_gradients": keras.optimizers.SGD,
    "_var_key": keras.optimizers.SGD,
    "_functions": tf.Graph,
    "_retry_queue": bayesian,
    "_random_state": bayesian,
    "_duplicate": bayesian,
    "_random_populate_space": bayesian,
    "_is_worker": lambda: BaseTuner,
    "_run_and_update_trial": lambda: BaseTuner,
    "_initializing": lambda: importlib.util.find_spec("json"),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_the_name_is_still_there(name):
    versions = ", ".join(f"{p} {version(p)}" for p in ("keras", "tensorflow", "keras-tuner"))
    assert hasattr(OWNERS[name](), name), f"{name} vanished ({versions}). It was: {PRIVATE[name]}"


def test_tf2onnx_can_still_be_patched():
    source = importlib.util.find_spec("keras.src.export.tf2onnx_lib")
    assert source and "def patch_tf2onnx" in Path(source.origin).read_text(encoding="utf-8"), (
        f"keras.src.export.tf2onnx_lib.patch_tf2onnx vanished from Keras {version('keras')}."
    )


def test_every_private_name_has_its_reason():
    assert attributes(ast.parse(INTERNALS.read_text(encoding="utf-8"))) == set(PRIVATE)


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def attributes(tree):
    """Private names that code reads or sets of an object, or asks for by `getattr` and its like."""
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "getattr",
            "hasattr",
            "setattr",
            "delattr",
        ):
            names |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return {name for name in names if isinstance(name, str) and is_private(name)}


def defined(tree):
    """Private names that code defines: functions, classes, and what methods set on themselves."""
    names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        of_self = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ("self", "cls")
        if of_self and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def private_imports(tree):
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if name.startswith(("keras.src", "tensorflow.python", "keras_tuner.src")) or (
                parts[0] != "dreal_tf" and any(map(is_private, parts))
            ):
                yield name


def reached(trees):
    """The private names of other packages that files reach, as "file: name"."""
    own = set().union(*map(defined, trees.values())) - set(PRIVATE) | DOCUMENTED
    for path, tree in trees.items():
        for name in sorted(attributes(tree) - own) + sorted(private_imports(tree)):
            yield f"{path}: {name}"


def test_only_one_module_reaches_private_names():
    folders = [PACKAGE, REPOSITORY / "recipes", REPOSITORY / "tools"]
    paths = [path for folder in folders for path in folder.rglob("*.py") if path != INTERNALS]
    assert paths
    trees = {str(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    assert not list(reached(trees))


@pytest.mark.parametrize(
    "code",
    [
        "model._loss_tracker.update_state(1)",
        "getattr(layer, '_call_has_training_arg', False)",
        "hasattr(model, '_nodes_by_depth')",
        "layer._inbound_nodes = []",
        "import keras.src.backend",
        "from keras.src import tree",
        "from tensorflow.python.eager import context",
        "from numpy import _core",
    ],
)
def test_what_reaches_one_is_noticed(code):
    assert list(reached({"file": ast.parse(code)}))
    assert not list(reached({"file": ast.parse("self._own = 1\nother._own, pair._replace(a=1)")}))


def foreign_names(kind):
    """Private names of the base classes that are not ours: their methods and attributes."""
    names = set()
    for base in kind.__mro__[1:]:
        if base.__module__.split(".")[0] in FOREIGN:
            names |= set(re.findall(r"(?:self\.|def )(_[a-z]\w*)", inspect.getsource(base)))
            names |= set(vars(base))
    return {name for name in names if is_private(name)}


def classes():
    for module in map(importlib.import_module, modules()):
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                yield kind


def test_what_overrides_a_private_name_is_listed():
    overrides = set()
    for kind in classes():
        foreign = foreign_names(kind)
        for own in [base for base in kind.__mro__ if base.__module__.startswith("dreal_tf")]:
            names = defined(ast.parse(textwrap.dedent(inspect.getsource(own))))
            overrides |= {f"{own.__name__}.{private}" for private in names & foreign}
    assert overrides == set(OVERRIDES)
