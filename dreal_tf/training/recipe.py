"""The recipe: everything that a run follows from, and every field of it.

A section whose fields depend on its kind (attention, backbone, optimizer, schedule) is one model for each
kind, so that a field that a kind does not take is refused.
"""

import itertools
import json
import os
import re
import types
import typing
from typing import Annotated, Any, ClassVar, Literal, Union

import pydantic
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, JsonValue, Tag

import dreal_tf
from dreal_tf.data.sections import (
    Augment,
    Count,
    CountOrAuto,
    CountOrZero,
    Data,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    Section,
    expectation,
)
from dreal_tf.errors import InputError, received, shortened, unknown_name

SCHEMA = 5  # Of recipe.json. Version 1 carried no number.
ARGUMENT = "arguments."  # Before the name of an argument of a plugin's class.


def _split_commas(value):
    """Lets `--set attention.stages=conv3,conv4` stand for a list; "all" stands for None."""
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


def _split_names(value):
    """Lets `--set attention.pruned=conv2_1,conv3_1` stand for a list."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _rising(fractions):
    if any(late <= early for early, late in itertools.pairwise(fractions)):
        raise ValueError("a rising sequence")
    return fractions


def _six_n_plus_two(depth):
    if not 8 <= depth <= 1202 or (depth - 2) % 6:
        raise ValueError("8, 14, 20, ... (6n + 2), up to the 1202 of the paper")
    return depth


def _odd(size):
    if size % 2 == 0:
        raise ValueError("an odd number")
    return size


def _folder_name(name):
    if not re.fullmatch(r"\w[^/\\\x00-\x1f]{0,99}", name):
        raise ValueError(
            "a folder's name (of a .py recipe, the file's): at most 100 characters, the first a letter or "
            "digit, and no slash"
        )
    return name


def _as_json(value):
    """A value as recipe.json gives it back: a tuple becomes a list."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("a dict that JSON can hold") from error


Milestones = Annotated[tuple[Fraction, ...], AfterValidator(_rising)]
Width = Annotated[float, Field(gt=0, le=32)]
Hidden = Annotated[int, Field(gt=0, le=2**14)]  # Units, heads, bases: they multiply weights.
OddSize = Annotated[int, Field(gt=0, le=255), AfterValidator(_odd)]
Arguments = Annotated[dict[str, JsonValue], BeforeValidator(_as_json)]
Stages = Annotated[tuple[str, ...] | None, BeforeValidator(_split_commas)]
BlockNumbers = Annotated[tuple[Count, ...], Field(min_length=1)]
Blocks = Annotated[Literal["all", "last"] | BlockNumbers | None, BeforeValidator(_split_block_numbers)]
Names = Annotated[tuple[str, ...] | None, BeforeValidator(_split_names)]
CounterfactualKind = Literal["reference", "permuted", "noise"]
Exploration = Annotated[
    Annotated[tuple[CounterfactualKind, ...], Field(min_length=1)] | None,
    BeforeValidator(_split_commas),
]
# An attribute of a module: of a file given by `--plugin`, or of one that is installed.
PLUGIN = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class _ResidualNetwork(Section):
    """Fields of both residual networks."""

    kept: ClassVar[tuple] = ("bnneck", "synchronized", "frozen")

    name: str  # First, in every listing.
    bnneck: bool = Field(
        default=False,
        description="A BatchNorm before the logits, whose output is the embedding (Luo 2019).",
    )
    synchronized: bool = Field(default=False, description="BatchNorm's statistics span all replicas.")
    frozen: Stages = Field(
        default=None,
        description='Stages that are not trained, such as ["conv1", "conv2"]; None: all are.',
    )


class ResNet(_ResidualNetwork):
    """A residual network for small images (He et al. 2016, section 4.2)."""

    name: Literal["resnet"] = Field(default="resnet", description="The network.")
    depth: Annotated[int, AfterValidator(_six_n_plus_two)] = Field(
        default=20, description="8, 14, 20, ... (layers)."
    )
    width: Width = Field(default=1.0, description="Multiplies the paper's channels (no unit).")
    shortcut: Literal["identity", "projection"] = Field(
        default="identity", description="Across stages. Paper: identity, its option A."
    )

    def shrunk(self):
        return self.model_copy(update={"depth": 8, "width": 0.25, "frozen": None})


