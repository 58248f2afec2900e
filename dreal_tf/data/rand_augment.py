"""RandAugment, an image at a time, from Keras's layers."""

import tensorflow as tf
from keras import layers

from dreal_tf.data.draws import Draws


class RandAugment:
    """Applies operations to an image, each drawn from the same eleven.

    `keras.layers.RandAugment` draws the operations once for the whole batch, and computes all
    eleven each time. This draws them for each image, as the paper does, and computes those drawn.

    Args:
        operations: int >= 1. How many, one after the other. Paper: 2 for ImageNet.
        magnitude: float in (0, 1]. How strong; 1 stands for the paper's 10.
        top: float. The value of white; black is 0.
    Call arguments:
        image: float tensor (height, width, channels), of 1 or 3 channels.
        seed: int tensor (2,). The same seed gives the same image.
    Returns:
        Float tensor of the same shape.
    Example:
        >>> image = np.full((8, 8, 3), 100.0, "float32")
        >>> tuple(RandAugment(2, 0.5)(image, seed=(0, 1)).shape)
        (8, 8, 3)
    Source: Cubuk, Zoph, Shlens, Le, "RandAugment", 2020, https://arxiv.org/abs/1909.13719. Departs
        from it in: strengths are drawn up to the magnitude, as Keras's layers do, not at it; and
        "identity" is not among the operations.
    """

    def __init__(self, operations=2, magnitude=0.3, top=255.0):
        self.operations = operations
        self.magnitude = magnitude
        self.top = top
        common = {"dtype": "float32"}  # Whatever the policy of the network.
        scaled = {"value_range": (0, top), **common}
        enhance = 0.9 * magnitude
        kept_bits = 8 - round(4 * magnitude)
        self.layers = [
            layers.RandomShear(0.3 * magnitude, 0.3 * magnitude, **common),
            layers.RandomTranslation(0.3 * magnitude, 0.3 * magnitude, **common),
            layers.RandomRotation(magnitude * 30 / 360, **common),  # Of a full turn.
            layers.RandomBrightness(enhance, **scaled),
            layers.RandomContrast((enhance, enhance), **scaled),
            layers.RandomSharpness((0.5 - enhance / 2, 0.5 + enhance / 2), **scaled),
            layers.RandomColorDegeneration((0.0, enhance), **scaled),
            layers.RandomPosterization((kept_bits, kept_bits), **scaled),
            layers.AutoContrast(**scaled),
            layers.Equalization(**scaled),
        ]

    def __call__(self, image, seed):
        draws = Draws(seed)
        image = tf.convert_to_tensor(image, tf.float32)
        channels = image.shape[-1]
        if channels == 1:
            image = tf.image.grayscale_to_rgb(image)
        for _ in range(self.operations):
            choice = draws.uniform((), 0, len(self.layers) + 1, tf.int32)
            inner = draws.next()
            applied = [self._layer_applied(layer, image, inner) for layer in self.layers]
            image = tf.switch_case(choice, [*applied, self._solarized(image)])
        return image[..., :channels]

    def _layer_applied(self, layer, image, seed):
        def branch():
            batch = image[None]
            drawn = layer.get_random_transformation(batch, training=True, seed=Draws(seed))
            return tf.ensure_shape(layer.transform_images(batch, drawn)[0], image.shape)

        return branch

    def _solarized(self, image):
        # Not Keras's layer, whose threshold (3.15.1) cannot be kept above a lower bound.
        threshold = (1 - self.magnitude) * self.top
        return lambda: tf.where(image < threshold, image, self.top - image)
