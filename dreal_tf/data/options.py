"""What every data set can be asked for."""

from typing import NamedTuple


class Options(NamedTuple):
    """How a data set is read, batched and varied; what does not concern a data set is ignored.

    The names are those of a recipe's sections `data` and `augment`, which say what each means.

    Attributes:
        batch_size: int. Images per training step, over all replicas.
        images_per_identity: int or None. Of data of identities: batches hold batch_size over so many
            identities, and so many images of each.
        replicas: int. Those that share a batch.
        validation_fraction: float in (0, 1). Share of the training data held out, where the data
            set brings no validation split of its own.
        train_limit: int or None. Images to train on at most.
        label_noise: float in [0, 1). Share of the training labels that are made wrong.
        seed: int. Of the held-out share, label noise, the order and the augmentation.
        soft_labels: bool. Training and validation labels as one-hot rows; MixUp and CutMix need
            it and switch it on.
        share: pair of int: this worker's number, and how many workers there are.
        folder: str, path or None. Where the data lies; None for the data set's usual place.
        download: bool. Let TensorFlow Datasets fetch what is not there.
        image_size: int or None. Side to which images are brought (pixels); None: as stored.
        image_width: int or None. Of data of identities: width, where image_size is the height alone.
        memory_limit: int. Data that takes no more, decoded, is held in memory (MiB).
        verify: bool. Decode all images of a folder before training starts.
        on_bad_image: str: "stop" at an image of a folder that cannot be read, or "skip" it.
        recorded: path or None. Of data in files: the splits.csv of a run, whose splits are kept
            whatever files have come since.
        shape, classes, images: of generated data: (height, width, channels); number of classes;
            number of training images.
        crop_padding, flip, resized_crop, rand_augment, rand_magnitude, erasing, mix_up, cut_mix:
            see `dreal_tf.recipe.Augment`.
    Example:
        >>> Options(mix_up=0.2).one_hot
        True
    """

    batch_size: int = 64
    images_per_identity: int | None = None
    replicas: int = 1
    validation_fraction: float = 0.1
    train_limit: int | None = None
    label_noise: float = 0.0
    seed: int = 0
    soft_labels: bool = False
    share: tuple = (0, 1)
    folder: object = None
    download: bool = False
    image_size: int | None = None
    image_width: int | None = None
    memory_limit: int = 1024
    verify: bool = True
    on_bad_image: str = "stop"
    recorded: object = None
    shape: tuple = (32, 32, 3)
    classes: int = 10
    images: int = 512
    crop_padding: int = 0
    flip: bool = False
    resized_crop: float | None = None
    rand_augment: int = 0
    rand_magnitude: float = 0.3
    erasing: float = 0.0
    mix_up: float = 0.0
    cut_mix: float = 0.0

    @property
    def one_hot(self):
        """Whether training and validation labels are one-hot rows."""
        return bool(self.soft_labels or self.mix_up or self.cut_mix)

    def fits_memory(self, images, shape):
        """Whether that many uint8 images of that shape may be held in memory.

        Example:
            >>> Options(memory_limit=1).fits_memory(1000, (32, 32, 3))
            False
        """
        height, width, channels = shape
        return images * height * width * channels <= self.memory_limit * 2**20
