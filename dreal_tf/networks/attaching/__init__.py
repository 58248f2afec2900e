"""Networks of any origin: re-wired with auxiliary outputs, attention inserted or removed."""

from dreal_tf.networks.attaching.attached_network import (
    AttachedNetwork,
    Gate,
    attached,
    attached_where,
    find_gates,
    gate_names,
    with_auxiliary_outputs,
    without_modules,
)
from dreal_tf.networks.attaching.insertion import insert, layers_matching, remove

__all__ = [
    "AttachedNetwork",
    "Gate",
    "attached",
    "attached_where",
    "find_gates",
    "gate_names",
    "insert",
    "layers_matching",
    "remove",
    "with_auxiliary_outputs",
    "without_modules",
]
