"""The cost of the method: time and memory of a training step with it and without it.

Peak memory is measured in fresh processes: each runs this file, reads a recipe as a line of JSON from
standard input and answers with a line of JSON.
"""

import functools
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import psutil
import tensorflow as tf
from keras import ops
from scipy import stats

from dreal_tf.data.built_in import generated_like
from dreal_tf.data.preprocessing import known_set
from dreal_tf.data.splits import images_per_second
from dreal_tf.errors import InputError, RunError
from dreal_tf.keras_internals import layers_inside
from dreal_tf.method.rewards import count_of_fraction
from dreal_tf.training.builder import build, build_data, data_options
from dreal_tf.training.fine_tuning import resolve_auto
from dreal_tf.training.processes import module_command
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.recipe_files import load_recipe

PLAIN = "plain"
ESTIMATORS = ("sampled", "exact")
PARTS = ("factual_pass", "counterfactual_pass", "critic", "update")
GENERATED_BATCHES = 4  # Enough for a pipeline to be at work.
TURN_SECONDS = 0.3  # A turn should last as long.
# Peak memory differs from process to process, because it is chance which buffers are held at the same
# time; a few steps miss the peak that most trainings reach.
MEMORY_STEPS = 30


class Benchmark(dict):
    """The results of `benchmark`, ready for JSON: a dict of

    - `recipe`, `batch_size`, `image_shape`, `precision`, `critic`, `reward_fraction`, `modules` (int) and
      `xla` (bool): the setting;
    - `processor` (str), `cores` (int), `threads` (int, of one operation), `devices` (list of str), `gpu` (str
      or None) and `versions` (dict of str): the machine;
    - by arm ("plain", "sampled", "exact"): `seconds` (median of a training step), `seconds_quartiles`,
      `images_per_second`; with memory also `memory` (MiB, median) and `memory_processes` (each);
    - by estimator ("sampled", "exact"): `ratio` (median step time over the plain network's),
      `ratio_interval` (95 %); with memory also `memory_ratio`; on one replica also `parts` (seconds of
      the parts of a step), of the recipe's estimator alone;
    - `separate_passes`, on one replica, if the recipe's estimator is "exact": `seconds` of one separate
      counterfactual pass for each module, and `share`, with `share_interval`: the fraction of that time
      which the exact estimator takes;
    - `input`: `images_per_second` of the input pipeline, and `times_step`, its ratio to the plain step's;
    - `exchanged`: see `exchanged_bytes`.
    """

    def to_pandas(self):
        """A `pandas.DataFrame` with a row for each arm; its columns are the quantities by arm above."""
        import pandas as pd

        table = pd.DataFrame({"seconds": self["seconds"]})
        table[["seconds_low", "seconds_high"]] = pd.DataFrame(self["seconds_quartiles"]).T
        table["images_per_second"] = pd.Series(self["images_per_second"])
        table["ratio"] = pd.Series(self["ratio"])
        table[["ratio_low", "ratio_high"]] = pd.DataFrame(self["ratio_interval"]).T
        for name in ("memory", "memory_ratio"):
            if name in self:
                table[name] = pd.Series(self[name])
        return table.rename_axis("arm")


