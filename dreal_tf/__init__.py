"""Deep reinforced attention learning for Keras: attention modules taught by critics.

The public names are loaded when they are first used, so that the command line answers at once.
"""

import importlib
import os
import pkgutil
import sys

import wrapt

from dreal_tf.keras_internals import being_imported

__version__ = "0.1.0"

_HOME = {
    "ActorOnly": "experiments.study",
    "AttentionActor": "layers",
    "AugmentedConvolution": "layers",
    "CBAM": "layers",
    "CORE_ARMS": "experiments.arms",
    "CrissCross": "layers",
    "DREAL": "model",
    "Directions": "experiments.study",
    "DoubleAttention": "layers",
    "DualAttention": "layers",
    "ECA": "layers",
    "ExpectationMaximization": "layers",
    "NonLocal": "layers",
    "Choice": "experiments.space",
    "Range": "experiments.space",
    "Recipe": "recipe",
    "RecipeHyperModel": "experiments.tuner",
    "SRM": "layers",
    "Search": "experiments.search",
    "Space": "experiments.space",
    "SqueezeExcite": "layers",
    "Study": "experiments.study",
    "StandAloneAttention": "layers",
    "attach": "model",
    "audit": "analysis.audit",
    "build": "training.builder",
    "comparison_arms": "experiments.arms",
    "embedding_network": "networks.backbones",
    "export": "deployment.export",
    "find_gates": "networks.attaching",
    "gain_study": "experiments.arms",
    "headroom_study": "experiments.arms",
    "imagenet_residual_network": "networks.backbones",
    "insert": "networks.attaching",
    "load_recipe": "training.recipe_files",
    "prune": "deployment.prune",
    "report": "analysis.report.report",
    "residual_network": "networks.backbones",
    "tune": "experiments.run_search",
}
__all__ = [
    "CBAM",
    "CORE_ARMS",
    "DREAL",
    "ECA",
    "SRM",
    "ActorOnly",
    "AttentionActor",
    "AugmentedConvolution",
    "Choice",
    "CrissCross",
    "Directions",
    "DoubleAttention",
    "DualAttention",
    "ExpectationMaximization",
    "NonLocal",
    "Range",
    "Recipe",
    "RecipeHyperModel",
    "Search",
    "Space",
    "SqueezeExcite",
    "StandAloneAttention",
    "Study",
    "attach",
    "audit",
    "build",
    "comparison_arms",
    "embedding_network",
    "export",
    "find_gates",
    "gain_study",
    "headroom_study",
    "imagenet_residual_network",
    "insert",
    "load_recipe",
    "prune",
    "report",
    "residual_network",
    "tune",
]

# The modules that import all classes which Keras must know.
_REGISTERING = (f"{__name__}.model", f"{__name__}.training.schedules")


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return __all__


def _register(imported):
    """Makes our classes known to Keras, so that `keras.saving.load_model` finds them.

    It waits for the end of an import of ours that has brought Keras in: what is imported in the
    middle of another part would see half of it.
    """
    missing = [part for part in _REGISTERING if part not in sys.modules]
    if not missing:
        return
    ours = [module for name, module in sys.modules.items() if name.startswith(f"{__name__}.")]
    begun = [module for module in ours if being_imported(module) and module is not imported]
    if "keras" in sys.modules and not begun:
        for part in missing:
            importlib.import_module(part)


def _parts(path, prefix):
    """The names of all modules below a folder; none is imported."""
    for part in pkgutil.iter_modules([path], prefix):
        yield part.name
        if part.ispkg:
            yield from _parts(os.path.join(path, part.name.rpartition(".")[2]), f"{part.name}.")


for _name in ("keras", *_parts(__path__[0], f"{__name__}.")):
    wrapt.register_post_import_hook(_register, _name)
