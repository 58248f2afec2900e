"""A recipe becomes a compiled model, its data and its callbacks: where names become objects."""

import contextlib
import functools
import inspect
import logging
import os
from pathlib import Path

import keras
import tensorflow as tf

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.built_in import digits, fashion_mnist, generated
from dreal_tf.data.folder import image_folder, list_classes
from dreal_tf.data.identities import identity_set
from dreal_tf.data.identity_layouts import LAYOUTS
from dreal_tf.data.prepared import prepared_data_set
from dreal_tf.data.splits import Splits, worker_shard
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS, AttentionActor
from dreal_tf.method.critics import CRITICS
from dreal_tf.method.finite import check_finite_weights
from dreal_tf.model import DREAL, EmbeddingLosses
from dreal_tf.networks.backbones import imagenet_residual_network, plain_network, residual_network
from dreal_tf.networks.other_backbone import maker_of, other_network
from dreal_tf.recipe import ComparativeMethod, NoAttention, OtherBackbone, PluginAttention, Recipe
from dreal_tf.training.callbacks.best_network import RetrievalScores
from dreal_tf.training.callbacks.epochs import DelayedStart, SetEpoch
from dreal_tf.training.fine_tuning import (
    OPTIMIZERS,
    freeze,
    load_start,
    lr_multipliers,
    settled,
    start_file,
)
from dreal_tf.training.plugins import load_plugins, plugin
from dreal_tf.training.schedules import WarmUp

PLACEMENT = ("stages", "blocks", "pruned", "gates", "insert_after")  # Of attention in a backbone.
# The key is what a recipe calls `data.name`. Any other is a plugin's, or a set of TensorFlow Datasets.
DATA_SETS = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "folder": image_folder,
    "generated": generated,
    **{name: functools.partial(identity_set, name) for name in LAYOUTS},
}
BACKBONES = {"resnet": residual_network, "imagenet_resnet": imagenet_residual_network}

log = logging.getLogger(__name__)


def build(
    recipe: Recipe, data: Splits | None = None, recorded: str | os.PathLike[str] | None = None
) -> tuple[DREAL, Splits, list[keras.callbacks.Callback]]:
    """All that `fit` needs.

    Call it inside `strategy.scope()` to train under a distribution strategy.

    Args:
        recipe: `dreal_tf.Recipe`.
        data: `dreal_tf.data.splits.Splits` to use in place of the recipe's data set, or None.
        recorded: see `build_data`.
    Returns:
        Compiled `DREAL`, `Splits`, and a list of callbacks that `fit` must be given.
    Raises:
        InputError: if the recipe asks for what cannot be built.
    Example:
        >>> recipe = load_recipe("digits_resnet8_se", smoke=True)
        >>> model, data, callbacks = build(recipe)
        >>> history = model.fit(data.train, epochs=1, callbacks=callbacks, verbose=0)
        >>> len(history.history["loss"])
        1
    """
    recipe = settled(recipe)
    if recipe.run.deterministic:
        tf.config.experimental.enable_op_determinism()
        # It rewrites sums by what else is in the graph: a critic that nobody heeds would move last bits.
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    keras.utils.set_random_seed(recipe.run.seed)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if recipe.data.batch_size < replicas:
        raise InputError(
            f"Expected at least one image a step for each of the {replicas} replicas. Received: "
            f"data.batch_size={recipe.data.batch_size}. Raise it."
        )
    _check_schedule(recipe)
    if data is None and recorded is None and recipe.data.name == "folder":
        list_classes(recipe.data.folder)
    weights = None
    if recipe.run.start is None and getattr(recipe.backbone, "weights", None) is not None:
        weights = start_file(recipe.backbone)
    data = data or build_data(recipe, recorded)
    with precision(recipe.run.precision):
        network = build_network(recipe, data.image_shape, len(data.class_names))
        if recipe.run.start is not None:
            load_weights(network, recipe.run.start)
        elif weights is not None:
            log.info(load_start(network, weights, data.preprocessing).table())
        freeze(network, getattr(recipe.backbone, "frozen", None) or ())
        added = _embedding_losses(recipe, len(data.class_names))
        model = DREAL(network, **_method(recipe), embedding_losses=added)
        model.compile(
            optimizer=_optimizer(recipe, data.steps_per_epoch, network),
            critic_optimizer=keras.optimizers.Adam(recipe.optim.critic_learning_rate),
            loss=_loss(recipe, data.soft_labels),
            metrics=["accuracy"],
        )
    later = [DelayedStart(recipe.dreal.start_epoch)] if recipe.dreal.start_epoch else []
    asked = [RetrievalScores(data.retrieval["validation"])] if data.retrieval else []
    return model, data, [SetEpoch(data.clock), *later, *asked]