def benchmark(recipe, rounds=15, data_dir=None, memory=1, say=lambda text: None):
    """Measures the cost of a recipe's method against the plain network.

    Args:
        recipe: `dreal_tf.Recipe` with the method enabled, or its name or path.
        rounds: int >= 1. Turns of every arm.
        data_dir: str, path or None. Folder of the recipe's data; None: generated images.
        memory: int >= 0. Processes in which each arm's peak memory is measured; 0: none.
        say: callable that takes a line of progress.
    Returns:
        `Benchmark`.
    Raises:
        InputError: if the recipe cannot be built or has no method.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe = resolve_auto(recipe.reading(data_dir))
    recipes = recipes_of_arms(recipe)
    data = generated_data(recipe) if data_dir is None else build_data(recipe)
    batch = first_batch(data)
    say(f"Building {', '.join(recipes)}: a minute or more for a deep network.")
    models = {arm: build(of_arm, data)[0] for arm, of_arm in recipes.items()}
    say(f"Timing steps, {rounds} turns of every arm.")
    turns = {arm: turn_of_model(model, batch) for arm, model in models.items()}
    seconds = interleaved(turns, rounds)
    result = _setting(recipe, data, models["sampled"]) | _machine()
    result |= _step_costs(seconds, recipe.data.batch_size)
    if models[PLAIN].distribute_strategy.num_replicas_in_sync == 1:
        say("Timing the parts of a step.")
        estimator = recipe.dreal.estimator
        result |= _part_costs(estimator, models[estimator], turns[estimator], batch, rounds)
    say("Timing the input pipeline by itself.")
    given = images_per_second(data.train)
    per_second = result["images_per_second"][PLAIN]
    result["input"] = {"images_per_second": given, "times_step": given / per_second}
    result["exchanged"] = exchanged_bytes(models["sampled"])
    del models, turns
    if memory:
        say("Measuring memory, in fresh processes for every arm.")
        result |= _memory_costs(recipes, memory)
    return Benchmark(result)


def recipes_of_arms(recipe):
    """The recipe of each arm: `plain`, then the method by each estimator.

    Args:
        recipe: `dreal_tf.Recipe`, the method enabled.
    Returns:
        Dict of `dreal_tf.Recipe`.
    Raises:
        InputError: if the recipe is a baseline itself.
    Example:
        >>> list(recipes_of_arms(load_recipe("digits_resnet8_se")))
        ['plain', 'sampled', 'exact']
    """
    if not recipe.dreal.enabled or recipe.attention.kind == "none":
        raise InputError(
            "Expected a recipe with attention and the method, whose cost is to be measured. Received: "
            f"attention.kind={recipe.attention.kind!r}, dreal.enabled={recipe.dreal.enabled}. "
            "Leave these as the bundled recipes have them."
        )
    recipes = {PLAIN: recipe.replace({"dreal.enabled": False})}
    return recipes | {name: recipe.replace({"dreal.estimator": name}) for name in ESTIMATORS}


def generated_data(recipe):
    """Generated images in the shape and number of classes that a recipe trains on.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.data.splits.Splits`.
    Raises:
        InputError: if only the data itself tells the shape.
    Example:
        >>> generated_data(load_recipe("cifar10_resnet20_se")).image_shape
        (32, 32, 3)
    """
    name = recipe.data.name
    if name == "generated" or known_set(name) or recipe.data.image_size:
        options = data_options(recipe) | {"images": GENERATED_BATCHES * recipe.data.batch_size}
        return generated_like(name, **options)
    raise InputError(
        f"Expected a data set whose shape is known, or data.image_size. Received: data.name={name!r}. "
        "Give the folder of the data with --data-dir, or a size with --set data.image_size=224."
    )


def first_batch(data):
    """The first training batch of some splits, in memory."""
    return next(iter(data.train.take(1)))


def _setting(recipe, data, model):
    return {
        "recipe": recipe.name,
        "batch_size": recipe.data.batch_size,
        "image_shape": list(data.image_shape),
        "precision": recipe.run.precision,
        "critic": recipe.dreal.critic,
        "reward_fraction": recipe.dreal.reward_fraction,
        "modules": len(model.trajectory.specs),
        "xla": bool(model.jit_compile),
    }


def _machine():
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus[:1]]
    cores = os.cpu_count()
    return {
        "processor": processor_name(),
        "cores": cores,
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or cores,
        "devices": [d.name for d in tf.config.list_logical_devices("GPU" if gpus else "CPU")],
        "gpu": details[0].get("device_name") if details else None,
        "versions": {"Python": platform.python_version()}
        | {"TensorFlow": tf.__version__, "Keras": keras.__version__, "NumPy": np.__version__},
    }


def processor_name():
    """The name of the processor, as the system gives it; else its architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else ()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# Time of a step ------------------------------------------------------------------------------------


def turn_of_model(model, batch):
    """A turn of training steps of a compiled model, always on the same batch.

    Args:
        model: compiled `keras.Model`.
        batch: pair of tensors: images and labels.
    Returns:
        Callable that returns the seconds of a step.
    """
    model.make_train_function()
    endless = tf.data.Dataset.from_tensors(batch).repeat()
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1:
        endless = strategy.experimental_distribute_dataset(endless)
    batches = iter(endless)
    return timed(lambda: model.train_function(batches), wait=lambda logs: float(logs["loss"]))


def timed(call, wait):
    """A callable that takes a turn: calls of a function, enough to last a while.

    Args:
        call: callable without arguments.
        wait: callable of its result, which returns once that has been computed.
    Returns:
        Callable that returns the seconds of one call, a mean over the turn.
    Example:
        >>> timed(lambda: None, wait=lambda nothing: None)() < 0.1
        True
    """
    calls = None  # A turn; unknown until one call has been timed.

    def mean_seconds(count):
        start = time.perf_counter()
        for _ in range(count):
            result = call()
        wait(result)
        return (time.perf_counter() - start) / count

    def turn():
        nonlocal calls
        if calls is None:
            mean_seconds(1)  # It may trace.
            calls = max(1, math.ceil(TURN_SECONDS / max(mean_seconds(1), 1e-4)))
        return mean_seconds(calls)

    return turn


def interleaved(turns, rounds):
    """Seconds of each arm, turn by turn.

    Args:
        turns: dict of callables by arm, each of which takes a turn and returns its seconds.
        rounds: int >= 1. Turns of every arm, after one that does not count.
    Returns:
        Dict of float arrays (rounds,).
    Example:
        >>> interleaved({"one": iter([9.0, 1.0, 2.0]).__next__}, rounds=2)["one"].tolist()
        [1.0, 2.0]
    """
    for turn in turns.values():  # Once for tracing.
        turn()
    seconds = {arm: [] for arm in turns}
    for _ in range(rounds):
        for arm, turn in turns.items():
            seconds[arm].append(turn())
    return {arm: np.array(times) for arm, times in seconds.items()}


def median_interval(values):
    """The 95 % bootstrap interval of a median.

    Args:
        values: float array (n,).
    Returns:
        Pair of float: low and high; both are the value itself if there is only one.
    Example:
        >>> median_interval(np.array([1.0, 1.0, 1.0]))
        (1.0, 1.0)
    """
    if len(values) < 2 or np.ptp(values) == 0:  # SciPy refuses a single value.
        return float(np.median(values)), float(np.median(values))
    random = np.random.default_rng(0)
    bootstrap = stats.bootstrap((values,), np.median, method="percentile", random_state=random)
    return tuple(map(float, bootstrap.confidence_interval))


def _step_costs(seconds, batch_size):
    medians = {arm: float(np.median(times)) for arm, times in seconds.items()}
    ratios = {name: seconds[name] / seconds[PLAIN] for name in ESTIMATORS}
    return {
        "seconds": medians,
        "seconds_quartiles": {a: np.quantile(s, [0.25, 0.75]).tolist() for a, s in seconds.items()},
        "images_per_second": {arm: batch_size / median for arm, median in medians.items()},
        "ratio": {name: float(np.median(ratio)) for name, ratio in ratios.items()},
        "ratio_interval": {name: list(median_interval(ratio)) for name, ratio in ratios.items()},
    }


# Time of its parts ---------------------------------------------------------------------------------


def part_seconds(model, whole_step, batch, rounds, separate=False):
    """Seconds of the parts of a training step, turn by turn.

    A part takes the difference between a step that ends after it and one that ends before it. The
    separate pass is the naive way of measuring one module: the whole network once more, at inference,
    on the images that are measured.

    Args:
        model: compiled `DREAL` with a critic, of one replica.
        whole_step: its `turn_of_model`.
        batch: pair of tensors: images and labels.
        rounds: int >= 1. Turns.
        separate: bool. Whether to time a separate pass too.
    Returns:
        Dict of float arrays (rounds,): `factual_pass` (with its gradient), `counterfactual_pass`, `critic`
        (its own step and the gradient for the actors), `update` (of the network, and metrics), and, if
        asked for, `separate_pass`.
    """
    steps = (_to_factual_pass, _to_counterfactual_pass, _to_critic)
    turns = {part: _turn_of_step(step, model, batch) for part, step in zip(PARTS, steps, strict=False)}
    turns[PARTS[-1]] = whole_step
    if separate:
        turns["separate_pass"] = _turn_of_step(_separate_pass, model, batch)
    seconds = interleaved(turns, rounds)
    lengths = np.diff([seconds.pop(part) for part in PARTS], axis=0, prepend=0.0)
    return dict(zip(PARTS, lengths, strict=True)) | seconds


def _turn_of_step(step, model, batch):
    # No lambda: TensorFlow tells functions apart by their code, and would warn of one traced often.
    compiled = tf.function(functools.partial(step, model), jit_compile=model.jit_compile)
    return timed(lambda: compiled(batch), wait=lambda outputs: float(tf.reduce_sum(outputs[0])))


def _to_factual_pass(model, data):
    return _outputs(model.factual_pass(data))


def _to_counterfactual_pass(model, data):
    factual = model.factual_pass(data)
    return [model.estimate_rewards(factual).difference, *_outputs(factual)]


def _to_critic(model, data):
    factual = model.factual_pass(data)
    result = model.update_critic(factual, model.estimate_rewards(factual))
    push = model.push(factual, result, model.actor_gradients(factual, result))
    return [result.actor_loss, *_present(push), *_outputs(factual)]


def _separate_pass(model, data):
    images = tf.nest.flatten(data[0])[0]
    count = count_of_fraction(ops.shape(images)[0], model.settings.reward_fraction)
    return [model.network(images[:count], training=False)]


def _outputs(factual):
    """All that a factual pass computes, so that TensorFlow leaves none of it out as unused."""
    return [factual.loss, factual.outputs["logits"], *_present(factual.gradients)]


def _present(tensors):
    return [tensor for tensor in tensors if tensor is not None]


def _part_costs(estimator, model, whole_step, batch, rounds):
    is_exact = estimator == "exact"
    seconds = part_seconds(model, whole_step, batch, rounds, separate=is_exact)
    costs = {"parts": {estimator: {part: float(np.median(seconds[part])) for part in PARTS}}}
    if is_exact:
        separate = len(model.trajectory.specs) * seconds["separate_pass"]
        fraction = seconds["counterfactual_pass"] / separate
        costs["separate_passes"] = {
            "seconds": float(np.median(separate)),
            "share": float(np.median(fraction)),
            "share_interval": list(median_interval(fraction)),
        }
    return costs


# Communication -------------------------------------------------------------------------------------


def exchanged_bytes(model):
    """Bytes that an all-reduce sums over the replicas in each training step.

    Whatever the number of replicas, a ring all-reduce sends at most twice that from each.

    Args:
        model: compiled `DREAL`.
    Returns:
        Dict of int, in bytes: `network` (gradients of W and theta), `statistics` (of synchronized
        BatchNorm, forward and back), `critic` (gradients of phi), `trust` (the sums that trust in the
        critic is computed from); the last two are 0 without a critic.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> exchanged_bytes(DREAL(network, critic=None))["critic"]
        0
    """
    critic = model.critic
    normalizations = [
        layer
        for layer in layers_inside(model.network)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.synchronized
    ]
    # Two sums for each channel on the way forward, and two on the way back.
    statistics = 2 * [v for n in normalizations for v in (n.moving_mean, n.moving_variance)]
    return {
        "network": _bytes(model.network.trainable_variables),
        "statistics": _bytes(statistics),
        "critic": 0 if critic is None else _bytes(critic.trainable_variables),
        "trust": 0 if critic is None or model.trust is None else _bytes(model.trust.variables),
        "relative_weight": 0
        if model.relative_weight is None
        else _bytes(model.relative_weight.variables),
    }


def _bytes(variables):
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


# Memory --------------------------------------------------------------------------------------------


def _memory_costs(recipes, processes):
    runs = {arm: [] for arm in recipes}
    for _ in range(processes):
        for arm, recipe in recipes.items():
            runs[arm].append(peak_memory(recipe))
    peaks = {arm: float(np.median(of_arm)) for arm, of_arm in runs.items()}
    ratio = {name: peaks[name] / peaks[PLAIN] for name in ESTIMATORS}
    return {"memory": peaks, "memory_ratio": ratio, "memory_processes": runs}


def peak_memory(recipe):
    """Peak memory of some training steps of a recipe, on generated images, in a fresh process.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Float, in MiB: of a GPU its allocator's peak, else the peak resident memory of the process.
    Raises:
        RunError: if the process fails.
    """
    process = subprocess.run(
        module_command("dreal_tf.analysis.benchmark"),
        input=recipe.model_dump_json() + "\n",
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # Its error messages are in the encoding of the system.
        check=False,
    )
    if process.returncode:
        raise RunError(
            f"Expected a process to train {recipe.name!r} for {MEMORY_STEPS} steps. Received: exit code "
            f"{process.returncode}, and {' '.join(process.stderr.strip().splitlines()[-1:])!r}. Free "
            "memory, or make the batch smaller with --set data.batch_size=N."
        )
    return float(json.loads(process.stdout.splitlines()[-1])["peak"])


def peak_resident():
    """Peak resident memory of this process since it began, in MiB.

    `tools/benchmarks/ranking_worker.py` has the same lines, as it also runs without the package.
    """
    status = Path("/proc/self/status")
    if status.is_file():  # On Linux `resource` also counts the process that started this one.
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # Windows has none.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def main():
    """Reads a recipe, trains it for some steps, and prints the peak memory as JSON."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    recipe = Recipe.from_json(sys.stdin.buffer.readline(), source="standard input")
    data = generated_data(recipe)
    model, _, _ = build(recipe, data)
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(first_batch(data)).repeat(MEMORY_STEPS))
    for _ in range(MEMORY_STEPS):
        float(model.train_function(batches)["loss"])
    peak = peak_resident()
    if tf.config.list_physical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    sys.stdout.write(json.dumps({"peak": peak}) + "\n")


if __name__ == "__main__":
    main()
