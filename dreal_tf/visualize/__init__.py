"""What a network looks at, as arrays. Knows no recipes, no files, and draws nothing."""

from dreal_tf.visualize.attention_maps import attention_map, has_map, module_maps, query_map
from dreal_tf.visualize.channels import ChannelActions, channel_actions, channel_statistics
from dreal_tf.visualize.chosen import chosen_images
from dreal_tf.visualize.grad_cam import GradCam, grad_cam, upsample
from dreal_tf.visualize.recording import ActionRecorder, Recorded, recorded_actions

__all__ = [
    "ActionRecorder",
    "ChannelActions",
    "GradCam",
    "Recorded",
    "attention_map",
    "channel_actions",
    "channel_statistics",
    "chosen_images",
    "grad_cam",
    "has_map",
    "module_maps",
    "query_map",
    "recorded_actions",
    "upsample",
]
