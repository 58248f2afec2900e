"""Whether a run's critic can be trusted: all instruments, on test images."""

import numpy as np
import tensorflow as tf

from dreal_tf.data import draw_examples
from dreal_tf.errors import InputError
from dreal_tf.method.formulas import Targets
from dreal_tf.method.instruments import Instruments, bootstrap_mean, held_modules, r2
from dreal_tf.method.rewards import KINDS, sample_plan
from dreal_tf.method.rows import predicted_differences
from dreal_tf.training.builder import build
from dreal_tf.training.callbacks.checkpoint import restore_last
from dreal_tf.training.run_directory import RunDirectory

BATCH = 64  # Images that are measured at a time.


def audit_critic(run_path, images=2000, data_dir=None, track=None):
    """Measures what the critic of a run has learnt, with the network it was trained beside.

    Network and critic are those of the last epoch, which belong together; the images are drawn from
    the test split, all classes mixed, by a fixed seed.

    Args:
        run_path: str or path of a finished run.
        images: int >= 2. Number of test images; all of them where there are fewer.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        track: callable that passes on the items of a list while it shows progress, or None.
    Returns:
        Dict, see `measure_critic`, and `epochs`: int, how many had been trained.
    Raises:
        InputError: if there is no such run, it has not ended, or it has no critic or checkpoints.
    """
    run = RunDirectory(run_path)
    recipe = run.read_recipe()
    if not recipe.dreal.enabled:
        raise InputError(
            f"Expected a run with a critic. Received: {str(run.path)!r}, which was trained without "
            "the method. Name a run that was trained without --baseline."
        )
    if images < 2:
        raise InputError(
            f"Expected at least 2 images to measure on. Received: images={images}. Give for example "
            "2000."
        )
    run.read_metrics()  # Refuses a run that has not ended.
    model, data, _ = build(recipe.reading(data_dir))
    epochs = restore_last(run.checkpoints, model)
    drawn = draw_examples(data.test, data.sizes["test"], images, seed=recipe.run.seed)
    return measure_critic(model, *drawn, recipe.run.seed, track) | {"epochs": epochs}


def measure_critic(model, images, labels, seed=0, track=None):
    """All instruments on some images, at inference.

    Args:
        model: compiled `DREAL` with a critic.
        images: float array (n, ...).
        labels: int array (n,).
        seed: int, of the alternatives, the random signs and the bootstrap.
        track: as of `audit_critic`.
    Returns:
        Dict of `images` (int) and, each by module name: `alignment` (`mean`, `low`, `high`,
        `positive`), `r2` (`all`, `right`, `held`), `differences` (one for each kind of counterfactual)
        and `direction` (`along`, `random`, and their difference's `mean`, `low`, `high`, in nats).
        None where there was nothing to measure.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = DREAL(network, critic="direct")
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> found = measure_critic(model, np.random.rand(20, 8, 8, 1), np.arange(20) % 10)
        >>> round(found["alignment"]["conv2_1/se"]["mean"], 4)
        1.0
    """
    places = range(0, len(labels), BATCH)
    batches = [(images[p : p + BATCH], np.int32(labels[p : p + BATCH])) for p in places]
    bench = _Bench(model)
    sums = [bench.summed_actions(part) for part, _ in batches]
    held = [sum(parts) / len(labels) for parts in zip(*sums, strict=True)]
    measured = []
    for number, batch in enumerate(track(batches) if track else batches):
        seed_here = tf.constant([seed, number], tf.int32)
        measured.append(bench.measure(*map(tf.constant, batch), held, seed_here))
    arrays = {name: np.concatenate([part[name] for part in measured]) for name in measured[0]}
    of_modules = {
        module: {name: array[:, position] for name, array in arrays.items()}
        for position, module in enumerate(model.trajectory.modules)
    }
    return {
        "images": len(labels),
        "alignment": {m: _alignment(found, seed) for m, found in of_modules.items()},
        "r2": {m: _r2(found) for m, found in of_modules.items()},
        "differences": {m: _differences(found) for m, found in of_modules.items()},
        "direction": {m: _direction(found, seed) for m, found in of_modules.items()},
    }


