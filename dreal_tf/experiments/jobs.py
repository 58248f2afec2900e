"""The jobs of workers: the experiments of a study, and a training of a search."""

import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.frozen import (
    FrozenDREAL,
    NetworkEvaluator,
    critic_quality,
    draw_held_out,
    reinitialise,
)
from dreal_tf.experiments.search import Objective
from dreal_tf.experiments.study import Study, check_network, network_run
from dreal_tf.recipe import Recipe
from dreal_tf.training.builder import build, load_weights
from dreal_tf.training.callbacks import read_history
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
    held_out = draw_held_out(data, options.images, seed)
    quality = NetworkEvaluator(frozen.trajectory_network, held_out)()
    row = {"accuracy": quality.accuracy, "log_p": quality.log_p}
    return row | critic_quality(frozen, held_out)


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
    evaluate = NetworkEvaluator(model.trajectory_network, draw_held_out(data, options.images, seed))
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
        for quantity in ("accuracy", "log_p", "log_p_ablated")
        for moment, quality in qualities.items()
    }
    fraction = recovered(*(qualities[m].accuracy for m in ("trained", "start", str(options.steps))))
    row |= {} if fraction is None else {"recovered": fraction}
    return row | critic_quality(frozen, evaluate.held_out)


EXPERIMENTS = {
    "network": run_network,
    "train": run_train,
    "directions": run_directions,
    "actor_only": run_actor_only,
}


def run_training(recipe, run, strategy, objective, epochs, patience, conclude):
    """Trains a recipe of a search just as `dreal-tf train` does, so that it can be replayed.

    Args:
        recipe: str, JSON text of a `Recipe`.
        run: str, folder of the run.
        strategy: str, see `train`.
        objective: str, name of the logged quantity that `patience` is about.
        epochs, patience: see `Objective.ended`.
        conclude: bool. Train it to its end, save its network and read the test split.
    Returns:
        Dict: the final metrics; None if it is not concluded.
    """
    recipe, run = Recipe.from_json(recipe), RunDirectory(run)
    if conclude:
        return train(recipe, run.path, strategy)
    stop = StopTrial(Objective(objective), run.history, epochs, patience)
    if not stop.due:
        train(recipe, run.path, strategy, callbacks=[stop], conclude=False)
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
