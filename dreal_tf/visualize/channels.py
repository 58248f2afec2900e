"""What channel attention does: each channel's action over images, and how diverse the actions are."""

from typing import NamedTuple

import numpy as np

from dreal_tf.visualize.recording import recorded_actions


class ChannelActions(NamedTuple):
    """The channel actions of a module over some images.

    Attributes:
        mean, spread: float64 arrays (channels,): mean and standard deviation over images.
        across_channels: float. How unlike channels are treated within an image: the standard
            deviation over channels, a mean over images.
        between_images: float. How unlike images are treated: the standard deviation over images, a
            mean over channels.
    """

    mean: np.ndarray
    spread: np.ndarray
    across_channels: float
    between_images: float


def channel_actions(network, images, batch_size=64):
    """The channel attention of every module that has one.

    Args:
        network: `keras.Model` of any kind with attention actors in it.
        images: float array (n, height, width, channels), as the network takes them.
        batch_size: int >= 1. Images at a time.
    Returns:
        Dict of `ChannelActions` by module, in depth order; empty where there is no channel action.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> found = channel_actions(network, np.random.rand(5, 8, 8, 1))
        >>> {module: len(actions.mean) for module, actions in found.items()}
        {'conv2_1/se': 16, 'conv3_1/se': 32, 'conv4_1/se': 64}
    """
    found = recorded_actions(network, images, ("channel",), batch_size)
    return {module: channel_statistics(action) for module, (_, action) in found.items()}


def channel_statistics(actions):
    """Sums up channel actions.

    Args:
        actions: float array (images, ..., channels), such as (images, 1, 1, channels).
    Returns:
        `ChannelActions`.
    Example:
        >>> found = channel_statistics([[0.0, 1.0], [0.5, 1.0]])
        >>> found.mean.tolist(), found.across_channels, found.between_images
        ([0.25, 1.0], 0.375, 0.125)
    """
    actions = np.asarray(actions, np.float64)
    actions = actions.reshape(len(actions), -1)
    spread = actions.std(axis=0)
    across = float(actions.std(axis=1).mean())
    return ChannelActions(actions.mean(axis=0), spread, across, float(spread.mean()))
