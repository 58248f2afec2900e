"""The experiments: an arm and a seed become a row."""

import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from dreal_tf.experiments.studies.frozen import FrozenDREAL
from dreal_tf.experiments.studies.held_out import Judge, draw_held_out
from dreal_tf.experiments.studies.judgement import judged_critic
from dreal_tf.experiments.studies.networks import check_network, network_run
from dreal_tf.experiments.studies.reinitialise import reinitialise
from dreal_tf.training.builder import build, load_weights
from dreal_tf.training.callbacks.history_file import read_history
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.train import train

ATTENTION_SEED = 1_000_003  # Added to the seed: no network's own first attention is drawn again.
WHOLE = {"validation_fraction": 1.0, "instrument_fraction": 1.0}  # Judge on every image given.


class Place(NamedTuple):
    """Where a study finds and leaves things.

    Attributes:
        networks: str, folder of the trained networks.
        runs: str, folder of the runs of the experiment "train".
        data_dir: str, folder of the data; None for the recipe's own.
    """

    networks: str
    runs: str
    data_dir: str | None = None


def run_network(study, arm, seed, place):
    """Trains the plain network of a seed; a finished one is left alone.

    Args:
        study: `Study`.
        arm: not used; here so that all jobs are alike.
        seed: int.
        place: `Place`.
    Returns:
        Dict: the final metrics.
    """
    recipe = study.network_recipe(seed, place.data_dir)
    return train(recipe, network_run(place.networks, seed).path)


def run_train(study, arm, seed, place):
    """The recipe of an arm, trained as `dreal-tf train` does.

    Args:
        study: `Study`.
        arm: str.
        seed: int.
        place: `Place`.
    Returns:
        Dict of float: the final metrics, and `val_...` and `actor_grad_...` of the last epoch.
    """
    run = RunDirectory(Path(place.runs) / f"{arm}_seed{seed}")
    row = train(study.recipe_of(arm, seed, place.data_dir), run.path)
    last = read_history(run.history)[-1]
    return row | {
        name: value for name, value in last.items() if name.startswith(("val_", "actor_grad_"))
    }


def run_directions(study, arm, seed, place):
    """A critic learns beside the frozen network; then its directions are judged.

    Args:
        study, arm, seed, place: see `run_train`.
    Returns:
        Dict of float, see `judged_critic`; `accuracy` and `log_p` of the network beside.
    """
    options = study.options_of(arm)
    model, data, needed = _trained(study, arm, seed, place)
    frozen = FrozenDREAL.of(model, actor_weight=0.0, **WHOLE)
    _compile(frozen, model, keras.optimizers.SGD(0.0))
    _fit(frozen, data, needed, options.steps)
    held_out = draw_held_out(data, options.images, seed)
    worth = Judge(frozen.trajectory_network, held_out)()
    row = {"accuracy": worth.accuracy, "log_p": worth.log_p}
    return row | judged_critic(frozen, held_out)


def run_climb(study, arm, seed, place):
    """Attention drawn anew climbs a critic, everything else being frozen.

    Args:
        study, arm, seed, place: see `run_train`.
    Returns:
        Dict of float: `accuracy`, `log_p` and `log_p_ablated` (see `Worth`) `@trained`, `@start` and
        `@<step>`; `recovered`; and what `judged_critic` gives at the end.
    """
    options = study.options_of(arm)
    model, data, needed = _trained(study, arm, seed, place)
    network = model.trajectory_network
    judge = Judge(network, draw_held_out(data, options.images, seed))
    course = {"trained": judge()}
    climb = {"actor_weight": 1.0, "actor_warmup": 0}
    frozen = FrozenDREAL.of(model, options.wait, **climb, **WHOLE)
    if options.reinitialise:
        recipe = study.recipe_of(arm, seed, place.data_dir)
        reinitialise(frozen, recipe, seed + ATTENTION_SEED)
    course["start"] = judge()
    _compile(frozen, model, _climber(options))
    total = options.wait + options.steps
    moments = np.rint(np.linspace(0, options.steps, options.probes + 1)).astype(int)[1:]
    probe = Probe(judge, {options.wait + int(moment): str(moment) for moment in moments})
    if options.learn_from == "validation":
        data = unseen_images(data, study.recipe_of(arm, seed).data.batch_size, seed)
    _fit(frozen, data, [*needed, probe], total)
    course |= probe.found
    row = {
        f"{quantity}@{moment}": value
        for quantity in ("accuracy", "log_p", "log_p_ablated")
        for moment, value in ((m, getattr(worth, quantity)) for m, worth in course.items())
    }
    share = recovered(*(course[m].accuracy for m in ("trained", "start", str(options.steps))))
    row |= {} if share is None else {"recovered": share}
    return row | judged_critic(frozen, judge.held_out)


