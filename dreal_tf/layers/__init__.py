"""Attention actors: Keras layers whose attention map is an action."""

from dreal_tf.layers.attention_actor import AttentionActor
from dreal_tf.layers.intervention import intervene
from dreal_tf.layers.squeeze_excite import SqueezeExcite

# The one list of actors; the key is what a recipe calls `attention.kind`.
ACTORS = {actor.attention: actor for actor in (SqueezeExcite,)}

__all__ = ["ACTORS", "AttentionActor", "SqueezeExcite", "intervene"]
