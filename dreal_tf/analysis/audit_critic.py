"""Whether a run's critic can be trusted: all instruments, on test images."""

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.inputs import FinishedRun, critic_run
from dreal_tf.data.splits import sample_examples
from dreal_tf.method.formulas import Targets
from dreal_tf.method.instruments import Instruments, bootstrap_mean, held_modules, r2
from dreal_tf.method.rewards import KINDS, sample_plan
from dreal_tf.method.rows import predicted_differences
from dreal_tf.training.builder import build
from dreal_tf.training.callbacks import restore_last

IMAGES_AT_A_TIME = 64


class CriticAudit(dict):
    """The results of `audit_critic`, ready for JSON: `images` (int), `epochs` (int, how many had been
    trained) and, each by module name,

    - `alignment`: `mean`, `low`, `high`, `positive`;
    - `r2`: `all`, `right`, `held`;
    - `differences`: R² for each kind of counterfactual;
    - `direction`: `along`, `random`, and their difference's `mean`, `low`, `high` (nats).

    None stands for a quantity without measurements.
    """

    def to_pandas(self):
        """A `pandas.DataFrame` with a row for each module; columns such as `alignment/mean`."""
        import pandas as pd

        quantities = ("alignment", "r2", "differences", "direction")
        frames = [pd.DataFrame(self[name]).T.add_prefix(f"{name}/") for name in quantities]
        return pd.concat(frames, axis=1).astype(float).rename_axis("module")


def audit_critic(run, images=2000, data_dir=None, track=None):
    """Measures the critic of a run, with the network it was trained beside.

    Network and critic are those of the last epoch, which belong together; the images are drawn from
    the test split, all classes mixed, by a fixed seed.

    Args:
        run: str or path of a finished run, or what `critic_run` returned for it.
        images: int >= 2. Number of test images; all of them if there are fewer.
        data_dir: str, path or None. Folder of the data; None for the run's own.
        track: callable that passes on the items of a list while it shows progress, or None.
    Returns:
        `CriticAudit`.
    Raises:
        InputError: if there is no such run, it has not ended, or it has no critic or checkpoints.
    """
    run = run if isinstance(run, FinishedRun) else critic_run(run, images)
    model, data, _ = build(run.recipe.reading(data_dir))
    epochs = restore_last(run.directory.checkpoints, model)
    seed = run.recipe.run.seed
    examples = sample_examples(data, images, seed=seed)
    return CriticAudit(measure_critic(model, *examples, seed, track) | {"epochs": epochs})


def measure_critic(model, images, labels, seed=0, track=None):
    """All instruments on some images, at inference.

    Args:
        model: compiled `DREAL` with a critic.
        images: float array (n, ...).
        labels: int array (n,).
        seed: int, of the counterfactual actions, the random signs and the bootstrap.
        track: as of `audit_critic`.
    Returns:
        Dict, see `CriticAudit`, without `epochs`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = DREAL(network, critic="direct")
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> result = measure_critic(model, np.random.rand(20, 8, 8, 1), np.arange(20) % 10)
        >>> round(result["alignment"]["conv2_1/se"]["mean"], 4)
        1.0
    """
    starts = range(0, len(labels), IMAGES_AT_A_TIME)
    slices = [slice(start, start + IMAGES_AT_A_TIME) for start in starts]
    batches = [(images[rows], np.int32(labels[rows])) for rows in slices]
    instruments = _CompiledInstruments(model)
    sums = [instruments.summed_actions(of_batch) for of_batch, _ in batches]
    held = [sum(parts) / len(labels) for parts in zip(*sums, strict=True)]
    measured = []
    for number, batch in enumerate(track(batches) if track else batches):
        batch_seed = tf.constant([seed, number], tf.int32)
        measured.append(instruments.measure(*map(tf.constant, batch), held, batch_seed))
    arrays = {name: np.concatenate([part[name] for part in measured]) for name in measured[0]}
    of_modules = {
        module: {name: array[:, position] for name, array in arrays.items()}
        for position, module in enumerate(model.trajectory.modules)
    }
    return {
        "images": len(labels),
        "alignment": {m: _alignment(arrays, seed) for m, arrays in of_modules.items()},
        "r2": {m: _r2(arrays) for m, arrays in of_modules.items()},
        "differences": {m: _differences(arrays) for m, arrays in of_modules.items()},
        "direction": {m: _direction(arrays, seed) for m, arrays in of_modules.items()},
    }


