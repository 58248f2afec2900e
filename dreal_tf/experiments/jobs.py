"""The jobs of workers: the experiments of a study, and a training of a search."""

import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.data.splits import sample_examples
from dreal_tf.errors import unknown_name
from dreal_tf.experiments.search import Objective
from dreal_tf.experiments.study import Study, check_network, network_run
from dreal_tf.layers import intervene
from dreal_tf.method.formulas import per_example_score, targets_of
from dreal_tf.model import DREAL, FactualPass
from dreal_tf.networks.backbones import actors_of
from dreal_tf.training.builder import build, build_network, load_weights
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.train import train

ATTENTION_SEED = (
    1_000_003  # Added to the seed, so that attention never restarts from its first weights.
)
WHOLE = {"validation_fraction": 1.0, "instrument_fraction": 1.0}  # Every image given is measured.


class Folders(NamedTuple):
    """The folders of a study's job.

    Attributes:
        networks: str, folder of the trained networks.
        runs: str, folder of the runs of the experiment "train".
        data_dir: str, folder of the data; None for the recipe's own.
    """

    networks: str
    runs: str
    data_dir: str | None = None


def run_experiment(experiment, study, arm, seed, folders):
    """One arm and seed of a study, or the network of a seed.

    Args:
        experiment: str, a key of `EXPERIMENTS`.
        study: dict, a dumped `Study`.
        arm: str; None for the network, which all arms share.
        seed: int.
        folders: dict, a dumped `Folders`.
    Returns:
        Dict of float by quantity.
    """
    return EXPERIMENTS[experiment](Study.model_validate(study), arm, seed, Folders(**folders))


def run_network(study, _arm, seed, folders):
    """Trains the plain network of a seed; a finished one is left alone.

    Args:
        study: `Study`.
        seed: int.
        folders: `Folders`.
    Returns:
        Dict: the final metrics.
    """
    recipe = study.network_recipe(seed, folders.data_dir)
    return train(recipe, network_run(folders.networks, seed).path)


def run_train(study, arm, seed, folders):
    """Trains the recipe of an arm as `dreal-tf train` does.

    Args:
        study: `Study`.
        arm: str.
        seed: int.
        folders: `Folders`.
    Returns:
        Dict of float: the final metrics, and `val_...` and `actor_grad_...` of the last epoch.
    """
    run = RunDirectory(Path(folders.runs) / f"{arm}_seed{seed}")
    row = train(study.recipe_of(arm, seed, folders.data_dir), run.path)
    del row["method"]  # Its figures stand in the row: `actor_grad_ratio` and `val_trust`.
    last = read_history(run.history)[-1]
    return row | {
        name: value for name, value in last.items() if name.startswith(("val_", "actor_grad_"))
    }


def run_directions(study, arm, seed, folders):
    """Trains a critic beside the frozen network, then tests its directions.

    Args:
        study, arm, seed, folders: see `run_train`.
    Returns:
        Dict of float: `accuracy` and `log_p` of the network, and what `critic_quality` gives.
    """
    options = study.options_of(arm)
    model, data, callbacks = _trained(study, arm, seed, folders)
    frozen = FrozenDREAL.of(model, actor_weight=0.0, **WHOLE)
    _compile(frozen, model, keras.optimizers.SGD(0.0))
    _fit(frozen, data, callbacks, options.steps)
    examples = sample_examples(data, options.images, seed)
    quality = NetworkEvaluator(frozen.trajectory_network, *examples)()
    row = {"accuracy": quality.accuracy, "log_p": quality.log_p}
    return row | critic_quality(frozen, *examples)


def run_actor_only(study, arm, seed, folders):
    """Trains re-initialised attention by the critic alone; everything else is frozen.

    Args:
        study, arm, seed, folders: see `run_train`.
    Returns:
        Dict of float: `accuracy`, `log_p` and `log_p_ablated` (see `Quality`) `@trained`, `@start` and
        `@<step>`; `recovered`; and what `critic_quality` gives at the end.
    """
    options = study.options_of(arm)
    model, data, callbacks = _trained(study, arm, seed, folders)
    examples = sample_examples(data, options.images, seed)
    evaluate = NetworkEvaluator(model.trajectory_network, *examples)
    qualities = {"trained": evaluate()}
    frozen = FrozenDREAL.of(model, options.wait, actor_weight=1.0, actor_warmup=0, **WHOLE)
    if options.reinitialise:
        recipe = study.recipe_of(arm, seed, folders.data_dir)
        reinitialise(frozen, recipe, seed + ATTENTION_SEED)
    qualities["start"] = evaluate()
    _compile(frozen, model, _actor_optimizer(options))
    steps = np.rint(np.linspace(0, options.steps, options.probes + 1)).astype(int)[1:]
    probe = Probe(evaluate, {options.wait + int(step): str(step) for step in steps})
    if options.learn_from == "validation":
        data = train_on_validation(data, study.recipe_of(arm, seed).data.batch_size, seed)
    _fit(frozen, data, [*callbacks, probe], options.wait + options.steps)
    qualities |= probe.values
    row = {
        f"{quantity}@{moment}": getattr(quality, quantity)
        for quantity in Quality._fields
        for moment, quality in qualities.items()
    }
    fraction = recovered(*(qualities[m].accuracy for m in ("trained", "start", str(options.steps))))
    row |= {} if fraction is None else {"recovered": fraction}
    return row | critic_quality(frozen, *examples)


