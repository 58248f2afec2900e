"""Builds a recipe: the compiled model, its data and its callbacks."""

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
from dreal_tf.data.cued import cued
from dreal_tf.data.files import FileRecord
from dreal_tf.data.folder import image_folder, list_classes
from dreal_tf.data.identities import identity_set
from dreal_tf.data.identity_layouts import LAYOUTS
from dreal_tf.data.prepared import prepared_data_set
from dreal_tf.data.sections import check_memory
from dreal_tf.data.splits import Splits, worker_shard
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS, AttentionActor
from dreal_tf.method.critics import CRITICS, Critic
from dreal_tf.method.finite import check_finite_weights
from dreal_tf.model import DREAL, EmbeddingLosses
from dreal_tf.networks.backbones import imagenet_residual_network, plain_network, residual_network
from dreal_tf.networks.other_backbone import maker_of, other_network
from dreal_tf.storage import read_network
from dreal_tf.training.callbacks import DelayedStart, RetrievalScores, SetEpoch
from dreal_tf.training.fine_tuning import freeze, load_start, resolve_auto, start_file
from dreal_tf.training.optimizers import recipe_optimizer
from dreal_tf.training.plugins import load_plugins, plugin, running
from dreal_tf.training.recipe import (
    ComparativeMethod,
    NoAttention,
    OtherBackbone,
    PluginAttention,
    PluginMethod,
    Recipe,
)
from dreal_tf.training.run_directory import FINISH_AGAIN

# Fields that place attention: in our residual networks, and in any other network.
PLACEMENT, OTHER_PLACEMENT = ("stages", "blocks", "pruned"), ("gates", "insert_after")
# By `data.name`. Any other name is a plugin's, or a data set of TensorFlow Datasets.
DATA_SETS = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "cued": cued,
    "folder": image_folder,
    "generated": generated,
    **{name: functools.partial(identity_set, name) for name in LAYOUTS},
}
BACKBONES = {"resnet": residual_network, "imagenet_resnet": imagenet_residual_network}

log = logging.getLogger(__name__)


def build(
    recipe: Recipe,
    data: Splits | None = None,
    recorded: str | os.PathLike[str] | None = None,
    checked: FileRecord | None = None,
) -> tuple[DREAL, Splits, list[keras.callbacks.Callback]]:
    """Builds the model, data and callbacks of a recipe.

    Call it inside `strategy.scope()` to train under a distribution strategy.

    Args:
        recipe: `dreal_tf.Recipe`.
        data: `dreal_tf.data.splits.Splits` to use instead of the recipe's data set, or None.
        recorded, checked: see `build_data`.
    Returns:
        Compiled `DREAL`, `Splits`, and a list of callbacks to pass to `fit`.
    Raises:
        InputError: if the recipe cannot be built.
    Example:
        >>> recipe = load_recipe("digits_resnet8_se", smoke=True)
        >>> model, data, callbacks = build(recipe)
        >>> history = model.fit(data.train, epochs=1, callbacks=callbacks, verbose=0)
        >>> len(history.history["loss"])
        1
    """
    recipe = resolve_auto(recipe)
    if recipe.run.deterministic:
        tf.config.experimental.enable_op_determinism()
        # It reorders sums depending on the whole graph: even an unused critic would change the last bits.
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
        list_classes(recipe.data.folder)  # Before the weights are missed.
    weights = None
    if recipe.run.start is None and getattr(recipe.backbone, "weights", None) is not None:
        weights = start_file(recipe.backbone)
    data = data or build_data(recipe, recorded, checked)
    with precision(recipe.run.precision):
        network = build_network(recipe, data.image_shape, len(data.class_names))
        if recipe.run.start is not None:
            load_weights(network, recipe.run.start)
        elif weights is not None:
            log.info(load_start(network, weights, data.preprocessing).table())
        freeze(network, getattr(recipe.backbone, "frozen", None) or ())
        losses = _embedding_losses(recipe, len(data.class_names))
        model = DREAL(network, **_method(recipe), embedding_losses=losses)
        model.compile(
            optimizer=recipe_optimizer(recipe, data.steps_per_epoch, network),
            critic_optimizer=keras.optimizers.Adam(recipe.optim.critic_learning_rate),
            loss=_loss(recipe, data.soft_labels),
            metrics=["accuracy"],
        )
    callbacks = [SetEpoch(data.clock)]
    if recipe.dreal.start_epoch > 1:
        callbacks.append(DelayedStart(recipe.dreal.start_epoch))
    if data.retrieval:
        callbacks.append(RetrievalScores(data.retrieval["validation"]))
    return model, data, callbacks


