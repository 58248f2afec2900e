"""Networks of any origin: re-wired with auxiliary outputs, or with attention inserted."""

from dreal_tf.networks.attaching.attached_network import (
    AttachedNetwork,
    Gate,
    find_gates,
    with_auxiliary_outputs,
)
from dreal_tf.networks.attaching.insertion import insert

__all__ = ["AttachedNetwork", "Gate", "find_gates", "insert", "with_auxiliary_outputs"]