EXPERIMENTS = {
    "network": run_network,
    "train": run_train,
    "directions": run_directions,
    "actor_only": run_actor_only,
}


def run_training(recipe, run, strategy, objective, epochs, patience, conclude, checked):
    """Trains a recipe of a search just as `dreal-tf train` does, so that it can be replayed.

    Args:
        recipe: str, JSON text of a `Recipe`.
        run: str, folder of the run.
        strategy: str, see `train`.
        objective: str, name of the logged quantity that `patience` is about.
        epochs, patience: see `Objective.ended`.
        conclude: bool. Train it to its end, save its network and read the test split.
        checked: str or None, see `train`.
    Returns:
        Dict: the final metrics; None if it is not concluded.
    """
    recipe, run = Recipe.from_json(recipe), RunDirectory(run)
    if conclude:
        return train(recipe, run.path, strategy, checked=checked)
    stop = StopTrial(Objective(objective), run.history, epochs, patience)
    if not stop.due:
        train(recipe, run.path, strategy, callbacks=[stop], conclude=False, checked=checked)
    return None


JOBS = {"experiment": run_experiment, "training": run_training}


def recovered(trained, start, end):
    """Fraction of the lost accuracy that has come back.

    Args:
        trained, start, end: float. Accuracy of the trained network, with its attention re-initialised,
            and at the end.
    Returns:
        Float: 0 if nothing came back, 1 if all did; None if nothing was lost.
    Example:
        >>> recovered(trained=0.75, start=0.5, end=0.625)
        0.5
    """
    return None if trained <= start else (end - start) / (trained - start)