class ImagenetResNet(_ResidualNetwork):
    """A residual network for large images (He et al. 2016, section 4.1)."""

    name: Literal["imagenet_resnet"] = Field(description="The network.")
    depth: Literal[18, 34, 50, 101, 152] = Field(
        default=50, description="A depth of the paper's table 1 (layers)."
    )
    width: Width = Field(default=1.0, description="Multiplies the paper's channels (no unit).")
    stride_placement: Literal["3x3", "1x1"] = Field(
        default="3x3",
        description="Convolution of a bottleneck that halves the map. Goyal 2017; He 2016: 1x1.",
    )
    zero_gamma: bool = Field(
        default=False, description="Blocks start as their skip connection (Goyal 2017)."
    )
    last_stride: Literal[1, 2] = Field(
        default=2, description="Stride of conv5; re-identification: 1 (pixels of its input)."
    )
    weights: str | None = Field(
        default=None,
        description='Start from "imagenet", those of keras.applications, or from a file, see '
        "docs/weights.md; None: random.",
    )
    download: bool = Field(
        default=False, description='Fetch the weights "imagenet" where they are missing.'
    )

    def shrunk(self):
        small = {"depth": 18, "width": 0.125, "stride_placement": "3x3", "frozen": None}
        return self.model_copy(update=small | {"weights": None})


class OtherBackbone(Section):
    """A network of another origin: of Keras Applications, of KerasHub or of a plugin."""

    name: Annotated[str, Field(pattern=rf"^keras\.applications\.\w+$|^keras_hub\.[\w.]+$|{PLUGIN}")] = (
        Field(
            description="keras.applications.NAME, keras_hub.models.NAMEBackbone, or module:name of a "
            "plugin: a function (image_shape, classes, **arguments) that returns a keras.Model."
        )
    )
    arguments: Arguments = Field(
        default={}, description="Further arguments of its constructor, by name."
    )


class _Attention(Section):
    """Fields of every kind of attention; None stands for the choice of the kind's paper."""

    kind: str
    stages: Stages = Field(default=None, description='Stages that get modules, such as ["conv4"].')
    blocks: Blocks = Field(
        default=None, description='Blocks that get them: "all", "last" or numbers from 1.'
    )
    pruned: Names = Field(default=None, description='Blocks that go without, such as ["conv3_1"].')

    def shrunk(self):
        small = {"blocks": None, "pruned": None}
        if "reduction" in type(self).model_fields:
            small["reduction"] = 2 if self.kind in ("se", "cbam") else None
        return self.model_copy(update=small)


class _RefiningAttention(_Attention):
    """Attention that refines a feature map, and can therefore be put into any network."""

    kept: ClassVar[tuple] = ("identity_start", "gates", "insert_after")

    identity_start: bool = Field(
        default=False, description="New modules start as if they were not there."
    )
    gates: Names = Field(
        default=None,
        description="For another backbone: layers of its own attention that become the modules, such as "
        '"*_se_excite". None, and no insert_after: all that are found.',
    )
    insert_after: Names = Field(
        default=None,
        description="For another backbone: layers after which modules of this kind are inserted, such as "
        '"*_project_bn".',
    )


class NoAttention(Section):
    """The backbone alone."""

    kind: Literal["none"] = Field(description="The attention module.")


class SESection(_RefiningAttention):
    """Squeeze-and-excitation (Hu et al. 2018)."""

    kind: Literal["se"] = Field(default="se", description="The attention module.")
    reduction: Count | None = Field(
        default=None, description="Ratio of channels to hidden width. Paper: 16 (ratio)."
    )


class CBAMSection(_RefiningAttention):
    """Convolutional block attention (Woo et al. 2018)."""

    kind: Literal["cbam"] = Field(description="The attention module.")
    reduction: Count | None = Field(
        default=None, description="Ratio of channels to hidden width. Paper: 16 (ratio)."
    )
    kernel_size: OddSize | None = Field(
        default=None, description="Side of the spatial window. Paper: 7 (positions)."
    )


class SRMSection(_RefiningAttention):
    """Style-based recalibration (Lee et al. 2019)."""

    kind: Literal["srm"] = Field(description="The attention module.")


class ECASection(_RefiningAttention):
    """Efficient channel attention (Wang et al. 2020)."""

    kind: Literal["eca"] = Field(description="The attention module.")
    kernel_size: OddSize | None = Field(
        default=None,
        description="Side of the window; None: from the channels, as in the paper (channels).",
    )


