"""Attention actors: Keras layers whose attention map is an action."""

from dreal_tf.layers.a2 import DoubleAttention
from dreal_tf.layers.aa import AugmentedConvolution
from dreal_tf.layers.attention_actor import AttentionActor, Placement, intervene
from dreal_tf.layers.cbam import CBAM
from dreal_tf.layers.ccnet import CrissCross
from dreal_tf.layers.danet import DualAttention
from dreal_tf.layers.eca import ECA
from dreal_tf.layers.emanet import ExpectationMaximization
from dreal_tf.layers.non_local import NonLocal
from dreal_tf.layers.sasa import StandAloneAttention
from dreal_tf.layers.squeeze_excite import SqueezeExcite
from dreal_tf.layers.srm import SRM

# The one list of actors; the key is what a recipe calls `attention.kind`.
ACTORS = {
    actor.attention: actor
    for actor in (
        SqueezeExcite,
        CBAM,
        SRM,
        ECA,
        NonLocal,
        DoubleAttention,
        AugmentedConvolution,
        StandAloneAttention,
        DualAttention,
        CrissCross,
        ExpectationMaximization,
    )
}

__all__ = [
    "ACTORS",
    "CBAM",
    "ECA",
    "SRM",
    "AttentionActor",
    "AugmentedConvolution",
    "CrissCross",
    "DoubleAttention",
    "DualAttention",
    "ExpectationMaximization",
    "NonLocal",
    "Placement",
    "SqueezeExcite",
    "StandAloneAttention",
    "intervene",
]