class _CompiledInstruments:
    """The instruments of a model, compiled once for all batches."""

    def __init__(self, model):
        self.reward_estimator, self.trajectory = model.reward_estimator, model.trajectory
        self.network, self.critic = model.trajectory_network, model.critic
        self.instruments = Instruments(
            self.network, self.trajectory, self.critic, self.reward_estimator
        )
        # The last batch may be shorter, which must not compile everything anew.
        relaxed = {"reduce_retracing": True}
        self.summed_actions = tf.function(self._summed_actions, **relaxed)
        self._predictions_and_rewards = tf.function(self._eager_predictions_and_rewards, **relaxed)
        self._gains = tf.function(self.instruments.gains, **relaxed)

    def measure(self, images, labels, held, seed):
        """Dict of arrays (images, modules)."""
        measured, dq_da = self._predictions_and_rewards(images, labels, held, seed)
        gains = []
        for position in range(len(self.trajectory.specs)):
            perturbed = tf.fill(tf.shape(labels), position)
            of_module = tf.random.experimental.stateless_fold_in(seed, position)
            gains.append(self._gains(images, labels, dq_da, perturbed, of_module))
        along, random = (tf.stack(part, axis=1) for part in zip(*gains, strict=True))
        measured |= {"along": along, "random": random}
        return {name: part.numpy() for name, part in measured.items()}

    def _summed_actions(self, images):
        modules = self.trajectory.emitted(self.network(images, training=False))
        return [tf.reduce_sum(tf.cast(module.action, tf.float32), axis=0) for module in modules]

    def _eager_predictions_and_rewards(self, images, labels, held, seed):
        gradients = self.instruments.action_gradients(images, labels)
        cosines, defined = self.instruments.alignments(gradients)
        held = held_modules([module.state for module in gradients.modules], held)
        measured = {
            "cosines": cosines,
            "defined": defined,
            "critiques": gradients.critiques,
            "held": self.critic(held, gradients.privileged).critiques,
        }
        for kind in KINDS:
            measured |= self._compared(kind, images, labels, gradients, seed)
        return measured, gradients.dq_da

    def _compared(self, kind, images, labels, gradients, seed):
        """Every action against a counterfactual of one kind."""
        modules, count = self.trajectory.modules, tf.shape(labels)[0]
        ones = tf.ones([count])
        plan = sample_plan(count, count, len(modules), seed)
        actions = [module.action for module in gradients.modules]
        samples = self.reward_estimator.estimate_all(
            images,
            Targets(labels, ones, ones),
            {"actions": dict(zip(modules, actions, strict=True))},
            plan,
            exploration=(kind,),
        )
        predicted = predicted_differences(gradients.dq_da, actions, samples)
        pairs = tf.stack([samples.images, samples.modules], axis=1)
        measured = {f"{kind}/measured": samples.difference, f"{kind}/predicted": predicted}
        if kind == "reference":
            correct = tf.cast(samples.correct, tf.float32)
            measured |= {"reward": samples.reward, "correct": correct}
        shape = tf.stack([count, len(modules)])
        return {name: tf.scatter_nd(pairs, values, shape) for name, values in measured.items()}


def _alignment(arrays, seed):
    cosines = arrays["cosines"][arrays["defined"]]
    positive = float((cosines > 0).mean()) if cosines.size else None
    return bootstrap_mean(cosines, seed) | {"positive": positive}


def _r2(arrays):
    reward, critiques, correct = arrays["reward"], arrays["critiques"], arrays["correct"] > 0
    return {
        "all": r2(reward, critiques),
        "right": r2(reward[correct], critiques[correct]),
        "held": r2(reward, arrays["held"]),
    }


def _differences(arrays):
    return {kind: r2(arrays[f"{kind}/measured"], arrays[f"{kind}/predicted"]) for kind in KINDS}


def _direction(arrays, seed):
    finite = np.isfinite(arrays["along"]) & np.isfinite(arrays["random"])
    along, random = arrays["along"][finite], arrays["random"][finite]
    means = {
        name: float(values.mean()) if values.size else None
        for name, values in (("along", along), ("random", random))
    }
    return means | bootstrap_mean(along - random, seed)