def train_on_validation(data, batch_size, seed):
    """The same data with shuffled validation images as the training images.

    Args:
        data: `dreal_tf.data.splits.Splits`.
        batch_size, seed: int.
    Returns:
        `dreal_tf.data.splits.Splits`.
    """
    size = data.sizes["validation"]
    images = data.validation.unbatch().shuffle(size, seed=seed, reshuffle_each_iteration=True)
    batches = images.batch(batch_size, drop_remainder=True).prefetch(2)
    return data._replace(train=batches, steps_per_epoch=size // batch_size)


class Probe(keras.callbacks.Callback):
    """Measures the network after some steps of its training.

    Args:
        measure: callable without arguments.
        moments: dict from the number of steps done to the moment's name.
    Attributes:
        values: dict from the moment's name to what was measured.
    Example:
        >>> probe = Probe(lambda: "fine", {2: "second"})
        >>> for batch in range(3):
        ...     probe.on_train_batch_end(batch)
        >>> probe.values
        {'second': 'fine'}
    """

    def __init__(self, measure, moments):
        super().__init__()
        self.measure = measure
        self.moments = moments
        self.values = {}
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps in self.moments:
            self.values[self.moments[self.steps]] = self.measure()


class StopAfter(keras.callbacks.Callback):
    """Ends training after a number of steps, in the middle of an epoch if need be.

    Args:
        steps: int >= 1.
    """

    def __init__(self, steps):
        super().__init__()
        self.remaining = steps

    def on_train_batch_end(self, batch, logs=None):
        self.remaining -= 1
        if self.remaining == 0:
            self.model.stop_training = True


class StopTrial(keras.callbacks.Callback):
    """Stops training once `Objective.ended`; the run can continue from there later.

    Args:
        objective: `dreal_tf.experiments.search.Objective`.
        history: path of the run's `history.csv`, whose epochs count after an interruption.
        epochs, patience: see `Objective.ended`.
    Raises:
        InputError: after the first epoch, if the objective is not logged.
    """

    def __init__(self, objective, history, epochs=None, patience=None):
        super().__init__()
        self.objective = objective
        self.history = history
        self.epochs = epochs
        self.patience = patience

    @property
    def due(self):
        """Whether the history has all the epochs that the trial needs."""
        return self._ended(self.objective.curve(self.history))

    def on_train_begin(self, logs=None):
        self._curve = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._curve is None:  # Training may have resumed at this epoch.
            self._curve = self.objective.curve(self.history)[:epoch]

    def on_epoch_end(self, epoch, logs=None):
        if self.objective.name not in logs:
            known = [name for name in logs if name.startswith("val_")]
            raise unknown_name("logged objective", self.objective.name, known)
        self._curve.append(float(logs[self.objective.name]))
        if self._ended(self._curve):
            self.model.stop_training = True

    def _ended(self, curve):
        return self.objective.ended(curve, self.epochs, self.patience)


def _trained(study, arm, seed, folders):
    """The arm's model with the weights of the seed's trained network, its data and its callbacks."""
    run = network_run(folders.networks, seed)
    check_network(run, study.network_recipe(seed, folders.data_dir))
    model, data, callbacks = build(study.recipe_of(arm, seed, folders.data_dir))
    load_weights(model.trajectory_network, run.network)
    return model, data, callbacks


def _compile(frozen, model, optimizer):
    rate = float(model.critic_optimizer.learning_rate)
    frozen.compile(optimizer, keras.optimizers.Adam(rate), loss=model.loss, metrics=["accuracy"])


def _actor_optimizer(options):
    rate = options.learning_rate
    if options.decay == "cosine":
        # A warm-up to the same rate: the decay begins when the actors do.
        wait = {"warmup_target": rate, "warmup_steps": options.wait} if options.wait else {}
        rate = keras.optimizers.schedules.CosineDecay(rate, options.steps, **wait)
    return keras.optimizers.SGD(rate, options.momentum)


def _fit(frozen, data, callbacks, steps):
    epochs = math.ceil(steps / data.steps_per_epoch)
    # The stop comes last, so that all others see the last step.
    callbacks = [*callbacks, StopAfter(steps)]
    frozen.fit(data.train, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)


AT_A_TIME = 500  # Images per pass of the network.
INSTRUMENTED = 250  # Images per pass of the instruments: the direction test makes four passes of each.
# Quantities of the instruments that a row keeps, a column for each module; see `dreal_tf.method.instruments`.
INSTRUMENTS = ("alignment", "alignment_positive", "r2", "r2_right", "r2_held", "direction")


@keras.saving.register_keras_serializable("dreal_tf")
class FrozenDREAL(DREAL):
    """Trains the critic on L_r, and the actors on the critic alone: L_r and L_q without L_c.

    The network runs in inference mode, so that its moving averages stay as well. All layers but the
    actors are marked as not trainable.

    Args:
        network: see `DREAL`; its weights are those of a trained network.
        critic: see `DREAL`; not None.
        wait: int >= 0. Steps in which the critic learns alone, before the actors follow it.
        settings: of `DREAL`. At `actor_weight=0` the actors do not move.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = FrozenDREAL(network, "paper", actor_weight=1.0)
        >>> sorted({variable.path.split("/")[0] for variable in network.trainable_variables})
        ['conv2_1_se', 'conv3_1_se', 'conv4_1_se']
    """

    def __init__(self, network, critic="paper", wait=0, **settings):
        # There is no task gradient, to which a weight could be relative.
        super().__init__(network, critic, **(settings | {"actor_weight_mode": "absolute"}))
        self.wait = wait
        actors = {actor.name for actor in self.trajectory.actors}
        for layer in network.layers:
            if layer.name not in actors:
                layer.trainable = False

    @classmethod
    def of(cls, model, wait=0, **changes):
        """The same network and critic, frozen.

        Args:
            model: `DREAL`, such as `build` gives.
            wait: int >= 0.
            changes: settings of `DREAL` to change.
        Returns:
            `FrozenDREAL`, to be compiled.
        """
        settings = model.settings.to_dict() | changes
        return cls(model.trajectory_network, model.critic, wait, **settings)

    def factual_pass(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self.reward_estimator.factual(images)
            targets = targets_of(labels, outputs["logits"].shape[-1], sample_weight)
            scores = self._scores(outputs["logits"], targets)
        loss = self.task_loss(images, labels, outputs, sample_weight, training=False)
        privileged = self._privileged_inputs(tape, scores, outputs, targets)
        return FactualPass(images, labels, sample_weight, outputs, targets, loss, privileged=privileged)

    def update_network(self, factual, push=None, available=()):
        theta = self.trajectory.variables
        gradients = [
            tf.zeros_like(variable) if part is None else part
            for part, variable in zip(push, theta, strict=True)
        ]
        # At weight 0 as well: it counts the steps, on which the sampling plans depend.
        self.optimizer.apply(gradients, theta)

    def actor_weight(self):
        critic_alone = self.optimizer.iterations < self.wait
        return tf.where(critic_alone, 0.0, super().actor_weight())

    def get_config(self):
        return super().get_config() | {"wait": self.wait}


def reinitialise(model, recipe, seed):
    """Re-initialises the weights that make the actions, as the actors' layers first did.

    Weights that only use an action, such as the values that attention mixes, stay as they were trained:
    the actor loss could never bring them back.

    Args:
        model: `DREAL` on a network of the recipe.
        recipe: `dreal_tf.Recipe`.
        seed: int.
    """
    network = model.trajectory_network
    keras.utils.set_random_seed(seed)
    shape, classes = network.input_shape[1:], model.network.output_shape[-1]
    fresh = {actor.name: actor for actor in actors_of(build_network(recipe, shape, classes))}
    paths = action_variables(network, model.trajectory)
    for actor in {id(actor): actor for actor in model.trajectory.actors}.values():
        for variable, new in zip(actor.variables, fresh[actor.name].variables, strict=True):
            if variable.path in paths:
                variable.assign(new)


def action_variables(network, trajectory):
    """The variables that the actions are functions of, given the states.

    Args:
        network: functional `keras.Model` with auxiliary outputs, of a known image size.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, whose actors are trainable.
    Returns:
        Set of str, the paths of variables; with the scale of a BatchNorm also its moving averages.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=NonLocal())
        >>> paths = action_variables(network, Trajectory(network, stages=["conv3"]))
        >>> sorted(path for path in paths if path.endswith("kernel"))
        ['conv3_1_non_local/phi/kernel', 'conv3_1_non_local/theta/kernel']
    """
    images = tf.random.stateless_normal((2, *network.input_shape[1:]), seed=(0, 0))
    with tf.GradientTape() as tape:
        actions = trajectory.propose_again(network(images, training=False), training=False)
        total = tf.add_n([tf.reduce_sum(tf.cast(action, tf.float32)) for action in actions])
    gradients = tape.gradient(total, trajectory.variables)
    paths = {
        variable.path
        for variable, gradient in zip(trajectory.variables, gradients, strict=True)
        if gradient is not None
    }
    norms = {path.removesuffix("gamma") for path in paths if path.endswith("/gamma")}
    return paths | {f"{norm}moving_{name}" for norm in norms for name in ("mean", "variance")}


class Quality(NamedTuple):
    """How well a network classifies images.

    Attributes:
        accuracy: float in [0, 1].
        log_p: float. Mean log probability of the true label (nats).
        log_p_ablated: float. The same with every action replaced by its own mean at once.
    """

    accuracy: float
    log_p: float
    log_p_ablated: float


class NetworkEvaluator:
    """Measures the quality of a network on the same images at any time during its training.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        images: float array (n, height, width, channels).
        labels: int32 array (n,).
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> NetworkEvaluator(network, np.random.rand(6, 8, 8, 1), np.arange(6, dtype="int32"))().log_p < 0
        True
    """

    def __init__(self, network, images, labels):
        self.network = network
        parts = [slice(start, start + AT_A_TIME) for start in range(0, len(labels), AT_A_TIME)]
        self._batches = [(images[part], labels[part]) for part in parts]
        self._plain = tf.function(self._pass)
        self._ablated = tf.function(self._ablated_pass)

    def __call__(self):
        """`Quality` of the network as it is now."""
        plain = [self._plain(*batch) for batch in self._batches]
        ablated = [self._ablated(*batch) for batch in self._batches]
        log_p, correct = (np.concatenate(part).astype(float) for part in zip(*plain, strict=True))
        log_p_ablated = np.concatenate([part[0] for part in ablated]).astype(float)
        return Quality(float(correct.mean()), float(log_p.mean()), float(log_p_ablated.mean()))

    def _pass(self, images, labels):
        logits = self.network(images, training=False)["logits"]
        log_p = per_example_score(labels, logits, from_logits=True)
        return log_p, tf.argmax(logits, axis=1, output_type=tf.int32) == labels

    def _ablated_pass(self, images, labels):
        def mean_action(actor, index, state, action):
            return actor.reference_action(action, "mean", index)

        with intervene(mean_action):
            return self._pass(images, labels)


def critic_quality(model, images, labels):
    """How well a critic predicts rewards and directions, by the instruments, on all of some images.

    Args:
        model: compiled `DREAL` that evaluates and instruments every image
            (`validation_fraction=1.0, instrument_fraction=1.0`).
        images, labels: see `NetworkEvaluator`.
    Returns:
        Dict of float, by columns such as `alignment/conv2_1/se`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> whole = {"validation_fraction": 1.0, "instrument_fraction": 1.0}
        >>> model = FrozenDREAL(network, "direct", **whole)
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> quality = critic_quality(model, np.random.rand(6, 8, 8, 1), np.arange(6, dtype="int32"))
        >>> round(quality["alignment/conv2_1/se"], 3)
        1.0
    """
    logs = model.evaluate(images, labels, batch_size=INSTRUMENTED, verbose=0, return_dict=True)
    return {
        name: float(logs[name])
        for quantity in INSTRUMENTS
        for name in logs
        if name.partition("/")[0] == quantity
    }
