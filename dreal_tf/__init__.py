"""Deep reinforced attention learning for Keras: attention modules taught by critics.

The public names are loaded when they are first used, so that the command line answers at once.
"""

import importlib

import wrapt

__version__ = "0.1.0"

_HOME = {
    "AttentionActor": "layers",
    "DREAL": "model",
    "Recipe": "recipe",
    "SqueezeExcite": "layers",
    "build": "builder",
    "imagenet_residual_network": "backbones",
    "load_recipe": "recipe_files",
    "residual_network": "backbones",
}
__all__ = [
    "DREAL",
    "AttentionActor",
    "Recipe",
    "SqueezeExcite",
    "build",
    "imagenet_residual_network",
    "load_recipe",
    "residual_network",
]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return __all__


@wrapt.when_imported("keras")
def _register(_):
    """Makes our classes known to Keras, so that `keras.saving.load_model` finds them."""
    for part in ("model", "schedules"):
        importlib.import_module(f"{__name__}.{part}")