class NonLocalSection(_RefiningAttention):
    """Non-local blocks (Wang et al. 2018)."""

    kind: Literal["non_local"] = Field(description="The attention module.")


class DoubleAttentionSection(_RefiningAttention):
    """Double attention (Chen et al. 2018)."""

    kind: Literal["a2"] = Field(description="The attention module.")


class AugmentedConvolutionSection(_Attention):
    """Attention-augmented convolution (Bello et al. 2019); it replaces a convolution of a block."""

    kind: Literal["aa"] = Field(description="The attention module.")
    kernel_size: OddSize | None = Field(
        default=None, description="Side of the convolution's window. Paper: 3 (positions)."
    )
    heads: Hidden | None = Field(default=None, description="Of attention. Paper: 8 (heads).")


class StandAloneAttentionSection(_Attention):
    """Stand-alone self-attention (Ramachandran et al. 2019); it replaces a convolution of a block."""

    kind: Literal["sasa"] = Field(description="The attention module.")
    kernel_size: OddSize | None = Field(
        default=None, description="Side of the window. Paper: 7 (positions)."
    )
    heads: Hidden | None = Field(default=None, description="Of attention. Paper: 8 (heads).")


class DualAttentionSection(_RefiningAttention):
    """Dual attention (Fu et al. 2019)."""

    kind: Literal["danet"] = Field(description="The attention module.")
    reduction: Count | None = Field(
        default=None, description="Channels over query and key width. Paper: 8 (ratio)."
    )


class CrissCrossSection(_RefiningAttention):
    """Criss-cross attention (Huang et al. 2019)."""

    kind: Literal["ccnet"] = Field(description="The attention module.")
    recurrence: Literal[1, 2] | None = Field(
        default=None, description="Applications. Paper: 2 (times)."
    )


class ExpectationMaximizationSection(_RefiningAttention):
    """Expectation-maximization attention (Li et al. 2019)."""

    kind: Literal["emanet"] = Field(description="The attention module.")
    bases: Hidden | None = Field(default=None, description="Paper: 64 (bases).")


class PluginAttention(_RefiningAttention):
    """A module of a plugin: an `AttentionActor`."""

    kind: Annotated[str, Field(pattern=PLUGIN)] = Field(description="module:name of its class.")
    arguments: Arguments = Field(default={}, description="Arguments of the class, by name.")


class _Method(Section):
    """Fields of the method, whichever critic teaches. See `dreal_tf.DREAL`."""

    enabled: bool = Field(
        default=True,
        description="False: the identical baseline, without critic, reward and actor loss.",
    )
    critic: str
    critic_units: Annotated[int, Field(gt=0, le=1024)] = Field(
        default=64, description="Width of the critic's encoders and memory (units)."
    )
    critic_grid: Annotated[int, Field(gt=0, le=64)] = Field(
        default=4, description="Side of the grid to which maps are averaged (cells)."
    )
    actor_weight: NonNegativeFloat = Field(
        default=0.5,
        description="Weight of the actor loss, as actor_weight_mode says (no unit).",
    )
    actor_weight_mode: Literal["relative", "absolute"] = Field(
        default="relative",
        description="relative: a fraction of the task gradient; absolute: lambda, as in the paper.",
    )
    actor_warmup: CountOrZero = Field(
        default=0, description="Linear rise of actor_weight from 0 (steps)."
    )
    estimator: Literal["sampled", "exact"] = Field(
        default="sampled", description="How rewards are measured in training."
    )
    reward_fraction: Fraction = Field(
        default=0.25, description="Sampled part of each training batch (fraction)."
    )
    validation_fraction: Fraction = Field(
        default=0.25, description="Exactly measured part of each validation batch (fraction)."
    )
    instrument_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0625,
        description="Validation images on which the critic's gradients are tested; 0: none (fraction).",
    )
    reference_action: Literal["mean", "static", "identity"] | Annotated[str, Field(pattern=PLUGIN)] = (
        Field(
            default="mean", description="The action of an ablated module; or module:name of a plugin."
        )
    )
    penalty: NonNegativeFloat = Field(
        default=1.0, description="Minus the reward of a wrong prediction, gamma (unit of the reward)."
    )
    update: Literal["simultaneous", "alternating"] = Field(
        default="simultaneous",
        description="Whether actors follow the critic before or after its own step.",
    )
    trust: bool = Field(
        default=True,
        description="Follow the critic as far as its predictions were right; False: in full.",
    )
    stages: Stages = Field(default=None, description="Stages the method is restricted to; None: all.")
    start_epoch: Count = Field(
        default=1,
        description="First epoch of the method, from 1; before it, training is plain (epochs).",
    )

    def shrunk(self):
        early = {"start_epoch": 1, "actor_warmup": min(self.actor_warmup, 2)}
        return self.model_copy(update=early)