def build_data(recipe, recorded=None):
    """The splits of a recipe's data set.

    Args:
        recipe: `dreal_tf.Recipe`.
        recorded: path of the splits.csv of a run whose splits are to be kept, or None.
    Returns:
        `dreal_tf.data.splits.Splits`.
    Raises:
        InputError: if the data is not there, or not what the recipe says.
    Example:
        >>> build_data(load_recipe("digits_resnet8_se")).image_shape
        (8, 8, 1)
    """
    load_plugins(recipe.run.plugins)
    name, options = recipe.data.name, data_options(settled(recipe)) | {"recorded": recorded}
    if name in DATA_SETS:
        return DATA_SETS[name](**options)
    if ":" in name:
        return _plugin_data(name, recipe.data, options)
    return prepared_data_set(name, **options)


def _plugin_data(name, data, options):
    """The splits that a plugin gives: `Splits`, or a dict of arguments of `dreal_tf.data.arrays.from_arrays`."""
    made = plugin(name, "data set")(data)
    if isinstance(made, Splits):
        return made
    if not isinstance(made, dict) or not {"train", "test", "class_names"} <= set(made):
        raise InputError(
            "Expected a data set of a plugin to return a dict with train, test (pairs of images and "
            f"labels) and class_names. Received: {type(made).__name__} from {name!r}. Change its function."
        )
    return from_arrays(**options | made)


def data_options(recipe):
    """What a recipe asks of its data set.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Dict of fields of `dreal_tf.data.sections.Options`.
    Example:
        >>> data_options(load_recipe("digits_resnet8_se"))["batch_size"]
        64
    """
    options = recipe.data.model_dump(exclude={"name"}) | recipe.augment.model_dump()
    options |= {"seed": recipe.run.seed, "shard": worker_shard()}
    options |= {"replicas": tf.distribute.get_strategy().num_replicas_in_sync}
    return options | {"soft_labels": recipe.optim.label_smoothing > 0}


def build_network(recipe, image_shape, classes):
    """The network of a recipe, with its actors, freshly initialised.

    Args:
        recipe: `dreal_tf.Recipe`.
        image_shape: tuple (height, width, channels).
        classes: int.
    Returns:
        Functional `keras.Model` with auxiliary outputs.
    Raises:
        InputError: if the backbone section asks for what its network does not have.
    Example:
        >>> build_network(load_recipe("digits_resnet8_se"), (8, 8, 1), 10).name
        'resnet8'
    """
    load_plugins(recipe.run.plugins)
    attention, chosen, decay = _attention(recipe), recipe.attention, _kernel_decay(recipe)
    other = isinstance(recipe.backbone, OtherBackbone)
    _check_placement(chosen, recipe.backbone.name, other)
    with precision(recipe.run.precision):
        if other:
            make = _other_maker(recipe.backbone)
            places = ("insert_after", "gates", "pruned")
            places = {name: getattr(chosen, name, None) for name in places}
            return other_network(make, image_shape, classes, attention, **places, weight_decay=decay)
        of_start = {"name", "weights", "download", "frozen"}
        placement = {"stages", "blocks", "pruned"} & set(type(chosen).model_fields)
        return BACKBONES[recipe.backbone.name](
            image_shape,
            classes,
            **recipe.backbone.model_dump(exclude=of_start),
            **{f"attention_{name}": getattr(chosen, name) for name in placement},
            attention=attention,
            weight_decay=decay,
        )