def build_data(recipe, recorded=None, checked=None):
    """The splits of a recipe's data set.

    Args:
        recipe: `dreal_tf.Recipe`.
        recorded: path of the splits.csv of a run, to repeat its splits; or None.
        checked: `dreal_tf.data.files.FileRecord` of another run: its files, if unchanged, are not checked
            again; or None.
    Returns:
        `dreal_tf.data.splits.Splits`.
    Raises:
        InputError: if the data is missing, or does not match the recipe.
    Example:
        >>> build_data(load_recipe("digits_resnet8_se")).image_shape
        (8, 8, 1)
    """
    load_plugins(recipe.run.plugins)
    name, options = recipe.data.name, data_options(resolve_auto(recipe))
    options |= {"recorded": recorded, "checked": checked}
    if name in DATA_SETS:
        return DATA_SETS[name](**options)
    if ":" in name:
        return _plugin_data(name, recipe.data, options)
    return prepared_data_set(name, **options)


def _plugin_data(name, data, options):
    """The splits of a plugin, which returns `Splits` or arguments of `dreal_tf.data.arrays.from_arrays`."""
    with running(name, "data set of a plugin"):
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
    """The options of a recipe's data set.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Dict of the fields of `dreal_tf.data.sections.Options`.
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
        InputError: if the backbone section does not match its network.
    Example:
        >>> build_network(load_recipe("digits_resnet8_se"), (8, 8, 1), 10).name
        'resnet8'
    """
    load_plugins(recipe.run.plugins)
    attention, chosen, decay = _attention(recipe), recipe.attention, _kernel_decay(recipe)
    other = isinstance(recipe.backbone, OtherBackbone)
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "Expected Keras's image_data_format to be 'channels_last'. Received: "
            f"{keras.config.image_data_format()!r}. Call keras.config.set_image_data_format('channels_last'), or "
            "change ~/.keras/keras.json."
        )
    if not other:
        _check_size(recipe, image_shape)
    _check_placement(chosen, recipe.backbone.name, other)
    with precision(recipe.run.precision):
        if other:
            make = _other_maker(recipe.backbone)
            fields = ("insert_after", "gates", "pruned")
            placement = {name: getattr(chosen, name, None) for name in fields}
            return other_network(make, image_shape, classes, attention, **placement, weight_decay=decay)
        of_start = {"name", "weights", "download", "frozen"}
        placement = set(PLACEMENT) & set(type(chosen).model_fields)
        return BACKBONES[recipe.backbone.name](
            image_shape,
            classes,
            **recipe.backbone.model_dump(exclude=of_start),
            **{f"attention_{name}": getattr(chosen, name) for name in placement},
            attention=attention,
            weight_decay=decay,
        )


def load_weights(network, path):
    """Gives a network the weights in a file.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
        path: str or path of a `.keras` file that holds the plain network.
    Raises:
        InputError: if there is no file, its network is another, or a weight is not finite.
    """
    path = Path(path)
    if not os.path.isfile(path):  # It takes any name, one that is too long too.
        raise InputError(
            f"Expected a .keras file with weights. Received: {str(path)!r}, where there is none. Check "
            "the path, which in a recipe is run.start."
        )
    stored = read_network(path, "Give another file, or write it again. " + FINISH_AGAIN)
    check_finite_weights(stored)
    try:
        plain_network(network).set_weights(stored.get_weights())
    except ValueError as error:
        raise InputError(
            f"Expected weights of {network.name!r} as the recipe has it. Received: {str(path)!r} with "
            f"those of another network ({str(error).splitlines()[0]}). Give a file that was saved with "
            "this recipe."
        ) from error


def _check_placement(attention, backbone, other):
    """Refuses placement fields that the backbone does not have."""
    instead = "gates or insert_after" if other else "stages and blocks"
    for name in ("stages", "blocks") if other else OTHER_PLACEMENT:
        if getattr(attention, name, None) is not None:
            raise InputError(
                f"Expected attention.{name}=None with backbone.name={backbone!r}. Received: attention."
                f"{name}={getattr(attention, name)!r}. Place attention by {instead}."
            )


def _check_size(recipe, image_shape):
    """Refuses a network of ours that certainly does not fit into the memory, before it is built."""
    width, batch = recipe.backbone.width, recipe.data.batch_size
    batch = 1 if batch == "auto" else batch  # It is chosen for the network.
    first, last, reduced = (64, 512, 2) if recipe.backbone.name == "imagenet_resnet" else (16, 64, 1)
    height, breadth = (side or 1 for side in image_shape[:2])
    # Weights, gradients and momentum of the last block's two 3×3 convolutions; the first layer's maps.
    values = 3 * 2 * 9 * (last * width) ** 2 + batch * height * breadth * first * width / reduced**2
    check_memory(
        4 * values,
        "a network",
        f"backbone.width={width:g}, data.batch_size={batch} and images of {height}×{breadth} pixels",
        "Lower one of them.",
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
            "4, set the others to 0, and choose data of identities."
        )
    fields = {"triplet", "triplet_weight", "margin", "centre_weight", "centre_rate"}
    return EmbeddingLosses(identities, **optim.model_dump(include=fields))


