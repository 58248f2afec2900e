"""A recipe becomes a compiled model, its data and its callbacks: where names become objects."""

import contextlib
import inspect
import logging
import os
from pathlib import Path

import keras
import tensorflow as tf

from dreal_tf.data import DATA_SETS, Splits, prepared_data_set, worker_share
from dreal_tf.data.folder import list_classes
from dreal_tf.errors import InputError
from dreal_tf.finite import check_finite_weights
from dreal_tf.layers import ACTORS
from dreal_tf.method.critics import CRITICS
from dreal_tf.model import DREAL, EmbeddingLosses
from dreal_tf.networks.backbones import imagenet_residual_network, plain_network, residual_network
from dreal_tf.recipe import Recipe
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
from dreal_tf.training.schedules import WarmUp

BACKBONES = {"resnet": residual_network, "imagenet_resnet": imagenet_residual_network}

log = logging.getLogger(__name__)


def build(
    recipe: Recipe, data: Splits | None = None, recorded: str | os.PathLike[str] | None = None
) -> tuple[DREAL, Splits, list[keras.callbacks.Callback]]:
    """All that `fit` needs.

    Call it inside `strategy.scope()` to train under a distribution strategy.

    Args:
        recipe: `dreal_tf.Recipe`.
        data: `dreal_tf.data.Splits` to use in place of the recipe's data set, or None.
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
    if recipe.run.start is None and recipe.backbone.weights is not None:
        weights = start_file(recipe.backbone)
    data = data or build_data(recipe, recorded)
    with precision(recipe.run.precision):
        network = build_network(recipe, data.image_shape, len(data.class_names))
        if recipe.run.start is not None:
            load_weights(network, recipe.run.start)
        elif weights is not None:
            log.info(load_start(network, weights, data.preprocessing).table())
        freeze(network, recipe.backbone.frozen or ())
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
        `dreal_tf.data.Splits`.
    Raises:
        InputError: if the data is not there, or not what the recipe says.
    Example:
        >>> build_data(load_recipe("digits_resnet8_se")).image_shape
        (8, 8, 1)
    """
    name, options = recipe.data.name, data_options(settled(recipe)) | {"recorded": recorded}
    if name in DATA_SETS:
        return DATA_SETS[name](**options)
    return prepared_data_set(name, **options)


def data_options(recipe):
    """What a recipe asks of its data set.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Dict of fields of `dreal_tf.data.Options`.
    Example:
        >>> data_options(load_recipe("digits_resnet8_se"))["batch_size"]
        64
    """
    options = recipe.data.model_dump(exclude={"name"}) | recipe.augment.model_dump()
    options |= {"seed": recipe.run.seed, "share": worker_share()}
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
    with precision(recipe.run.precision):
        return BACKBONES[recipe.backbone.name](
            image_shape,
            classes,
            **_backbone_arguments(recipe.backbone),
            attention=_attention(recipe),
            attention_stages=recipe.attention.stages,
            attention_blocks=recipe.attention.blocks,
            attention_pruned=recipe.attention.pruned,
            weight_decay=_kernel_decay(recipe),
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


def _backbone_arguments(backbone):
    """The fields that are arguments of this backbone; one of another's must be left as it is."""
    arguments = {}
    of_start = {"weights", "download", "frozen"}
    for field, value in backbone.model_dump(exclude={"name"} | of_start).items():
        if _takes("backbone", f"backbone.{field}", backbone, BACKBONES, "backbone.name"):
            arguments[field] = value
    return arguments


def _takes(what, path, values, makers, selector):
    """Whether the chosen maker takes a field; one that only another takes must be left as it is."""
    field, chosen = path.split(".")[1], getattr(values, selector.split(".")[1])
    takers = [n for n, make in makers.items() if field in inspect.signature(make).parameters]
    value, default = getattr(values, field), type(values).model_fields[field].default
    if chosen not in takers and value != default:
        raise InputError(
            f"Expected {path}={default!r}, which the {what} {chosen!r} gives "
            f"no choice of. Received: {path}={value!r}. Leave it out, or choose "
            f"{selector}={' or '.join(map(repr, takers))}."
        )
    return chosen in takers


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
    kind = recipe.attention.kind
    if kind == "none":
        return None
    arguments = {}
    for field, value in recipe.attention.model_dump(
        exclude={"kind", "stages", "blocks", "pruned", "identity_start"}
    ).items():
        path = f"attention.{field}"
        if _takes("attention", path, recipe.attention, ACTORS, "attention.kind") and value is not None:
            arguments[field] = value
    if _kernel_decay(recipe):
        arguments["kernel_regularizer"] = keras.regularizers.L2(_kernel_decay(recipe) / 2)
    if "synchronized" in inspect.signature(ACTORS[kind]).parameters:  # Those with a BatchNorm inside.
        arguments["synchronized"] = recipe.backbone.synchronized
    arguments["blended"] = recipe.attention.identity_start and not ACTORS[kind].starts_as_identity
    return ACTORS[kind](**arguments)


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
    for field in ("exploration", "noise"):
        taken = _takes("critic", f"dreal.{field}", dreal, CRITICS, "dreal.critic")
        if taken and getattr(dreal, field) is not None:
            arguments[field] = getattr(dreal, field)
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
        milestones = schedule.milestones if schedule.decay == "steps" else ()
        # Keras holds a rate up to and with its boundary; ours is the first step of the next rate.
        boundaries = [round(share * total) - warmup - 1 for share in milestones]
        boundaries = boundaries or [total]  # Reached after the last step.
        values = [rate * schedule.factor**power for power in range(len(boundaries) + 1)]
        course = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    return WarmUp(course, warmup) if warmup else course


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
