"""Augmentation of training images; random in (seed, epoch, position in the epoch)."""

import keras
import tensorflow as tf
from keras import layers


class SeedSequence(keras.random.SeedGenerator):
    """A sequence of seeds that follows from one seed; Keras's layers take it as `seed=`.

    Keras's own generator counts in a variable. Inside tf.data that variable moves with every batch and
    every iteration, in the order in which parallel calls happen to run, and a new process resets it.
    Here the traced function counts.

    Args:
        seed: int tensor (2,).
    Example:
        >>> first, second = SeedSequence((0, 7)), SeedSequence((0, 7))
        >>> bool(keras.random.uniform((), seed=first) == keras.random.uniform((), seed=second))
        True
    """

    def __init__(self, seed):  # Not the parent's, which makes the variable.
        self.seed = tf.cast(seed, tf.int32)
        self.count = 0

    def next(self, ordered=True):
        """The next seed, an int32 tensor (2,)."""
        self.count += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.count)

    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        """Numbers from `low` up to but not including `high`.

        Example:
            >>> tuple(SeedSequence((0, 7)).uniform((2, 3)).shape)
            (2, 3)
        """
        return tf.random.stateless_uniform(shape, self.next(), low, high, dtype)


class RandAugment:
    """Applies operations to an image, each sampled from the same eleven.

    `keras.layers.RandAugment` samples the operations once for the whole batch, and computes all eleven
    each time. This samples them for each image, as the paper does, and computes only those.

    Args:
        operations: int >= 1. Operations per image, one after the other. Paper: 2 for ImageNet.
        magnitude: float in (0, 1]. Strength; 1 stands for the paper's 10.
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
        from it in: strengths are sampled up to the magnitude, as Keras's layers do, not set to it; and
        "identity" is not among the operations.
    """

    def __init__(self, operations=2, magnitude=0.3, top=255.0):
        self.operations = operations
        self.magnitude = magnitude
        self.top = top
        common = {"dtype": "float32"}  # Independent of the network's policy.
        scaled = {"value_range": (0, top), **common}
        enhance = 0.9 * magnitude
        kept_bits = 8 - round(4 * magnitude)
        self.layers = [
            layers.RandomShear(0.3 * magnitude, 0.3 * magnitude, **common),
            layers.RandomTranslation(0.3 * magnitude, 0.3 * magnitude, **common),
            layers.RandomRotation(magnitude * 30 / 360, **common),  # Fraction of a full turn.
            layers.RandomBrightness(enhance, **scaled),
            layers.RandomContrast((enhance, enhance), **scaled),
            layers.RandomSharpness((0.5 - enhance / 2, 0.5 + enhance / 2), **scaled),
            layers.RandomColorDegeneration((0.0, enhance), **scaled),
            layers.RandomPosterization((kept_bits, kept_bits), **scaled),
            layers.AutoContrast(**scaled),
            layers.Equalization(**scaled),
        ]

    def __call__(self, image, seed):
        seeds = SeedSequence(seed)
        image = tf.convert_to_tensor(image, tf.float32)
        channels = image.shape[-1]
        if channels == 1:
            image = tf.image.grayscale_to_rgb(image)
        for _ in range(self.operations):
            choice = seeds.uniform((), 0, len(self.layers) + 1, tf.int32)
            inner = seeds.next()
            applied = [self._layer_applied(layer, image, inner) for layer in self.layers]
            image = tf.switch_case(choice, [*applied, self._solarized(image)])
        return image[..., :channels]

    def _layer_applied(self, layer, image, seed):
        def branch():
            batch = image[None]
            transformation = layer.get_random_transformation(batch, True, seed=SeedSequence(seed))
            return tf.ensure_shape(layer.transform_images(batch, transformation)[0], image.shape)

        return branch

    def _solarized(self, image):
        # Not Keras's layer, whose threshold (3.15.1) cannot be kept above a lower bound.
        threshold = (1 - self.magnitude) * self.top
        return lambda: tf.where(image < threshold, image, self.top - image)