def _attention(recipe):
    chosen = recipe.attention
    if isinstance(chosen, NoAttention):
        return None
    fields = chosen.model_dump(
        exclude={"kind", "arguments", "identity_start", *PLACEMENT, *OTHER_PLACEMENT}
    )
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
    if _kernel_decay(recipe) and _takes(actor, "kernel_regularizer"):
        arguments["kernel_regularizer"] = keras.regularizers.L2(_kernel_decay(recipe) / 2)
    elif _kernel_decay(recipe) and not isinstance(recipe.backbone, OtherBackbone):
        # All kernels of another backbone decay, those of attention in it too.
        log.warning(
            "%s takes no kernel_regularizer: optim.weight_decay does not apply to it.", chosen.kind
        )
    if _takes(actor, "synchronized"):  # Actors with a BatchNorm inside.
        arguments["synchronized"] = getattr(recipe.backbone, "synchronized", False)
    identity = getattr(chosen, "identity_start", False)
    with running(chosen.kind, "attention module"):
        return actor(**arguments, blended=identity and not actor.starts_as_identity)


def _takes(actor, name):
    """Whether the constructor of a class, or one that it may pass keywords on to, has a parameter."""
    constructors = [vars(each)["__init__"] for each in actor.__mro__ if "__init__" in vars(each)]
    return any(name in inspect.signature(each).parameters for each in constructors)


def _method(recipe):
    dreal = recipe.dreal
    if not dreal.enabled:
        return {"critic": None, "validation_fraction": 0.0}  # As plain Keras.
    if recipe.attention.kind == "none":
        raise InputError(
            "Expected attention modules for the method to train. Received: attention.kind='none' with "
            "dreal.enabled=true. Choose an attention kind, or train with --baseline."
        )
    of_critic = {"critic", "critic_units", "critic_grid", "exploration", "noise", "arguments"}
    passed = dreal.model_dump(exclude={"enabled", "start_epoch"} | of_critic)
    passed["reference_action"] = reference_action_of(recipe)
    return passed | {"critic": _critic(dreal), "seed": recipe.run.seed}


def reference_action_of(recipe):
    """The reference action of a recipe, as `DREAL` takes it.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Str, or the function of a plugin, which Keras then knows by name.
    Raises:
        InputError: if the plugin has no such function.
    """
    name = recipe.dreal.reference_action
    if ":" not in name:
        return name
    function = plugin(name, "reference action")
    if not callable(function):
        raise InputError(
            f"Expected a function (actor, action, index) -> action. Received: dreal.reference_action={name!r}, "
            f"which is {function!r}. Name the function."
        )
    if keras.saving.get_registered_object(keras.saving.get_registered_name(function)) is None:
        keras.saving.register_keras_serializable(name.partition(":")[0])(function)
    return function


def _critic(dreal):
    arguments = {"units": dreal.critic_units, "grid": dreal.critic_grid}
    if isinstance(dreal, PluginMethod):
        critic = plugin(dreal.critic, "critic")
        if not (inspect.isclass(critic) and issubclass(critic, Critic)):
            raise InputError(
                f"Expected a subclass of dreal_tf.method.critics.Critic. Received: dreal.critic="
                f"{dreal.critic!r}, which is {critic!r}. Name the class."
            )
        return critic(**(arguments | dreal.arguments))
    if isinstance(dreal, ComparativeMethod):
        explored = {"exploration": dreal.exploration, "noise": dreal.noise}
        arguments |= {name: value for name, value in explored.items() if value is not None}
    return CRITICS[dreal.critic](**arguments)


def _kernel_decay(recipe):
    """Weight decay in the loss; AdamW decays weights itself, apart from the gradient."""
    return 0.0 if recipe.optim.name == "adamw" else recipe.optim.weight_decay


def _check_schedule(recipe):
    """Refuses a training that would end before its warm-up, or before the method starts."""
    schedule, dreal = recipe.schedule, recipe.dreal
    if schedule.warmup_epochs >= schedule.epochs:
        raise InputError(
            "Expected a warm-up shorter than the training. Received: schedule.warmup_epochs="
            f"{schedule.warmup_epochs} of schedule.epochs={schedule.epochs}. Shorten it."
        )
    if dreal.enabled and dreal.start_epoch > schedule.epochs:
        raise InputError(
            "Expected the method to start before the training ends. Received: dreal.start_epoch="
            f"{dreal.start_epoch} of schedule.epochs={schedule.epochs}. Train longer, lower it, or train "
            "without the method with --baseline."
        )


@contextlib.contextmanager
def precision(policy):
    """Sets the precision of layers that are made inside the context.

    Args:
        policy: str, see `dreal_tf.training.recipe.Run`.
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
