"""The sections `data` and `augment` of a recipe, and the options of a data set, which contain them."""

import os
import re
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import ConfigDict, Field, PlainSerializer, WrapValidator

from dreal_tf.errors import InputError, received

# Largest values: far above any use, and low enough that a slip of the pen is refused at once.
MOST, MOST_PIXELS, MOST_FLOAT, LONGEST_TEXT = 10**9, 2**14, 1e30, 4096
Count = Annotated[int, Field(gt=0, le=MOST)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
AtLeastTwo = Annotated[int, Field(ge=2, le=MOST)]
PositiveFloat = Annotated[float, Field(gt=0, le=MOST_FLOAT)]
NonNegativeFloat = Annotated[float, Field(ge=0, le=MOST_FLOAT)]


def _or_auto(value, count):
    """A count, or "auto": chosen from the data."""
    return value if value == "auto" else count(value)


CountOrAuto = Annotated[Count, WrapValidator(_or_auto), PlainSerializer(lambda count: count)]
SideOrAuto = Annotated[Side, WrapValidator(_or_auto), PlainSerializer(lambda side: side)]
Shape = tuple[Side, Side, Literal[1, 3]]


def expectation(problem):
    """The expectation that one error of pydantic states, such as "to be greater than 0"."""
    text = problem["msg"].removeprefix("Value error, ")
    rule = re.match(r"\w+ should (.+)", text, re.DOTALL)
    return f"to {rule[1]}" if rule else f"to be {text[0].lower()}{text[1:]}"


def check_memory(needed, expected, received, cure):
    """Refuses work that certainly takes more memory than this machine has.

    Args:
        needed: int or float (bytes).
        expected, received, cure: str, for the message.
    Raises:
        InputError: if it does.
    Example:
        >>> check_memory(2**60, "a network", "backbone.width=100", "Lower it.")
        Traceback (most recent call last):
        ...
        dreal_tf.errors.InputError: Expected a network that fits into the memory of this machine, ...
    """
    if not hasattr(os, "sysconf"):  # Windows says it by other means.
        return
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > total:
        raise InputError(
            f"Expected {expected} that fits into the memory of this machine, {total / 2**30:.0f} GiB. "
            f"Received: {received}, which takes {needed / 2**30:.3g} GiB or more. {cure}"
        )


class Section(pydantic.BaseModel):
    """A part of a recipe: immutable, and an unknown field is an error.

    Attributes:
        kept: tuple of str. Fields that a change of kind keeps; all others take the new kind's defaults.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, str_max_length=LONGEST_TEXT
    )
    kept: ClassVar[tuple] = ()

    @pydantic.field_validator("*")
    @classmethod
    def _check_text(cls, value):
        """Refuses NUL characters, which no path and no name can hold."""
        if any(
            isinstance(text, str) and "\0" in text
            for text in (value if isinstance(value, tuple) else [value])
        ):
            raise ValueError("text without NUL characters")
        return value

    def shrunk(self):
        """The section of a recipe that runs in seconds."""
        return self


class Data(Section):
    """The data set. Fields that do not apply to it are ignored."""

    name: str = Field(
        default="digits",
        description="digits, fashion_mnist, folder (of images), cued, generated, or any set of TensorFlow "
        "Datasets; identities: market1501, dukemtmc, msmt17, veri776, coil100 or identity_csv; or "
        "module:name of a plugin.",
    )
    folder: str | None = Field(
        default=None, description="Its folder; None: its usual place. `--data-dir` sets it."
    )
    download: bool = Field(default=False, description="Let TensorFlow Datasets download missing data.")
    batch_size: CountOrAuto = Field(
        default=64,
        description='Training batch over all replicas; "auto": chosen from the data (images).',
    )
    images_per_identity: AtLeastTwo | None = Field(
        default=None,
        description="Images of each identity in a batch, a divisor of batch_size; None: any order (images).",
    )
    image_size: SideOrAuto | None = Field(
        default=None,
        description='Side of the images; None: as stored; "auto": chosen from the data (pixels).',
    )
    image_width: Side | None = Field(
        default=None, description="Width of images of identities, image_size being the height (pixels)."
    )
    validation_fraction: Annotated[float, Field(ge=1e-6, lt=1)] = Field(
        default=0.1,
        description="Fraction of the training data held out; for data of identities, of the identities, and "
        "of the images of all others (fraction).",
    )
    train_limit: Count | None = Field(
        default=None, description="Most images to train on; None: all (images)."
    )
    label_noise: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Training labels replaced by another class (fraction)."
    )
    memory_limit: CountOrZero = Field(default=1024, description="Most decoded data in memory (MiB).")
    verify: bool = Field(default=True, description="Read all images of a folder before training.")
    on_bad_image: Literal["stop", "skip"] = Field(
        default="stop", description="At an image that cannot be read."
    )
    tiles: str = Field(
        default="digits",
        description="Data set of the four pictures in an image of cued: digits, fashion_mnist, or any set "
        "of TensorFlow Datasets.",
    )
    shape: Shape = Field(
        default=(32, 32, 3), description="Shape of generated images: height, width (pixels), channels."
    )
    classes: Annotated[int, Field(ge=2, le=10**6)] = Field(
        default=10, description="Classes of generated images (classes)."
    )
    images: Count = Field(default=512, description="Generated to train and validate on (images).")


class Augment(Section):
    """How training images are augmented, in this order. Random in (seed, epoch, position in the epoch)."""

    resized_crop: Annotated[float, Field(ge=1e-4, le=1)] | None = Field(
        default=None,
        description="Least area kept by a random crop; ImageNet: 0.08; None: off (fraction).",
    )
    rand_augment: Annotated[int, Field(ge=0, le=16)] = Field(
        default=0, description="RandAugment on each image; ImageNet: 2 (operations)."
    )
    rand_magnitude: Fraction = Field(
        default=0.3, description="Strength of RandAugment; 1 is the paper's 10 (no unit)."
    )
    crop_padding: Annotated[int, Field(ge=0, le=512)] = Field(
        default=0, description="Padding before random crops (pixels)."
    )
    flip: bool = Field(default=False, description="Mirror left and right with probability 1/2.")
    erasing: Probability = Field(default=0.0, description="Erase a rectangle (probability).")
    mix_up: NonNegativeFloat = Field(
        default=0.0, description="Alpha of MixUp; 0: off. Labels become soft (no unit)."
    )
    cut_mix: Probability = Field(
        default=0.0, description="Alpha of CutMix; 0: off. Labels become soft (no unit)."
    )


class Options(Data, Augment):
    """The options of a data set: both sections of a recipe, and settings of the run.

    Options that do not apply to a data set are ignored.

    Raises:
        InputError: if there is no such option, or a value does not fit.
    Example:
        >>> Options(mix_up=0.2).one_hot
        True
    """

    folder: str | os.PathLike | None = Field(default=None, description="The folder of the data.")
    seed: int = Field(0, description="Seed of held-out data, noise, order and augmentation (no unit).")
    replicas: Count = Field(1, description="Replicas that a batch is divided among (replicas).")
    shard: tuple = Field((0, 1), description="This worker's index, and the number of workers.")
    soft_labels: bool = Field(
        False,
        description="Training and validation labels as one-hot rows, as MixUp and CutMix need them.",
    )
    recorded: str | os.PathLike | None = Field(
        None, description="The splits.csv of a run whose splits are kept, or None."
    )
    checked: Any = Field(
        None, description="`FileRecord` of another run, whose files are not checked again, or None."
    )

    def __init__(self, **options):
        try:
            super().__init__(**options)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            name = ".".join(map(str, problem["loc"]))
            raise InputError(
                f"Expected {name} {expectation(problem)}. Received: {name}={received(problem['input'])}. Change it."
            ) from error

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

    def size_needed(self, images, size):
        """An `InputError` for images that do not fit into memory and have no `image_size`."""
        return InputError(
            "Expected data.image_size for images that take more memory than data.memory_limit="
            f"{self.memory_limit} MiB. Received: {images} images of {size[0]}×{size[1]} pixels. Set "
            "data.image_size (and data.image_width if they are not square), or raise the limit."
        )
