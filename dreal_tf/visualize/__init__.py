"""What a network looks at, as arrays. Knows no recipes, no files, and draws nothing."""

from dreal_tf.visualize.grad_cam import GradCam, grad_cam, upsample

__all__ = ["GradCam", "grad_cam", "upsample"]
