"""What a network looks at, as arrays. Knows no recipes, no files, and draws nothing."""

from dreal_tf.visualize.attention_maps import attention_map, has_map, module_maps, query_map
from dreal_tf.visualize.channels import ChannelActions, channel_actions, channel_statistics
from dreal_tf.visualize.chosen import chosen_images
from dreal_tf.visualize.composed import (
    Composed,
    Pointing,
    coverage_of_box,
    energy_in_box,
    grid_pictures,
    object_masks,
    pasted_pictures,
    pointing_game,
    with_image_shape,
)
from dreal_tf.visualize.grad_cam import GradCam, grad_cam, upsample
from dreal_tf.visualize.recording import ActionRecorder, Recorded, recorded_actions

__all__ = [
    "ActionRecorder",
    "ChannelActions",
    "Composed",
    "GradCam",
    "Pointing",
    "Recorded",
    "attention_map",
    "channel_actions",
    "channel_statistics",
    "chosen_images",
    "coverage_of_box",
    "energy_in_box",
    "grad_cam",
    "grid_pictures",
    "has_map",
    "module_maps",
    "object_masks",
    "pasted_pictures",
    "pointing_game",
    "query_map",
    "recorded_actions",
    "upsample",
    "with_image_shape",
]
