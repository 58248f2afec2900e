"""The actions of a network on images, as arrays."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.modules import ACTION_KINDS, ModuleSpec


class Recorded(NamedTuple):
    """The action of a module on some images.

    Attributes:
        spec: `ModuleSpec`; its sizes are those of these images.
        action: float32 array (n, ...), see `dreal_tf.modules.ModuleOutput`.
    """

    spec: ModuleSpec
    action: np.ndarray


def recorded_actions(network, images, kinds=ACTION_KINDS, batch_size=64):
    """The actions of every actor of a network; actors may lie in networks inside it.

    Args:
        network: `keras.Model` of any kind with attention actors in it.
        images: float array (n, height, width, channels), as the network takes them.
        kinds: collection of str, the kinds of action to keep, see `ModuleSpec`.
        batch_size: int >= 1. Images at a time.
    Returns:
        Dict of `Recorded` by module, in the order in which they ran.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> recorded_actions(network, np.random.rand(5, 8, 8, 1))["conv4_1/se"].action.shape
        (5, 1, 1, 64)
    """
    return ActionRecorder(network, kinds, batch_size)(images)


class ActionRecorder:
    """Records actions again and again, as `recorded_actions` does once.

    Args:
        network, kinds, batch_size: see `recorded_actions`.
    Call arguments:
        images: see `recorded_actions`.
    Returns:
        Dict of `Recorded` by module.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> list(ActionRecorder(network)(np.random.rand(5, 8, 8, 1)))
        ['conv2_1/se', 'conv3_1/se', 'conv4_1/se']
    """

    def __init__(self, network, kinds=ACTION_KINDS, batch_size=64):
        self.network = network
        self.kinds = kinds
        self.batch_size = batch_size
        self._traced = {}

    def __call__(self, images):
        batches = list(self.batches(images))
        return {
            module: Recorded(spec, np.concatenate([batch[module].action for batch in batches]))
            for module, (spec, _) in batches[0].items()
        }

    def batches(self, images):
        """Yields the dict of one batch after the other, so that large actions need not be kept."""
        images = np.asarray(images, np.float32)
        traced, specs = self._for_images(images.shape[1:])
        for start in range(0, len(images), self.batch_size):
            actions = traced(images[start : start + self.batch_size])
            yield {
                module: Recorded(specs[module], action.numpy()) for module, action in actions.items()
            }

    def _for_images(self, shape):
        """The traced function for images of a shape, and the specs of the modules."""
        if shape not in self._traced:
            specs = {}

            def actions_of(images):
                actions = {}

                def record(actor, index, state, action):
                    if actor.kinds[index] in self.kinds:
                        spec = actor.module_spec(index, state, action)
                        specs[spec.module] = spec
                        actions[spec.module] = tf.cast(action, tf.float32)
                    return action

                with intervene(record):
                    self.network(images, training=False)
                return actions

            signature = [tf.TensorSpec((None, *shape))]
            traced = tf.function(actions_of, input_signature=signature, autograph=False)
            traced.get_concrete_function()
            self._traced[shape] = traced, specs
        return self._traced[shape]
