"""Lets timm be imported where torchvision is not installed.

As a command it times our network beside its peers: `python tests/torchvision_stand_in.py RECIPE`.
"""

import importlib.machinery
import sys
import types
from pathlib import Path

# The parts of torchvision that timm imports. None of them is called here.
STAND_INS = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


def refuse_private(name):
    if name.startswith("__"):
        raise AttributeError(name)


class EmptyClass(type):
    """Makes empty classes: an attribute asked of one is its name, as of an enumeration."""

    def __getattr__(cls, name):
        refuse_private(name)
        return name


class StandIn(types.ModuleType):
    """An empty module: a name asked of it is an empty class."""

    __path__ = ()

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name):
        refuse_private(name)
        return EmptyClass(name, (), {})


def stand_ins():
    """The modules by name, each an attribute of its package."""
    modules = {name: StandIn(name) for name in STAND_INS}
    for name in STAND_INS[1:]:
        package, _, own = name.rpartition(".")
        setattr(modules[package], own, modules[name])
    return modules


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "tools" / "benchmarks"))
    sys.modules.update(stand_ins())
    from peers import main

    main()
