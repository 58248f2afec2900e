"""Every class of ours that Keras may rebuild from a file keeps all that it was made with."""

import ast
import copy
import inspect
import json
from pathlib import Path

import keras
import pytest
from foreign_networks import squeeze_excite

import dreal_tf
from dreal_tf import DREAL, layers, residual_network
from dreal_tf.experiments.jobs import FrozenDREAL
from dreal_tf.method.critics import (
    ComparativeCritic,
    DirectCritic,
    MetaCritic,
    PaperCritic,
    ShuffledCritic,
)
from dreal_tf.method.metrics import (
    InstrumentMetrics,
    MethodMetrics,
    ModuleAlignments,
    ModuleMeans,
    ModuleR2,
)
from dreal_tf.model import EmbeddingLosses
from dreal_tf.model.gradients import RelativeWeight, Trust
from dreal_tf.networks.attaching.attached_network import AttachedNetwork
from dreal_tf.networks.backbones.kernels import FusedBatchNormalization, SmallMapConv2D
from dreal_tf.replicas import ReplicatedLossScale
from dreal_tf.retrieval.metric_losses import Centres
from dreal_tf.training.optimizers import LRMultiplierAdam, LRMultiplierAdamW, LRMultiplierSGD, WarmUp

ACTOR = dict(blended=True, kernel_regularizer=keras.regularizers.L2(0.5))
CRITIC = dict(units=5, grid=3)
COMPARED = CRITIC | dict(exploration=["reference", "permuted"], noise=0.75)
LOSSES = dict(
    identities=4,
    triplet="weighted",
    triplet_weight=2.0,
    margin=0.5,
    centre_weight=0.25,
    centre_rate=0.75,
)
MODULES = dict(modules=["conv2_1/se", "conv3_1/se"])
METHOD = dict(
    network=lambda: residual_network(
        (8, 8, 1),
        4,
        depth=8,
        width=0.25,
        shortcut="projection",  # Keras 3.10 renames the operations of the other one, which have no layer.
        attention=layers.SqueezeExcite(2),
        bnneck=True,
    ),
    critic=lambda: PaperCritic(**CRITIC),
    actor_weight=0.25,
    actor_weight_mode="absolute",
    actor_warmup=7,
    estimator="exact",
    reward_fraction=0.5,
    validation_fraction=0.75,
    instrument_fraction=0.5,
    reference_action="static",
    penalty=0.5,
    update="alternating",
    trust=False,
    stages=["conv3"],
    seed=3,
    embedding_losses=lambda: EmbeddingLosses(**LOSSES),
)
# The arguments of each class: all of its own, none at its default. Functions make their value.
ARGUMENTS = {
    layers.SqueezeExcite: ACTOR | dict(reduction=4, use_bias=False),
    layers.CBAM: ACTOR | dict(reduction=4, kernel_size=3, use_bias=False, synchronized=True),
    layers.SRM: ACTOR | dict(synchronized=True),
    layers.ECA: ACTOR | dict(gamma=3, b=2, kernel_size=5),
    layers.NonLocal: ACTOR | dict(bottleneck=4, subsample=False, scale=True, synchronized=True),
    layers.DoubleAttention: ACTOR | dict(features=2, descriptors=3),
    layers.AugmentedConvolution: ACTOR
    | dict(filters=12, strides=2, kernel_size=5, heads=4, key_fraction=0.25)
    | dict(value_fraction=0.5, least_key_size=5, relative=False, use_bias=True),
    layers.StandAloneAttention: ACTOR | dict(filters=12, strides=2, kernel_size=5, heads=4, scale=True),
    layers.DualAttention: ACTOR | dict(reduction=4),
    layers.CrissCross: ACTOR | dict(recurrence=1),
    layers.ExpectationMaximization: ACTOR
    | dict(bases=8, iterations=2, momentum=0.5, synchronized=True),
    PaperCritic: CRITIC,
    ComparativeCritic: COMPARED,
    ShuffledCritic: COMPARED,
    DirectCritic: {},
    MetaCritic: CRITIC | dict(reads_actions=False),
    RelativeWeight: dict(modules=2),
    Trust: dict(modules=2, memory=0.5, pairs=50.0),
    Centres: dict(identities=4, rate=0.25),
    EmbeddingLosses: LOSSES,
    LRMultiplierSGD: dict(learning_rate=0.25, momentum=0.5, lr_multipliers={"": 0.5, "logits/": 2.0}),
    LRMultiplierAdam: dict(learning_rate=0.25, beta_1=0.5, lr_multipliers={"": 0.5}),
    LRMultiplierAdamW: dict(learning_rate=0.25, weight_decay=0.5, lr_multipliers={"": 0.5}),
    ReplicatedLossScale: dict(inner_optimizer=lambda: keras.optimizers.SGD(0.25), initial_scale=64.0),
    FusedBatchNormalization: dict(momentum=0.5, epsilon=0.25, synchronized=True),
    SmallMapConv2D: dict(filters=3, kernel_size=[3, 1], strides=[2, 1], padding="same"),
    MethodMetrics: MODULES | dict(with_critic=False),
    ModuleAlignments: MODULES | dict(sums_dtype="float32"),
    ModuleR2: MODULES | dict(sums_dtype="float32"),
    ModuleMeans: MODULES | dict(sums_dtype="float64"),
    InstrumentMetrics: MODULES,
    WarmUp: dict(
        schedule=lambda: keras.optimizers.schedules.CosineDecay(0.25, 100), steps=7, peak=0.25
    ),
    AttachedNetwork: dict(network=squeeze_excite, gates=["block1_se_excite"]),
    DREAL: METHOD,
    FrozenDREAL: METHOD | dict(wait=5),
}
UNNAMED = {WarmUp}
# Arguments that do nothing, so that nothing is to be kept.
IGNORED = {DirectCritic: {"units", "grid"}}


def registered():
    """Names of the classes of ours that Keras can rebuild, from the source."""
    for path in Path(dreal_tf.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                decorators = " ".join(map(ast.unparse, node.decorator_list))
                if "register_keras_serializable" in decorators:
                    yield node.name


def own_arguments(cls):
    """The arguments that classes of ours, and not Keras's, give a constructor: defaults by name."""
    arguments = {}
    for base in cls.__mro__:
        if base.__module__.startswith("dreal_tf.") and "__init__" in vars(base):
            for parameter in list(inspect.signature(base.__init__).parameters.values())[1:]:
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    arguments.setdefault(parameter.name, parameter.default)
    return {name: default for name, default in arguments.items() if name not in IGNORED.get(cls, ())}


def plain(value):
    """A value as a file would hold it."""
    return json.loads(json.dumps(value, default=keras.saving.serialize_keras_object))


def test_no_class_is_forgotten():
    assert sorted(registered()) == sorted(cls.__name__ for cls in ARGUMENTS)


@pytest.mark.parametrize("cls", ARGUMENTS, ids=lambda cls: cls.__name__)
def test_a_configuration_holds_every_argument(cls):
    named = {} if cls in UNNAMED else {"name": "other"}
    given = {k: v() if inspect.isfunction(v) else v for k, v in (ARGUMENTS[cls] | named).items()}
    for name, default in own_arguments(cls).items():
        assert name in given and given[name] != default, name
    made = cls(**given)
    config = plain(made.get_config())
    for name, value in given.items():
        assert config[name] == plain(value), name
    again = cls.from_config(copy.deepcopy(config))
    assert type(again) is cls and plain(again.get_config()) == config
