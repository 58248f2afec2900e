"""Augmentation of a training batch; what is drawn follows from one seed."""

import tensorflow as tf
from keras import layers

from dreal_tf.data.draws import Draws
from dreal_tf.data.rand_augment import RandAugment


class Augmentation:
    """Varies and normalises the images of a training batch, and mixes them where that is asked.

    In this order: RandAugment, normalisation, crop, flip, erasing, MixUp or CutMix. All is drawn
    from the seed, by the place in the batch.

    Args:
        options: `dreal_tf.data.Options`.
        normalise: function of float images, to the network's scale.
        top: float. The value of white before normalisation; black is 0.
        classes: int.
    Call arguments:
        images: tensor (batch, height, width, channels), values from 0 to `top`.
        labels: int tensor (batch,).
        seed: int tensor (2,). The same seed gives the same batch.
    Returns:
        Float images of the same shape; labels, as float rows (batch, classes) where
        `options.one_hot`.
    Example:
        >>> augmentation = Augmentation(Options(mix_up=0.2), lambda images: images / 255, 255.0, 2)
        >>> images, labels = augmentation(np.zeros((4, 8, 8, 3)), tf.constant([0, 1, 0, 1]), (0, 7))
        >>> tuple(labels.shape)
        (4, 2)
    """

    def __init__(self, options, normalise, top, classes):
        self.options = options
        self.normalise = normalise
        self.classes = classes
        dtype = "float32"  # Whatever the policy of the network.
        self.rand_augment, self.erase, self.mixes = None, None, []
        if options.rand_augment:
            self.rand_augment = RandAugment(options.rand_augment, options.rand_magnitude, top)
        if options.erasing:
            chance = (options.erasing, options.erasing)
            self.erase = layers.RandomErasing(chance, fill_value=0.0, dtype=dtype)
        if options.mix_up:
            self.mixes.append(layers.MixUp(options.mix_up, dtype=dtype))
        if options.cut_mix:
            alpha = (options.cut_mix, options.cut_mix)
            self.mixes.append(CutMix(alpha, dtype=dtype))

    def __call__(self, images, labels, seed):
        options, draws = self.options, Draws(seed)
        images = tf.cast(images, tf.float32)
        if self.rand_augment:
            images = self._rand_augmented(images, draws.next())
        images = self.normalise(images)
        if options.crop_padding:
            images = randomly_cropped(images, options.crop_padding, draws)
        if options.flip:
            images = randomly_flipped(images, draws)
        if self.erase:
            images, _ = _applied(self.erase, images, labels, draws)
        if options.one_hot:
            labels = tf.one_hot(labels, self.classes)
        if self.mixes:
            images, labels = self._mixed(images, labels, draws)
        return images, labels

    def _rand_augmented(self, images, seed):
        def varied(pair):
            image, place = pair
            return self.rand_augment(image, tf.random.experimental.stateless_fold_in(seed, place))

        places = tf.range(tf.shape(images)[0])
        varied_image = tf.TensorSpec(images.shape[1:], tf.float32)
        return tf.map_fn(varied, (images, places), fn_output_signature=varied_image)

    def _mixed(self, images, labels, draws):
        # With both, a batch gets one of them, each half of the time.
        choice, seed = draws.uniform((), 0, len(self.mixes), tf.int32), draws.next()

        def branch(mix):
            return lambda: _applied(mix, images, labels, Draws(seed))

        return tf.switch_case(choice, [branch(mix) for mix in self.mixes])


class CutMix(layers.CutMix):
    """Keras's CutMix; labels are mixed by the pixels that were exchanged.

    Keras takes the area of the box before it is rounded to pixels: at 16 pixels it is off by up to 0.12.
    """

    def get_random_transformation(self, data, training=True, seed=None):
        drawn = super().get_random_transformation(data, training, seed)
        exchanged = tf.cast(drawn["batch_masks"], tf.float32)  # (batch, H, W, C)
        return drawn | {"mix_weight": 1.0 - tf.reduce_mean(exchanged, axis=(1, 2, 3))}


def randomly_cropped(images, padding, draws):
    """Each image out of its own place in a frame of zeros.

    Args:
        images: float tensor (batch, height, width, channels).
        padding: int. Zeros on each side (pixels).
        draws: `Draws`.
    Returns:
        Tensor of the same shape.
    Example:
        >>> tuple(randomly_cropped(np.ones((2, 4, 6, 1)), 1, Draws((0, 7))).shape)
        (2, 4, 6, 1)
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    frame = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    corner = draws.uniform((batch, 2), 0, 2 * padding + 1, tf.int32)
    frame = tf.gather(frame, corner[:, :1] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(frame, corner[:, 1:] + tf.range(width), axis=2, batch_dims=1)


def randomly_flipped(images, draws):
    """Each image mirrored left and right, half of the time.

    Args:
        images: tensor (batch, height, width, channels).
        draws: `Draws`.
    Returns:
        Tensor of the same shape.
    Example:
        >>> float(tf.reduce_sum(randomly_flipped(np.ones((2, 4, 4, 1)), Draws((0, 7)))))
        32.0
    """
    flips = draws.uniform((tf.shape(images)[0], 1, 1, 1)) < 0.5
    return tf.where(flips, tf.reverse(images, axis=[2]), images)


def _applied(layer, images, labels, draws):
    """A Keras layer's transformation, drawn from our seeds and not from its own variable."""
    drawn = layer.get_random_transformation(images, training=True, seed=draws)
    shape = images.shape
    images = tf.ensure_shape(layer.transform_images(images, drawn, training=True), shape)
    return images, layer.transform_labels(labels, drawn, training=True)