class Augmentation:
    """Augments and normalises the images of a training batch, and mixes them if the options say so.

    In this order: RandAugment, normalisation, crop, flip, erasing, MixUp or CutMix. All follows from
    the seed and the position in the batch.

    Args:
        options: `dreal_tf.data.sections.Options`.
        normalise: function of float images, to the network's scale.
        top: float. The value of white before normalisation; black is 0.
        classes: int.
    Call arguments:
        images: tensor (batch, height, width, channels), values from 0 to `top`.
        labels: int tensor (batch,).
        seed: int tensor (2,). The same seed gives the same batch.
    Returns:
        Float images of the same shape; labels, as float rows (batch, classes) if `options.one_hot`.
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
        dtype = "float32"  # Independent of the network's policy.
        self.rand_augment, self.erase, self.mixes = None, None, []
        if options.rand_augment:
            self.rand_augment = RandAugment(options.rand_augment, options.rand_magnitude, top)
        if options.erasing:
            self.erase = layers.RandomErasing((options.erasing,) * 2, fill_value=0.0, dtype=dtype)
        if options.mix_up:
            self.mixes.append(layers.MixUp(options.mix_up, dtype=dtype))
        if options.cut_mix:
            self.mixes.append(CutMix((options.cut_mix,) * 2, dtype=dtype))

    def __call__(self, images, labels, seed):
        options, seeds = self.options, SeedSequence(seed)
        images = tf.cast(images, tf.float32)
        if self.rand_augment:
            images = self._rand_augmented(images, seeds.next())
        images = self.normalise(images)
        if options.crop_padding:
            images = randomly_cropped(images, options.crop_padding, seeds)
        if options.flip:
            images = randomly_flipped(images, seeds)
        if self.erase:
            images, _ = _applied(self.erase, images, labels, seeds)
        if options.one_hot:
            labels = tf.one_hot(labels, self.classes)
        if self.mixes:
            images, labels = self._mixed(images, labels, seeds)
        return images, labels

    def _rand_augmented(self, images, seed):
        def augmented(pair):
            image, position = pair
            return self.rand_augment(image, tf.random.experimental.stateless_fold_in(seed, position))

        positions = tf.range(tf.shape(images)[0])
        augmented_image = tf.TensorSpec(images.shape[1:], tf.float32)
        return tf.map_fn(augmented, (images, positions), fn_output_signature=augmented_image)

    def _mixed(self, images, labels, seeds):
        # With both, a batch gets one of them, each with probability 1/2.
        choice, seed = seeds.uniform((), 0, len(self.mixes), tf.int32), seeds.next()

        def branch(mix):
            return lambda: _applied(mix, images, labels, SeedSequence(seed))

        return tf.switch_case(choice, [branch(mix) for mix in self.mixes])


class CutMix(layers.CutMix):
    """Keras's CutMix, with labels mixed by the fraction of exchanged pixels.

    Keras mixes labels by the area of the box before it is rounded to pixels: at 16 pixels that is off by
    up to 0.12.
    """

    def get_random_transformation(self, data, training=True, seed=None):
        transformation = super().get_random_transformation(data, training, seed)
        exchanged = tf.cast(transformation["batch_masks"], tf.float32)  # (batch, H, W, C)
        return transformation | {"mix_weight": 1.0 - tf.reduce_mean(exchanged, axis=(1, 2, 3))}


def randomly_cropped(images, padding, seeds):
    """Crops each image at a random position, after padding it with zeros.

    Args:
        images: float tensor (batch, height, width, channels).
        padding: int. Zeros on each side (pixels).
        seeds: `SeedSequence`.
    Returns:
        Tensor of the same shape.
    Example:
        >>> tuple(randomly_cropped(np.ones((2, 4, 6, 1)), 1, SeedSequence((0, 7))).shape)
        (2, 4, 6, 1)
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    frame = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    corner = seeds.uniform((batch, 2), 0, 2 * padding + 1, tf.int32)
    frame = tf.gather(frame, corner[:, :1] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(frame, corner[:, 1:] + tf.range(width), axis=2, batch_dims=1)


def randomly_flipped(images, seeds):
    """Mirrors each image left and right with probability 1/2.

    Args:
        images: tensor (batch, height, width, channels).
        seeds: `SeedSequence`.
    Returns:
        Tensor of the same shape.
    Example:
        >>> float(tf.reduce_sum(randomly_flipped(np.ones((2, 4, 4, 1)), SeedSequence((0, 7)))))
        32.0
    """
    flips = seeds.uniform((tf.shape(images)[0], 1, 1, 1)) < 0.5
    return tf.where(flips, tf.reverse(images, axis=[2]), images)


def _applied(layer, images, labels, seeds):
    """Applies a Keras layer's transformation, random in our seeds and not in its own variable."""
    transformation = layer.get_random_transformation(images, training=True, seed=seeds)
    transformed = layer.transform_images(images, transformation, training=True)
    transformed = tf.ensure_shape(transformed, images.shape)
    return transformed, layer.transform_labels(labels, transformation, training=True)
