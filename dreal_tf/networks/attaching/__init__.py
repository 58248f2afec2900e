"""Networks of any origin: re-wired with auxiliary outputs, given attention, given weights."""

from dreal_tf.networks.attaching.attached_network import AttachedNetwork, Gate, find_gates
from dreal_tf.networks.attaching.insertion import insert

__all__ = ["AttachedNetwork", "Gate", "find_gates", "insert"]