_Method.kept = tuple(name for name in _Method.model_fields if name != "critic")


class ComparativeMethod(_Method):
    """The method with a critic that compares actions, or with its control, taught by other images."""

    critic: Literal["comparative", "shuffled"] = Field(
        default="comparative", description="The critic, or a control."
    )
    exploration: Exploration = Field(
        default=None,
        description="Counterfactual actions that the critic learns from: "
        "reference, permuted, noise; one that is named twice is sampled twice as often. None: the "
        "critic's own choice.",
    )
    noise: PositiveFloat | None = Field(
        default=None, description="Standard deviation of the noise; None: the critic's own (logits)."
    )


class PaperMethod(_Method):
    """The method with the critic of the paper, or with the true gradient in place of a critic."""

    critic: Literal["paper", "direct"] = Field(description="The critic, or a control.")


class PluginMethod(_Method):
    """The method with the critic of a plugin: a `dreal_tf.method.critics.Critic`."""

    critic: Annotated[str, Field(pattern=PLUGIN)] = Field(description="module:name of its class.")
    arguments: Arguments = Field(default={}, description="Arguments of the class, by name.")


class _Optimizer(Section):
    """Fields of every optimizer."""

    name: str
    learning_rate: PositiveFloat = Field(default=0.1, description="Peak learning rate (per step).")
    weight_decay: NonNegativeFloat = Field(
        default=1e-4,
        description="Half of it times the squared kernels joins the loss; adamw decays by itself (no "
        "unit).",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Spread over all classes (fraction)."
    )
    triplet: Literal["none", "batch_hard", "weighted"] = Field(
        default="none",
        description="Triplet loss of identities that joins the cross entropy, over the features before "
        "the bnneck.",
    )
    triplet_weight: NonNegativeFloat = Field(
        default=1.0, description="Weight of the triplet loss (no unit)."
    )
    margin: PositiveFloat | None = Field(
        default=0.3, description="Margin of batch_hard; None: soft (unit of the features)."
    )
    centre_weight: NonNegativeFloat = Field(
        default=0.0, description="Weight of the centre loss; 0: off (no unit)."
    )
    centre_rate: Fraction = Field(
        default=0.5, description="Way of the centres to the batch's means in a step (fraction)."
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Momentum of averaged weights, which are validated and kept in place of the last; "
        "None: off (no unit).",
    )
    clip_norm: PositiveFloat | None = Field(
        default=None,
        description="Largest global norm of the task loss's gradient; None: any (unit of the gradient).",
    )
    critic_learning_rate: PositiveFloat = Field(
        default=1e-3, description="Constant rate of the critic's Adam (per step)."
    )
    backbone_lr_multiplier: PositiveFloat = Field(
        default=1.0, description="Multiplies the rate of all but attention and logits (no unit)."
    )
    attention_lr_multiplier: PositiveFloat = Field(
        default=1.0, description="Multiplies the rate of the actors (no unit)."
    )
    head_lr_multiplier: PositiveFloat = Field(
        default=1.0,
        description="Multiplies the rate of the logits; adamw's decay follows the plain rate (no unit).",
    )


_Optimizer.kept = tuple(_Optimizer.model_fields)[1:]


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = Field(default="sgd", description="The optimizer of the network.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="Momentum (no unit)."
    )
    nesterov: bool = Field(default=False, description="Nesterov's form of momentum.")


class Adam(_Optimizer):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"] = Field(description="The optimizer of the network.")


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = Field(description="The optimizer of the network.")


class _Schedule(Section):
    """Fields of every schedule.

    With T steps in all, W of them warm-up, the learning rate of step t, counted from 0, is the peak
    (`optim.learning_rate`) times t / W for t < W; afterwards times the factor that the schedule names.
    """

    kept: ClassVar[tuple] = ("epochs", "warmup_epochs")

    decay: str
    epochs: CountOrAuto = Field(
        default=10, description='Passes over the training data; "auto": chosen from the data (epochs).'
    )
    warmup_epochs: NonNegativeFloat = Field(
        default=0.0, description="Linear rise of the learning rate from 0 (epochs)."
    )

    def shrunk(self):
        return self.model_copy(update={"epochs": 2, "warmup_epochs": min(self.warmup_epochs, 1.0)})