def load_weights(network, path):
    """Gives a network the weights that a run has kept of one of its form.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
        path: str or path of a `.keras` file that holds the plain network.
    Raises:
        InputError: if there is none, its network has another form, or a weight is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"Expected a .keras file with weights. Received: {str(path)!r}, where there is none. Check "
            "the path, which in a recipe is run.start."
        )
    stored = keras.saving.load_model(path)
    check_finite_weights(stored)
    try:
        plain_network(network).set_weights(stored.get_weights())
    except ValueError as error:
        raise InputError(
            f"Expected weights of {network.name!r} as the recipe has it. Received: {str(path)!r} with "
            f"those of another network ({str(error).splitlines()[0]}). Give the file that was kept "
            "with this recipe."
        ) from error


def _check_placement(attention, backbone, other):
    """Refuses places that the backbone does not know."""
    foreign = ("stages", "blocks") if other else ("gates", "insert_after")
    for name in foreign:
        if getattr(attention, name, None) is not None:
            instead = "gates or insert_after" if other else "stages and blocks"
            raise InputError(
                f"Expected attention.{name}=None with backbone.name={backbone!r}. Received: attention."
                f"{name}={getattr(attention, name)!r}. Say where attention goes by {instead}."
            )


def _other_maker(backbone):
    if ":" in backbone.name:
        return functools.partial(plugin(backbone.name, "backbone"), **backbone.arguments)
    return maker_of(backbone.name, backbone.arguments)


def _loss(recipe, soft_labels):
    if soft_labels:
        smoothing = recipe.optim.label_smoothing
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _embedding_losses(recipe, identities):
    optim, mixed = recipe.optim, recipe.augment.mix_up or recipe.augment.cut_mix
    if optim.triplet == "none" and not optim.centre_weight:
        return None
    if recipe.data.images_per_identity is None or mixed:
        raise InputError(
            "Expected batches of whole identities, unmixed, for optim.triplet and optim.centre_weight. "
            f"Received: data.images_per_identity={recipe.data.images_per_identity}, augment.mix_up="
            f"{recipe.augment.mix_up}, augment.cut_mix={recipe.augment.cut_mix}. Set the first, such as "
            "4, leave the others at 0, and choose data of identities."
        )
    return EmbeddingLosses(
        identities,
        optim.triplet,
        optim.triplet_weight,
        optim.margin,
        optim.centre_weight,
        optim.centre_rate,
    )


def _attention(recipe):
    chosen = recipe.attention
    if isinstance(chosen, NoAttention):
        return None
    fields = chosen.model_dump(exclude={"kind", "arguments", "identity_start", *PLACEMENT})
    arguments = {name: value for name, value in fields.items() if value is not None}
    if isinstance(chosen, PluginAttention):
        actor = plugin(chosen.kind, "attention module")
        arguments |= chosen.arguments
        if not (inspect.isclass(actor) and issubclass(actor, AttentionActor)):
            raise InputError(
                f"Expected a subclass of dreal_tf.AttentionActor. Received: attention.kind={chosen.kind!r}, "
                f"which is {actor!r}. Name the class."
            )
    else:
        actor = ACTORS[chosen.kind]
    if _kernel_decay(recipe):
        arguments["kernel_regularizer"] = keras.regularizers.L2(_kernel_decay(recipe) / 2)
    if "synchronized" in inspect.signature(actor).parameters:  # Those with a BatchNorm inside.
        arguments["synchronized"] = getattr(recipe.backbone, "synchronized", False)
    identity = getattr(chosen, "identity_start", False)
    return actor(**arguments, blended=identity and not actor.starts_as_identity)


def _method(recipe):
    dreal = recipe.dreal
    if not dreal.enabled:
        return {"critic": None, "validation_fraction": 0.0}  # Nothing that plain Keras does not do.
    if recipe.attention.kind == "none":
        raise InputError(
            "Expected attention for the method to teach. Received: attention.kind='none' with "
            "dreal.enabled=true. Choose an attention kind, or train with --baseline."
        )
    of_critic = {"critic", "critic_units", "critic_grid", "exploration", "noise"}
    passed = dreal.model_dump(exclude={"enabled", "start_epoch"} | of_critic)
    return passed | {"critic": _critic(dreal), "seed": recipe.run.seed}


def _critic(dreal):
    arguments = {"units": dreal.critic_units, "grid": dreal.critic_grid}
    if isinstance(dreal, ComparativeMethod):
        explored = {"exploration": dreal.exploration, "noise": dreal.noise}
        arguments |= {name: value for name, value in explored.items() if value is not None}
    return CRITICS[dreal.critic](**arguments)


def _optimizer(recipe, steps_per_epoch, network):
    optim, arguments = recipe.optim, {"learning_rate": _rate(recipe, steps_per_epoch)}
    makers = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    make = getattr(keras.optimizers, makers[optim.name])
    multipliers = lr_multipliers(
        network, optim.backbone_lr_multiplier, optim.attention_lr_multiplier, optim.head_lr_multiplier
    )
    if multipliers:
        make, arguments["lr_multipliers"] = OPTIMIZERS[optim.name], multipliers
    if optim.name == "sgd":
        arguments |= {"momentum": optim.momentum, "nesterov": optim.nesterov}
    elif optim.name == "adamw":
        arguments["weight_decay"] = optim.weight_decay
    if optim.ema is not None:
        arguments |= {"use_ema": True, "ema_momentum": optim.ema}
    optimizer = make(global_clipnorm=optim.clip_norm, **arguments)
    if optim.name == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _kernel_decay(recipe):
    """Weight decay in the loss; AdamW does it by itself, apart from the gradient."""
    return 0.0 if recipe.optim.name == "adamw" else recipe.optim.weight_decay


def _check_schedule(recipe):
    """Refuses a training that would end before its warm-up, or before the method sets in."""
    schedule, dreal = recipe.schedule, recipe.dreal
    if schedule.warmup_epochs >= schedule.epochs:
        raise InputError(
            "Expected a warm-up shorter than the training. Received: schedule.warmup_epochs="
            f"{schedule.warmup_epochs} of schedule.epochs={schedule.epochs}. Shorten it."
        )
    if dreal.enabled and dreal.start_epoch >= schedule.epochs:
        raise InputError(
            "Expected the method to set in before the training ends. Received: dreal.start_epoch="
            f"{dreal.start_epoch} of schedule.epochs={schedule.epochs}. Train longer, lower it, or leave "
            "the method out with --baseline."
        )


def _rate(recipe, steps_per_epoch):
    rate, schedule = recipe.optim.learning_rate, recipe.schedule
    total = schedule.epochs * steps_per_epoch
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if schedule.decay == "cosine":
        course = keras.optimizers.schedules.CosineDecay(rate, total - warmup)
    else:
        milestones = getattr(schedule, "milestones", ())
        # Keras holds a rate up to and with its boundary; ours is the first step of the next rate.
        boundaries = [round(share * total) - warmup - 1 for share in milestones]
        boundaries = boundaries or [total]  # Reached after the last step.
        values = [
            rate * getattr(schedule, "factor", 1.0) ** power for power in range(len(boundaries) + 1)
        ]
        course = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    return WarmUp(course, warmup, rate) if warmup else course


@contextlib.contextmanager
def precision(policy):
    """Layers made inside the context have a precision.

    Args:
        policy: str, see `dreal_tf.recipe.Run`.
    Example:
        >>> with precision("mixed_bfloat16"):
        ...     keras.layers.Dense(1).compute_dtype
        'bfloat16'
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