class _Bench:
    """What is compiled once for all batches."""

    def __init__(self, model):
        self.reward_estimator, self.trajectory = model.reward_estimator, model.trajectory
        self.network, self.critic = model.trajectory_network, model.critic
        self.instruments = Instruments(
            self.network, self.trajectory, self.critic, self.reward_estimator
        )
        # The last batch may be shorter, which must not compile everything anew.
        relaxed = {"reduce_retracing": True}
        self.summed_actions = tf.function(self._summed_actions, **relaxed)
        self._judge = tf.function(self._judged, **relaxed)
        self._perturb = tf.function(self.instruments.gains, **relaxed)

    def measure(self, images, labels, held, seed):
        """Dict of arrays (images, steps)."""
        found, dq_da = self._judge(images, labels, held, seed)
        gains = []
        for position in range(len(self.trajectory.specs)):
            perturbed = tf.fill(tf.shape(labels), position)
            of_module = tf.random.experimental.stateless_fold_in(seed, position)
            gains.append(self._perturb(images, labels, dq_da, perturbed, of_module))
        along, random = (tf.stack(part, axis=1) for part in zip(*gains, strict=True))
        found |= {"along": along, "random": random}
        return {name: part.numpy() for name, part in found.items()}

    def _summed_actions(self, images):
        modules = self.trajectory.emitted(self.network(images, training=False))
        return [tf.reduce_sum(tf.cast(module.action, tf.float32), axis=0) for module in modules]

    def _judged(self, images, labels, held, seed):
        gradients = self.instruments.action_gradients(images, labels)
        cosines, defined = self.instruments.alignments(gradients)
        held = held_modules([module.state for module in gradients.modules], held)
        found = {
            "cosines": cosines,
            "defined": defined,
            "critiques": gradients.critiques,
            "held": self.critic(held, gradients.privileged).critiques,
        }
        for kind in KINDS:
            found |= self._compared(kind, images, labels, gradients, seed)
        return found, gradients.dq_da

    def _compared(self, kind, images, labels, gradients, seed):
        """Every action against a counterfactual of one kind."""
        modules, count = self.trajectory.modules, tf.shape(labels)[0]
        ones = tf.ones([count])
        plan = sample_plan(count, count, len(modules), seed)
        actions = [module.action for module in gradients.modules]
        outputs, targets = (
            {"actions": dict(zip(modules, actions, strict=True))},
            Targets(labels, ones, ones),
        )
        samples = self.reward_estimator.estimate_all(
            images, targets, outputs, plan, exploration=(kind,)
        )
        predicted = predicted_differences(gradients.dq_da, actions, samples)
        pairs = tf.stack([samples.images, samples.modules], axis=1)
        found = {f"{kind}/measured": samples.difference, f"{kind}/predicted": predicted}
        if kind == "reference":
            correct = tf.cast(samples.correct, tf.float32)
            found |= {"reward": samples.reward, "correct": correct}
        shape = tf.stack([count, len(modules)])
        return {name: tf.scatter_nd(pairs, values, shape) for name, values in found.items()}


def _alignment(found, seed):
    cosines = found["cosines"][found["defined"]]
    positive = float((cosines > 0).mean()) if cosines.size else None
    return bootstrap_mean(cosines, seed) | {"positive": positive}


def _r2(found):
    reward, critiques, correct = found["reward"], found["critiques"], found["correct"] > 0
    return {
        "all": r2(reward, critiques),
        "right": r2(reward[correct], critiques[correct]),
        "held": r2(reward, found["held"]),
    }


def _differences(found):
    return {kind: r2(found[f"{kind}/measured"], found[f"{kind}/predicted"]) for kind in KINDS}


def _direction(found, seed):
    finite = np.isfinite(found["along"]) & np.isfinite(found["random"])
    along, random = found["along"][finite], found["random"][finite]
    means = {
        name: float(values.mean()) if values.size else None
        for name, values in (("along", along), ("random", random))
    }
    return means | bootstrap_mean(along - random, seed)