class CosineSchedule(_Schedule):
    """The factor is (1 + cos(pi (t - W) / (T - W))) / 2."""

    decay: Literal["cosine"] = Field(default="cosine", description="Course of the learning rate.")


class StepsSchedule(_Schedule):
    """The factor is `factor` to the power of the number of milestones m with round(m T) <= t."""

    decay: Literal["steps"] = Field(description="Course of the learning rate.")
    milestones: Milestones = Field(
        default=(0.5, 0.75), description="Times at which the rate falls (fractions of the training)."
    )
    factor: Fraction = Field(
        default=0.1, description="Multiplies the rate at each milestone (no unit)."
    )


class ConstantSchedule(_Schedule):
    """The factor is 1."""

    decay: Literal["constant"] = Field(description="Course of the learning rate.")


class Run(Section):
    """How a run is carried out."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="Seed of weights, splits, order, augmentation and sampling (no unit)."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        default="float32", description="In which the network computes."
    )
    start: str | None = Field(
        default=None, description="A .keras file with weights to start from; None: random."
    )
    deterministic: bool = Field(
        default=True,
        description="The same bits each time at one number of threads, and the baseline's where no "
        "critic is followed; may cost speed on GPUs.",
    )
    figures: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.02,
        description="Most of the training's time for figures in TensorBoard; 0: none (fraction).",
    )
    plugins: Names = Field(default=(), description="Python files that define what `module:name` names.")

    def shrunk(self):
        return self.model_copy(update={"start": None, "figures": 0.0})


def _kinds(base, field):
    """The models of a section by kind, in the order of their definition; a plugin's has no name."""
    models = {}
    for model in base:
        kinds = typing.get_args(model.model_fields[field].annotation) or (None,)
        models |= dict.fromkeys(kinds, model)
    return models


# For each section that has kinds: the field that names the kind, its default, and the models by kind.
# The key None is the model of names that are not listed.
KINDS = {
    "backbone": ("name", "resnet", _kinds((ResNet, ImagenetResNet, OtherBackbone), "name")),
    "attention": (
        "kind",
        "se",
        _kinds(
            (
                NoAttention,
                SESection,
                CBAMSection,
                SRMSection,
                ECASection,
                NonLocalSection,
                DoubleAttentionSection,
                AugmentedConvolutionSection,
                StandAloneAttentionSection,
                DualAttentionSection,
                CrissCrossSection,
                ExpectationMaximizationSection,
                PluginAttention,
            ),
            "kind",
        ),
    ),
    "dreal": (
        "critic",
        "comparative",
        _kinds((ComparativeMethod, PaperMethod, PluginMethod), "critic"),
    ),
    "optim": ("name", "sgd", _kinds((SGD, Adam, AdamW), "name")),
    "schedule": ("decay", "cosine", _kinds((CosineSchedule, StepsSchedule, ConstantSchedule), "decay")),
}


# Names beyond the listed ones.
OPEN_NAMES = {
    "backbone": ["keras.applications.NAME", "keras_hub.models.NAME", "module:name"],
    "attention": ["module:name"],
    "dreal": ["module:name"],
}


def model_of(section, kind):
    """The model of a section for a kind, which may be any value; None if there is none."""
    models = KINDS[section][2]
    return models.get(kind if isinstance(kind, str) else None, models.get(None))


def _union(section):
    """The type of a section that has kinds: the union of their models, told apart by one field."""
    field, default, models = KINDS[section]

    def tag(value):
        if isinstance(value, Section):
            return type(value).__name__
        kind = value.get(field, default) if isinstance(value, dict) else None
        model = model_of(section, kind)
        return None if model is None else model.__name__

    tagged = [Annotated[model, Tag(model.__name__)] for model in dict.fromkeys(models.values())]
    return Annotated[Union[tuple(tagged)], Discriminator(tag)]


if typing.TYPE_CHECKING:  # Type checkers read the base of each union, with the fields of all kinds.
    BackboneSection = Section
    AttentionSection = Section
    DrealSection = _Method
    OptimSection = _Optimizer
    ScheduleSection = _Schedule
else:
    BackboneSection = _union("backbone")
    AttentionSection = _union("attention")
    DrealSection = _union("dreal")
    OptimSection = _union("optim")
    ScheduleSection = _union("schedule")