EXPERIMENTS = {
    "network": run_network,
    "train": run_train,
    "directions": run_directions,
    "climb": run_climb,
}


def recovered(trained, start, end):
    """Share of the accuracy lost that is back.

    Args:
        trained, start, end: float. Accuracy of the trained network, with its attention drawn anew,
            and at the end.
    Returns:
        Float: 0 where nothing came back, 1 where all did; None where nothing was lost.
    Example:
        >>> recovered(trained=0.75, start=0.5, end=0.625)
        0.5
    """
    return None if trained <= start else (end - start) / (trained - start)


def unseen_images(data, batch_size, seed):
    """The same data, but validation images, mixed, in the place of those to train on.

    Args:
        data: `dreal_tf.data.Splits`.
        batch_size, seed: int.
    Returns:
        `dreal_tf.data.Splits`.
    """
    size = data.sizes["validation"]
    images = data.validation.unbatch().shuffle(size, seed=seed, reshuffle_each_iteration=True)
    batches = images.batch(batch_size, drop_remainder=True).prefetch(2)
    return data._replace(train=batches, steps_per_epoch=size // batch_size)


class Probe(keras.callbacks.Callback):
    """Judges the network at some steps of its training.

    Args:
        judge: callable without arguments.
        moments: dict from the number of steps done to the moment's name.
    Attributes:
        found: dict from the moment's name to what the judge said.
    Example:
        >>> probe = Probe(lambda: "fine", {2: "second"})
        >>> for batch in range(3):
        ...     probe.on_train_batch_end(batch)
        >>> probe.found
        {'second': 'fine'}
    """

    def __init__(self, judge, moments):
        super().__init__()
        self.judge = judge
        self.moments = moments
        self.found = {}
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps in self.moments:
            self.found[self.moments[self.steps]] = self.judge()


class StopAfter(keras.callbacks.Callback):
    """Ends training after a number of steps, in the middle of an epoch if need be.

    Args:
        steps: int >= 1.
    """

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.model.stop_training = True


def _trained(study, arm, seed, place):
    """The arm's model, with the weights of the seed's trained network."""
    run = network_run(place.networks, seed)
    check_network(run, study.network_recipe(seed, place.data_dir))
    model, data, needed = build(study.recipe_of(arm, seed, place.data_dir))
    load_weights(model.trajectory_network, run.network)
    return model, data, needed


def _compile(frozen, model, optimizer):
    rate = float(model.critic_optimizer.learning_rate)
    frozen.compile(optimizer, keras.optimizers.Adam(rate), loss=model.loss, metrics=["accuracy"])


def _climber(options):
    rate = options.rate
    if options.decay == "cosine":
        # What Keras calls a warm-up is the wait: the rate stays what it is.
        wait = {"warmup_target": rate, "warmup_steps": options.wait} if options.wait else {}
        rate = keras.optimizers.schedules.CosineDecay(rate, options.steps, **wait)
    return keras.optimizers.SGD(rate, options.momentum)


def _fit(frozen, data, callbacks, steps):
    epochs = math.ceil(steps / data.steps_per_epoch)
    # The stop comes last, so that all others see the last step.
    frozen.fit(
        data.train,
        epochs=epochs,
        callbacks=[*callbacks, StopAfter(steps)],
        shuffle=False,
        verbose=0,
    )
