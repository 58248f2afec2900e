"""The recipe: everything that a run follows from, and every field of it."""

import itertools
import json
import typing
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    WrapValidator,
)

import dreal_tf
from dreal_tf.errors import InputError, unknown_name

Fraction = Annotated[float, Field(gt=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


def _split_commas(value):
    """Lets `--set attention.stages=conv3,conv4` stand for a list; "all" stands for none named."""
    if isinstance(value, str):
        return None if value == "all" else tuple(part.strip() for part in value.split(","))
    return value


def _split_block_numbers(value):
    """Lets `--set attention.blocks=1,3` stand for a list of numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, str) and value not in ("all", "last"):
        return tuple(part.strip() for part in value.split(","))
    return value


def _split_places(value):
    """Lets `--set attention.pruned=conv2_1,conv3_1` stand for a list."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _count_or_auto(value, count):
    """A count; or "auto", which stands for one that is found from the data."""
    return value if value == "auto" else count(value)


def _rising(shares):
    if any(late <= early for early, late in itertools.pairwise(shares)):
        raise ValueError("a rising sequence")
    return shares


Milestones = Annotated[tuple[Fraction, ...], AfterValidator(_rising)]
CountOrAuto = Annotated[
    PositiveInt, WrapValidator(_count_or_auto), PlainSerializer(lambda count: count)
]
Shape = tuple[PositiveInt, PositiveInt, Literal[1, 3]]
Stages = Annotated[tuple[str, ...] | None, BeforeValidator(_split_commas)]
AttentionKind = Literal[
    "none",
    "se",
    "cbam",
    "srm",
    "eca",
    "non_local",
    "a2",
    "aa",
    "sasa",
    "danet",
    "ccnet",
    "emanet",
]
CONVOLUTION_KINDS = ("aa", "sasa")  # Those that replace a convolution of a block.
BlockNumbers = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Blocks = Annotated[Literal["all", "last"] | BlockNumbers | None, BeforeValidator(_split_block_numbers)]
Places = Annotated[tuple[str, ...] | None, BeforeValidator(_split_places)]
CounterfactualKind = Literal["reference", "permuted", "noise"]
Exploration = Annotated[
    Annotated[tuple[CounterfactualKind, ...], Field(min_length=1)] | None,
    BeforeValidator(_split_commas),
]


class Section(pydantic.BaseModel):
    """A part of a recipe: immutable, and a field that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """What is learnt from. Fields that do not concern the data set are ignored."""

    # digits, fashion_mnist, folder (of images), generated, or any set of TensorFlow Datasets; of
    # identities: market1501, dukemtmc, msmt17, veri776, coil100 or identity_csv.
    name: str = "digits"
    folder: str | None = None  # Where it lies; None for its usual place. `--data-dir` sets it.
    download: bool = False  # Let TensorFlow Datasets fetch what is not there.
    # Images per training step, over all replicas; "auto", here and below: found from the data.
    batch_size: CountOrAuto = 64
    # Of identities: images of each in a batch, which must divide batch_size; None: any order.
    images_per_identity: Annotated[int, Field(ge=2)] | None = None
    # Side of the images in pixels; None: as stored.
    image_size: CountOrAuto | None = None
    image_width: PositiveInt | None = None  # Of identities: width, image_size being the height.
    # Share of the training data; of identities: of these, and of the images of all others.
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    train_limit: PositiveInt | None = None  # Images to train on at most; None for all.
    # Share of the training labels replaced by another class; not of sets read as training goes.
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    memory_limit: NonNegativeInt = 1024  # What takes no more, decoded, is held in memory (MiB).
    verify: bool = True  # Look at all images of a folder before training starts.
    on_bad_image: Literal["stop", "skip"] = "stop"  # At an image of a folder that is unreadable.
    shape: Shape = (32, 32, 3)  # Of generated images: height, width (pixels), channels.
    classes: Annotated[int, Field(ge=2)] = 10  # Of generated images.
    images: PositiveInt = 512  # Of generated images: how many to train on and hold out.


class Augment(Section):
    """How training images are varied, in this order. Random in (seed, epoch, place in the epoch)."""

    resized_crop: Fraction | None = None  # Least share of the area kept; ImageNet: 0.08; None: off.
    rand_augment: NonNegativeInt = 0  # Operations of RandAugment per image; ImageNet: 2.
    rand_magnitude: Fraction = 0.3  # Their strength; 1 for the paper's 10.
    crop_padding: NonNegativeInt = 0  # Pixels of zeros on each side before a random crop.
    flip: bool = False  # Mirror left and right, half of the time.
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0  # Probability that a rectangle is erased.
    mix_up: NonNegativeFloat = 0.0  # Alpha of MixUp (no unit); 0: off. Labels become soft.
    cut_mix: Annotated[float, Field(ge=0, le=1)] = 0.0  # Alpha of CutMix; 0: off. Labels, too.


class Backbone(Section):
    """The network that carries the attention."""

    # "resnet": for small images (He 2016, section 4.2); "imagenet_resnet": for large (section 4.1).
    name: Literal["resnet", "imagenet_resnet"] = "resnet"
    depth: PositiveInt = 20  # Layers: 8, 14, 20, ..., 56; imagenet_resnet: 18, 34, 50, 101, 152.
    width: PositiveFloat = 1.0  # Multiplies the paper's channels (no unit).
    shortcut: Literal["identity", "projection"] = "identity"  # Of resnet. Paper: option A.
    stride_placement: Literal["3x3", "1x1"] = "3x3"  # Of imagenet_resnet. Goyal 2017; He 2016: 1x1.
    zero_gamma: bool = False  # Of imagenet_resnet: blocks start as their skip path (Goyal 2017).
    last_stride: Literal[1, 2] = 2  # Of imagenet_resnet: stride of conv5; re-identification: 1.
    bnneck: bool = False  # A BatchNorm before the logits, whose output is the embedding (Luo 2019).
    synchronized: bool = False  # Whether BatchNorm's statistics span all replicas.
    # Of imagenet_resnet, to start from: "imagenet", those of keras.applications; or a file, see
    # docs/weights.md; None: they are drawn.
    weights: str | None = None
    download: bool = False  # Fetch the weights "imagenet" where they are not there.
    frozen: Stages = None  # Stages that are not trained, such as ["conv1", "conv2"]; None: all are.


class Attention(Section):
    """The actors. None stands for what the kind's paper has."""

    kind: AttentionKind = "se"  # Which attention module.
    stages: Stages = None  # Stages that get it, such as ["conv4"].
    blocks: Blocks = None  # Their blocks: "all", "last", or numbers from 1.
    pruned: Places = None  # Blocks, such as ["conv3_1"], that would get it and go without.
    reduction: PositiveInt | None = None  # Of se and cbam: channels over hidden width.
    kernel_size: PositiveInt | None = None  # Of cbam, eca, aa, sasa: side of the window (places).
    heads: PositiveInt | None = None  # Of aa and sasa: heads of attention.
    recurrence: Literal[1, 2] | None = None  # Of ccnet: how often it is applied.
    bases: PositiveInt | None = None  # Of emanet: how many.
    identity_start: bool = False  # Whether new modules start as if they were not there.


class Dreal(Section):
    """The method. See `dreal_tf.DREAL`."""

    enabled: bool = True  # False: the identical baseline, without critic, reward and actor loss.
    critic: Literal["comparative", "paper", "direct", "shuffled"] = "comparative"  # Which critic.
    critic_units: PositiveInt = 64  # Width of its encoders and memory.
    critic_grid: PositiveInt = 4  # Side of the grid to which maps are averaged (cells).
    # Counterfactuals that "comparative" and "shuffled" learn from: reference, permuted and noise; one
    # that is named twice is sampled twice as often. None: the critic's own choice.
    exploration: Exploration = None
    noise: PositiveFloat | None = None  # Its standard deviation (logits); None: the critic's own.
    actor_weight: NonNegativeFloat = 0.1  # Weight of the actor loss (lambda, no unit).
    actor_warmup: NonNegativeInt = 0  # Steps over which it rises from 0.
    estimator: Literal["sampled", "exact"] = "sampled"  # How rewards are measured in training.
    reward_fraction: Fraction = 0.25  # Fraction of each training batch that is sampled.
    validation_fraction: Fraction = 0.25  # Fraction of each validation batch, measured exactly.
    # Fraction of the validation images on which the critic's gradients are tested; 0: none.
    instrument_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0625
    reference_action: Literal["mean", "static", "identity"] = "mean"  # Of an ablated module.
    penalty: NonNegativeFloat = 1.0  # Minus the reward of a wrong prediction (gamma, no unit).
    update: Literal["simultaneous", "alternating"] = "simultaneous"  # Who moves first.
    trust: bool = True  # Follow the critic as far as its predictions were right; False: in full.
    stages: Stages = None  # Stages the method is restricted to; None for all.
    start_epoch: NonNegativeInt = 0  # First epoch of the method; before it, plain training.


class Optim(Section):
    """The optimizers."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"  # Moves the network.
    learning_rate: PositiveFloat = 0.1  # Its peak learning rate.
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # Of sgd.
    nesterov: bool = False  # Of sgd.
    weight_decay: NonNegativeFloat = 1e-4  # Half of it times the squared kernels joins the loss.
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # Share spread over all classes.
    # Of identities, over the features before the neck: which triplet loss joins the cross entropy.
    triplet: Literal["none", "batch_hard", "weighted"] = "none"
    triplet_weight: NonNegativeFloat = 1.0  # Its weight (no unit).
    margin: PositiveFloat | None = 0.3  # Of batch_hard (unit of the features); None: soft.
    centre_weight: NonNegativeFloat = 0.0  # Weight of the centre loss; 0: off.
    centre_rate: Fraction = 0.5  # How far its centres move in a step.
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # Momentum of averaged weights, judged
    # and kept in place of the last ones; None: off.
    clip_norm: PositiveFloat | None = None  # Global norm of the task loss's gradient; None: free.
    critic_learning_rate: PositiveFloat = 1e-3  # Constant learning rate of the critic's Adam.
    # Multipliers of the learning rate (no unit), by part; adamw's decay follows the plain rate.
    backbone_lr_multiplier: PositiveFloat = 1.0  # All that is neither attention nor logits.
    attention_lr_multiplier: PositiveFloat = 1.0  # The actors.
    head_lr_multiplier: PositiveFloat = 1.0  # The logits.


class Schedule(Section):
    """How long, and how the learning rate falls.

    With T steps in all, of them W of warm-up, the rate of step t, counted from 0, is the peak
    (`optim.learning_rate`) times t / W for t < W; then times (1 + cos(pi (t - W) / (T - W))) / 2 for
    "cosine"; `factor` to the power of the number of milestones m with round(m T) <= t for "steps"; and 1
    for "constant".
    """

    epochs: CountOrAuto = 10  # Passes over the training data.
    decay: Literal["cosine", "steps", "constant"] = "cosine"  # Course of the learning rate.
    warmup_epochs: NonNegativeFloat = 0.0  # Epochs over which the rate rises from 0.
    milestones: Milestones = (0.5, 0.75)  # Of "steps": shares of training at which ...
    factor: Fraction = 0.1  # ... the rate is multiplied by this.


class Run(Section):
    """How a run is carried out."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = (
        0  # Of weights, splits, order, augmentation and draws.
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"  # Of the network.
    start: str | None = None  # A .keras file with weights to start from; None: they are drawn.
    # The same bits each time at one number of threads, and the baseline's where no critic is heeded;
    # may cost speed on GPUs.
    deterministic: bool = True
    # Share of the training's time that pictures in TensorBoard may take in the long run; 0: none.
    figures: Annotated[float, Field(ge=0, lt=1)] = 0.02


__all__ = [
    "Attention",
    "Augment",
    "Backbone",
    "Data",
    "Dreal",
    "Optim",
    "PositiveFloat",
    "Recipe",
    "Run",
    "Schedule",
    "Section",
    "whole_path",
]


SCHEMA = 2  # Of recipe.json. Version 1 carried no number.
# Fields of schema 1 by their new names.
RENAMED = {
    "backbone.neck": "bnneck",
    "dreal.baseline": "reference_action",
    "optim.rate": "learning_rate",
    "optim.critic_rate": "critic_learning_rate",
    "optim.backbone_rate": "backbone_lr_multiplier",
    "optim.attention_rate": "attention_lr_multiplier",
    "optim.head_rate": "head_lr_multiplier",
}


class Recipe(Section):
    """A training run, fully described.

    Example:
        >>> recipe = Recipe(schedule=Schedule(epochs=3))
        >>> recipe.replace({"dreal.actor_weight": "0.5"}).dreal.actor_weight
        0.5
    """

    name: Annotated[str, Field(pattern=r"^\w[^/\\]*$")] = "unnamed"  # Also of the run's folder.
    data: Data = Data()
    augment: Augment = Augment()
    backbone: Backbone = Backbone()
    attention: Attention = Attention()
    dreal: Dreal = Dreal()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    run: Run = Run()

    def replace(self, changes):
        """A recipe with some fields changed.

        With another `attention.kind`, every field of that section that is not given too becomes that
        kind's own: what suits one kind means little to another. Only `identity_start`, which protects
        the weights around the modules, is kept; kinds that replace a convolution cannot have it.
        `attention.kind=none` leaves nothing to teach, so it also sets `dreal.enabled` to False unless
        that is given too.

        Args:
            changes: dict from dotted path, such as "optim.learning_rate", to the new value; a str is read as
                the field's type.
        Returns:
            `Recipe`.
        Raises:
            InputError: if a path is unknown or a value does not fit its field.
        """
        tree = self.model_dump()
        kind = changes.get("attention.kind", self.attention.kind)
        if kind != self.attention.kind:
            kept = self.attention.identity_start and kind not in CONVOLUTION_KINDS
            tree["attention"] = Attention(identity_start=kept).model_dump()
        if changes.get("attention.kind") == "none":
            tree["dreal"]["enabled"] = False
        for path, value in changes.items():
            section, _, field = path.partition(".")
            if path in RENAMED:
                raise InputError(
                    f"Expected a recipe path. Received: {path!r}, the old name of "
                    f"'{section}.{RENAMED[path]}'. Give the new one."
                )
            if path not in self.paths():
                raise unknown_name("recipe path", path, self.paths())
            if field:
                kind = type(self).model_fields[section].annotation.model_fields[field].annotation
                text = str in (kind, *typing.get_args(kind))
                tree[section][field] = value if text and value != "null" else _parsed(value)
            else:
                tree[section] = value
        return _validated(tree)

    def shrunk(self):
        """The recipe with its kinds, stages and losses, but seconds long and on generated images.

        Returns:
            `Recipe`.
        Example:
            >>> Recipe().shrunk().data.name
            'generated'
        """
        small, identities = self.backbone.name == "resnet", self.data.images_per_identity is not None
        return self.replace(
            {
                "data.name": "generated",
                "data.folder": None,
                "data.image_size": None,
                "data.shape": (16, 16, 3) if small else (64, 64, 3),
                "data.image_width": None,
                "data.images_per_identity": 4 if identities else None,
                "data.classes": 8 if identities else 4,
                "data.images": 96 if identities else 64,
                "data.batch_size": 16,
                "data.train_limit": None,
                "data.validation_fraction": 0.1,
                "backbone.stride_placement": "3x3",
                "backbone.weights": None,
                "backbone.frozen": None,
                "backbone.depth": 8 if small else 18,
                "backbone.width": 0.25 if small else 0.125,
                "attention.reduction": 2 if self.attention.kind in ("se", "cbam") else None,
                "attention.blocks": None,
                "attention.pruned": None,
                "schedule.epochs": 2,
                "schedule.warmup_epochs": min(self.schedule.warmup_epochs, 1.0),
                "dreal.start_epoch": 0,
                "dreal.actor_warmup": min(self.dreal.actor_warmup, 2),
                "run.start": None,
                "run.figures": 0.0,
            }
        )

    def reading(self, data_dir):
        """The recipe with its data somewhere else.

        Args:
            data_dir: str, path or None: a folder, or the address of one in a bucket; None leaves the
                recipe as it is.
        Returns:
            `Recipe`.
        Example:
            >>> Recipe().reading("gs://mine/tfds").data.folder
            'gs://mine/tfds'
        """
        return self if data_dir is None else self.replace({"data.folder": whole_path(data_dir)})

    @classmethod
    def paths(cls):
        """All dotted paths of a recipe.

        Example:
            >>> "schedule.epochs" in Recipe.paths()
            True
        """
        paths = ["name"]
        for name, field in cls.model_fields.items():
            if name != "name":
                paths += [f"{name}.{inner}" for inner in field.annotation.model_fields]
        return paths

    def to_json(self):
        """The recipe as indented JSON text, with its schema and the version that wrote it."""
        written_by = {"schema": SCHEMA, "dreal_tf": dreal_tf.__version__}
        return json.dumps(written_by | self.model_dump(mode="json"), indent=2) + "\n"

    @classmethod
    def from_json(cls, text, source="the text"):
        """The recipe that `to_json` wrote, of this version or an earlier one.

        Args:
            text: str.
            source: str, named in errors.
        Raises:
            InputError: if it is not one.
        """
        try:
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"Expected a recipe as JSON. Received: {source}, which is not JSON ({error}). "
                "Give a recipe.json that a run has written."
            ) from error
        return _validated(_of_this_schema(tree, source))


def whole_path(folder):
    """A folder's path from the root, as a run may be read from elsewhere; an address stays as it is.

    Args:
        folder: str or path.
    Returns:
        Str.
    Example:
        >>> whole_path("s3://mine/tfds"), Path(whole_path("data")).is_absolute()
        ('s3://mine/tfds', True)
    """
    return str(folder) if "://" in str(folder) else str(Path(folder).expanduser().resolve())


def _of_this_schema(tree, source):
    """The JSON of a recipe with the names of this schema."""
    if not isinstance(tree, dict):
        return tree
    tree, schema, version = dict(tree), tree.get("schema", 1), tree.get("dreal_tf", "0.1.0")
    tree.pop("schema", None), tree.pop("dreal_tf", None)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(
            f"Expected a recipe of schema {SCHEMA} or earlier. Received: {source} of schema {schema!r}, "
            f"written by dreal_tf {version}. Install that version or a later one."
        )
    for path, name in RENAMED.items():
        section, _, old = path.partition(".")
        fields = tree.get(section)
        if isinstance(fields, dict) and old in fields and schema == 1:
            fields = dict(fields)
            fields[name] = fields.pop(old)
            tree[section] = fields
    exploration = (tree.get("dreal") or {}).get("exploration") if schema == 1 else None
    if exploration:
        kinds = ["reference" if kind == "baseline" else kind for kind in exploration]
        tree["dreal"] = tree["dreal"] | {"exploration": kinds}
    return tree


def _parsed(value):
    """A `--set` value: JSON where it is JSON, else the text itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _validated(tree):
    try:
        return Recipe.model_validate(tree)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(str(part) for part in problem["loc"]) or "the recipe"
        more = f" ({error.error_count() - 1} more such)" if error.error_count() > 1 else ""
        expected = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise InputError(
            f"Expected {path} to be {expected}{more}. Received: {path}={problem['input']!r}. "
            "Change it; `dreal-tf train RECIPE --print-recipe` shows all fields."
        ) from error