def Backbone(name: str = "resnet", **fields: Any) -> Section:
    """The network that carries the attention: `ResNet`, `ImagenetResNet` or `OtherBackbone`, by its name.

    Raises:
        InputError: if the network has no such field, or a value does not fit.
    Example:
        >>> Backbone("imagenet_resnet", depth=18).stride_placement
        '3x3'
    """
    return _section("backbone", {"name": name} | fields)


def Attention(kind: str = "se", **fields: Any) -> Section:
    """The attention modules: the model of their kind, such as `SESection`.

    Raises:
        InputError: if the kind has no such field, or a value does not fit.
    Example:
        >>> Attention("se", reduction=4).reduction
        4
    """
    return _section("attention", {"kind": kind} | fields)


def Dreal(critic: str = "comparative", **fields: Any) -> _Method:
    """The method: `ComparativeMethod` or `PaperMethod`, by its critic.

    Raises:
        InputError: if the critic has no such field, or a value does not fit.
    Example:
        >>> Dreal("paper").actor_weight
        0.5
    """
    return _section("dreal", {"critic": critic} | fields)


def Optim(name: str = "sgd", **fields: Any) -> _Optimizer:
    """The optimizers: `SGD`, `Adam` or `AdamW`, by the name of the network's.

    Raises:
        InputError: if the optimizer has no such field, or a value does not fit.
    Example:
        >>> Optim(momentum=0.5).learning_rate
        0.1
    """
    return _section("optim", {"name": name} | fields)


