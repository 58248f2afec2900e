"""Deep reinforced attention learning for Keras: attention modules taught by critics.

The public names are loaded when they are first used, so that the command line answers at once.
"""

import importlib
import os
import pkgutil
import sys

import lazy_loader
import wrapt

from dreal_tf.keras_internals import being_imported

__version__ = "0.1.0"

# The names stand in __init__.pyi alone, for type checkers and for this.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# The modules that import all classes which Keras must know.
_REGISTERING = (f"{__name__}.model", f"{__name__}.training.optimizers")


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