def Schedule(decay: str = "cosine", **fields: Any) -> _Schedule:
    """The length of a training and its learning rate: `CosineSchedule`, `StepsSchedule` or `ConstantSchedule`.

    Raises:
        InputError: if the schedule has no such field, or a value does not fit.
    Example:
        >>> Schedule("steps", epochs=4).milestones
        (0.5, 0.75)
    """
    return _section("schedule", {"decay": decay} | fields)


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

    name: Annotated[str, AfterValidator(_folder_name)] = Field(
        default="unnamed", description="Name of the recipe, and of the run's folder."
    )
    data: Data = Data()
    augment: Augment = Augment()
    backbone: BackboneSection = ResNet()
    attention: AttentionSection = SESection()
    dreal: DrealSection = ComparativeMethod()
    optim: OptimSection = SGD()
    schedule: ScheduleSection = CosineSchedule()
    run: Run = Run()

    def replace(self, changes):
        """A recipe with some fields changed.

        A change of kind (`attention.kind`, `backbone.name`, `optim.name`, `schedule.decay`) drops the
        fields of the old kind: all that is not given too takes the new kind's defaults, except what
        both share by nature, such as the learning rate. `attention.kind=none` leaves nothing to teach,
        so it also sets `dreal.enabled` to False unless that is given too.

        Args:
            changes: dict from dotted path, such as "optim.learning_rate" or, of one argument,
                "attention.arguments.reduction", to the new value; a str is read as the field's type.
        Returns:
            `Recipe`.
        Raises:
            InputError: if a path is unknown or a value does not fit its field.
        """
        tree = self.model_dump()
        for section, (field, _, _) in KINDS.items():
            kind = changes.get(f"{section}.{field}", tree[section][field])
            if kind != tree[section][field]:
                model = model_of(section, kind)
                kept = set(model.kept) & set(model.model_fields) if model else ()
                tree[section] = {name: tree[section][name] for name in kept if name in tree[section]}
        if changes.get("attention.kind") == "none":
            tree["dreal"]["enabled"] = False
        for path, value in changes.items():
            section, _, field = str(path).partition(".")
            if path in RENAMED:
                raise InputError(
                    f"Expected a recipe path. Received: {path!r}, the old name of "
                    f"'{section}.{RENAMED[path]}'. Give the new one."
                )
            if not self.has_path(path):
                raise unknown_name("recipe path", path, self.paths())
            if field.startswith(ARGUMENT):
                arguments = tree[section].get("arguments") or {}
                tree[section]["arguments"] = arguments | {field.removeprefix(ARGUMENT): _parsed(value)}
            elif field:
                text = any(
                    str in _types(m.model_fields[field].annotation) for m in _models(section, field)
                )
                tree[section][field] = value if text and value != "null" else _parsed(value)
            else:
                tree[section] = value
        return _validated(Recipe, tree)

    def applicable(self, changes):
        """The changes of fields that the chosen kinds have, the changes of kind among them applied.

        Args:
            changes: dict, see `replace`.
        Returns:
            Dict.
        Example:
            >>> Recipe().applicable({"optim.name": "adam", "optim.momentum": 0.5, "run.seed": 1})
            {'optim.name': 'adam', 'run.seed': 1}
        """
        applicable = {}
        for path, value in changes.items():
            section, _, name = path.partition(".")
            if section in KINDS:
                field = KINDS[section][0]
                kind = changes.get(f"{section}.{field}", getattr(getattr(self, section), field))
                model = model_of(section, kind)
                if model is not None and name.split(".")[0] not in model.model_fields:
                    continue
            applicable[path] = value
        return applicable

    def shrunk(self):
        """The recipe with its kinds, stages and losses, but seconds long and on generated images.

        Returns:
            `Recipe`.
        Example:
            >>> Recipe().shrunk().data.name
            'generated'
        """
        sides = {ResNet: 16, ImagenetResNet: 64, OtherBackbone: 96}
        side, identities = sides[type(self.backbone)], self.data.images_per_identity is not None
        small = {
            "name": "generated",
            "shape": (side, side, 3),
            "images_per_identity": 4 if identities else None,
            "classes": 8 if identities else 4,
            "images": 96 if identities else 64,
            "batch_size": 16,
            "label_noise": self.data.label_noise,
            "memory_limit": self.data.memory_limit,
        }
        sections = {
            name: getattr(self, name).shrunk() for name in type(self).model_fields if name != "name"
        }
        return self.model_copy(update=sections | {"data": Data(**small)})

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
        """All dotted paths of a recipe, of every kind.

        Example:
            >>> "schedule.epochs" in Recipe.paths()
            True
        """
        paths = ["name"]
        for section in cls.model_fields:
            fields = [f"{section}.{name}" for model in _models(section) for name in model.model_fields]
            paths += dict.fromkeys(fields)
        return paths

    @classmethod
    def has_path(cls, path):
        """Whether a dotted path names a field, or an argument of a plugin's class.

        Example:
            >>> Recipe.has_path("attention.arguments.reduction"), Recipe.has_path("attention.argument")
            (True, False)
        """
        section, _, field = str(path).partition(".")
        is_argument = field.startswith(ARGUMENT) and field != ARGUMENT
        return (f"{section}.arguments" if is_argument else path) in cls.paths()

    def fields(self):
        """The fields of this recipe, for people.

        Returns:
            List of dict of `path`, `value`, `default` and `description`, whose end names the unit.
        Example:
            >>> [row["value"] for row in Recipe().fields() if row["path"] == "backbone.depth"]
            [20]
        """
        rows = []
        for section in type(self).model_fields:
            part = getattr(self, section)
            for name, field in type(part).model_fields.items() if section != "name" else ():
                kind = KINDS.get(section, ("",))[0] == name
                rows.append(
                    {
                        "path": f"{section}.{name}",
                        "value": getattr(part, name),
                        "default": KINDS[section][1]
                        if kind
                        else field.get_default(call_default_factory=True),
                        "description": field.description,
                    }
                )
        return rows

    def to_json(self):
        """The recipe as indented JSON text, with its schema and the version that wrote it."""
        written_by = {"schema": SCHEMA, "dreal_tf": dreal_tf.__version__}
        return json.dumps(written_by | self.model_dump(mode="json"), indent=2) + "\n"

    @classmethod
    def from_json(cls, text, source="the text"):
        """The recipe that `to_json` wrote, of this version or an earlier one.

        Args:
            text: str, or bytes in UTF-8.
            source: str, named in errors.
        Raises:
            InputError: if it is not one.
        """
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError) as error:  # Too long a number, or too deeply nested, too.
            raise InputError(
                f"Expected a recipe as JSON. Received: {source}, which is not JSON ({error}). "
                "Give a recipe.json that a run has written."
            ) from error
        return _validated(cls, _of_this_schema(tree, source))


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
    text = str(folder)
    if "://" in text or "\0" in text:  # The field refuses the second.
        return text
    return os.path.realpath(os.path.expanduser(text))


def _models(section, field=None):
    """The models that a section may be of, or those of them that have a field."""
    if section == "name":
        return []
    models = (
        dict.fromkeys(KINDS[section][2].values())
        if section in KINDS
        else (Recipe.model_fields[section].annotation,)
    )
    return [model for model in models if field is None or field in model.model_fields]


def _types(annotation):
    """The types that a field may have."""
    return typing.get_args(annotation) if _is_union(annotation) else (annotation,)


def _is_union(annotation):
    return typing.get_origin(annotation) in (Union, types.UnionType)


def _of_this_schema(tree, source):
    """The JSON of a recipe with the names and fields of this schema."""
    if not isinstance(tree, dict):
        return tree
    tree, schema, version = dict(tree), tree.get("schema", 1), tree.get("dreal_tf", "0.1.0")
    tree.pop("schema", None), tree.pop("dreal_tf", None)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(
            f"Expected a recipe of schema {SCHEMA} or earlier. Received: {source} of schema "
            f"{received(schema)}, written by dreal_tf {version}. Install that version or a later one."
        )
    for path, name in RENAMED.items():
        section, _, old = path.partition(".")
        fields = tree.get(section)
        if isinstance(fields, dict) and old in fields and schema == 1:
            fields = dict(fields)
            fields[name] = fields.pop(old)
            tree[section] = fields
    exploration = fields.get("exploration") if isinstance(fields := tree.get("dreal"), dict) else None
    if schema == 1 and isinstance(exploration, list):
        kinds = ["reference" if kind == "baseline" else kind for kind in exploration]
        tree["dreal"] = fields | {"exploration": kinds}
    if schema < 3:
        _drop_fields_of_other_kinds(tree)
    if schema < 4:  # Weights were absolute, 0.1 by default.
        absolute = {"actor_weight_mode": "absolute"}
        if isinstance(fields := tree.get("dreal", {}), dict):
            tree["dreal"] = {"actor_weight": 0.1} | fields | absolute
    start = fields.get("start_epoch") if isinstance(fields := tree.get("dreal"), dict) else None
    if schema < 5 and type(start) is int:  # Epochs were counted from 0.
        tree["dreal"] = fields | {"start_epoch": start + 1}
    return tree


def _drop_fields_of_other_kinds(tree):
    """Until schema 2 a section held the fields of all kinds; those of others were without effect."""
    for section, (field, default, models) in KINDS.items():
        fields = tree.get(section)
        model = model_of(section, fields.get(field, default)) if isinstance(fields, dict) else None
        if model is not None:
            others = {name for other in models.values() for name in other.model_fields}
            others -= set(model.model_fields)
            tree[section] = {name: value for name, value in fields.items() if name not in others}


def _parsed(value):
    """A `--set` value: JSON where it is JSON, else the text itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _section(section, fields):
    """A section of a recipe from its fields; its kind says which model it is."""
    return getattr(_validated(Recipe, {section: fields}), section)


def _validated(model, tree):
    try:
        return model.model_validate(tree)
    except pydantic.ValidationError as error:
        raise _input_error(error, tree) from error


def _input_error(error, tree):
    """The first error of pydantic, in three parts."""
    problem = error.errors()[0]
    location = list(problem["loc"])
    section = location[0] if location else None
    if section in KINDS and len(location) > 1:
        del location[1]  # The name of a model, which no user has written.
    path = shortened(".".join(str(part) for part in location), most=100) or "the recipe"
    more = f" ({error.error_count() - 1} more such)" if error.error_count() > 1 else ""
    if section in KINDS:
        field, default, models = KINDS[section]
        kind = tree[section].get(field, default) if isinstance(tree[section], dict) else tree[section]
        known = isinstance(kind, str) and kind in models
        if not known and (len(location) == 1 or location[1:] == [field]):
            names = [name for name in models if name is not None] + OPEN_NAMES.get(section, [])
            return unknown_name(f"{section}.{field}", kind, names)
        takers = [
            name or OPEN_NAMES[section][0]
            for name, model in models.items()
            if location[-1] in model.model_fields
        ]
        if problem["type"] == "extra_forbidden" and takers:
            return InputError(
                f"Expected no {path} with {section}.{field}={kind!r}, which does not have it{more}. "
                f"Received: {path}={received(problem['input'])}. Leave it out, or choose {section}.{field}="
                f"{' or '.join(map(repr, takers))}."
            )
    if problem["type"] == "extra_forbidden":
        return unknown_name(
            "recipe path", path, ["name", *Recipe.model_fields] if section == path else Recipe.paths()
        )
    return InputError(
        f"Expected {path} {expectation(problem)}{more}. Received: {path}={received(problem['input'])}. "
        "Change it; `dreal-tf recipes RECIPE` describes all fields."
    )
