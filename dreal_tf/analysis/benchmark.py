"""The cost of the method: time and memory of a training step with it and without it.

Peak memory is measured in processes of their own: each runs this file, takes a recipe as a line of JSON
on standard input and answers with a line of JSON.
"""

import functools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy.stats import bootstrap

from dreal_tf.data import generated_like, known_set
from dreal_tf.data.throughput import images_per_second
from dreal_tf.errors import InputError, RunError
from dreal_tf.keras_internals import layers_inside
from dreal_tf.method.rewards import count_of_fraction
from dreal_tf.training.builder import build, build_data, data_options
from dreal_tf.training.fine_tuning import settled

PLAIN = "plain"
ESTIMATORS = ("sampled", "exact")
BATCHES = 4  # Of made-up images: enough for a pipeline to be at work.


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
    arms = {PLAIN: recipe.replace({"dreal.enabled": False})}
    return arms | {name: recipe.replace({"dreal.estimator": name}) for name in ESTIMATORS}


def made_up(recipe):
    """Made-up images in the shape and number of classes that a recipe trains on.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.data.Splits`.
    Raises:
        InputError: if the shape is known from the data alone.
    Example:
        >>> made_up(load_recipe("cifar10_resnet20_se")).image_shape
        (32, 32, 3)
    """
    name, size = recipe.data.name, recipe.data.image_size
    if name == "generated" or known_set(name) or size:
        options = data_options(recipe) | {"images": BATCHES * recipe.data.batch_size}
        return generated_like(name, **options)
    raise InputError(
        f"Expected a data set whose shape is known, or data.image_size. Received: data.name={name!r}. "
        "Give the folder of the data with --data-dir, or a size with --set data.image_size=224."
    )


def splits_for(recipe, data_dir=None):
    """What a benchmark trains on: made-up images, or the recipe's own from a folder."""
    if data_dir is None:
        return made_up(recipe)
    return build_data(recipe.reading(data_dir))


TURN = 0.3  # Seconds that a turn should last.


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


def timed(call, wait):
    """A callable that takes a turn: calls of a function, as many as last a while.

    Args:
        call: callable without arguments.
        wait: callable of what it returned, which ends when that has been computed.
    Returns:
        Callable that returns the seconds of one call, a mean over the turn.
    Example:
        >>> timed(lambda: None, wait=lambda nothing: None)() < 0.1
        True
    """
    calls = [0]  # Until it is known how long one takes.

    def several(count):
        start = time.perf_counter()
        for _ in range(count):
            result = call()
        wait(result)
        return (time.perf_counter() - start) / count

    def turn():
        if not calls[0]:
            several(1)  # It may trace.
            calls[0] = max(1, math.ceil(TURN / max(several(1), 1e-4)))
        return several(calls[0])

    return turn


def turn_of(recipe, data=None):
    """A turn of training steps of a recipe's model, always on the same batch.

    Args:
        recipe: `dreal_tf.Recipe`.
        data: `dreal_tf.data.Splits`, or None for the recipe's own.
    Returns:
        Callable that returns the seconds of a step.
    """
    model, data, _ = build(recipe, data)
    return turn_of_model(model, first_batch(data))


def first_batch(data):
    """The first training batch of some splits, in memory."""
    return next(iter(data.train.take(1)))


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


def ratio_quartiles(seconds, reference):
    """How many times as long one arm takes as another: lower quartile, median, upper quartile.

    Args:
        seconds, reference: float arrays (rounds,), of the same turns.
    Returns:
        Float array (3,).
    Example:
        >>> ratio_quartiles(np.array([2.0, 3.0, 4.0]), np.ones(3)).tolist()
        [2.5, 3.0, 3.5]
    """
    return np.quantile(seconds / reference, [0.25, 0.5, 0.75])


def median_interval(values):
    """The 95 % bootstrap interval of a median.

    Args:
        values: float array (n,).
    Returns:
        Pair of float: low and high; both the value itself where there is but one.
    Example:
        >>> median_interval(np.array([1.0, 1.0, 1.0]))
        (1.0, 1.0)
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return float(np.median(values)), float(np.median(values))
    drawn = bootstrap((values,), np.median, method="percentile", random_state=np.random.default_rng(0))
    return tuple(float(end) for end in drawn.confidence_interval)


PARTS = ("factual_pass", "counterfactual_pass", "critic", "update")


def part_seconds(model, batch, rounds):
    """Seconds of the parts of a training step, and of one separate pass, turn by turn.

    A part is what a step that ends after it takes longer than one that ends before. The separate
    pass is what the naive way runs once for each step of the network: all of it again, at inference,
    for the images that are measured.

    Args:
        model: compiled `DREAL` with a critic, of one replica.
        batch: pair of tensors: images and labels.
        rounds: int >= 1. Turns.
    Returns:
        Dict of float arrays (rounds,): `factual_pass` (with its gradient), `counterfactual_pass`, `critic`
        (its own step and the gradient for the actors), `update` (of the network, and metrics), and
        `separate_pass`.
    """
    ends = {
        "factual_pass": _factual,
        "counterfactual_pass": _measured,
        "critic": _learnt,
        "update": _whole,
    }
    turns = {part: _turn_to(end, model, batch) for part, end in ends.items()}
    turns["separate_pass"] = _turn_to(_separate, model, batch)
    seconds = interleaved(turns, rounds)
    lengths = [np.zeros(rounds), *(seconds[part] for part in PARTS)]
    parts = {part: lengths[n + 1] - lengths[n] for n, part in enumerate(PARTS)}
    return parts | {"separate_pass": seconds["separate_pass"]}


def _turn_to(end, model, batch):
    # No lambda: TensorFlow tells functions apart by their code, and would warn of one traced often.
    step = tf.function(functools.partial(end, model), jit_compile=model.jit_compile)
    return timed(lambda: step(batch), wait=lambda result: float(tf.reduce_sum(result[0])))


def _factual(model, data):
    return _kept(model.factual_pass(data))


def _measured(model, data):
    factual = model.factual_pass(data)
    return [model.estimate_rewards(factual).difference, *_kept(factual)]


def _learnt(model, data):
    factual = model.factual_pass(data)
    result = model.update_critic(factual, model.estimate_rewards(factual))
    gradients = model.actor_gradients(factual, result)
    return [result.actor_loss, *_present(gradients), *_kept(factual)]


def _whole(model, data):
    return [model.train_step(data)["loss"]]


def _separate(model, data):
    images = tf.nest.flatten(data[0])[0]
    count = count_of_fraction(ops.shape(images)[0], model.settings.reward_fraction)
    return [model.network(images[:count], training=False)]


def _kept(factual):
    """What must be computed although nothing uses it here."""
    return [factual.loss, factual.outputs["logits"], *_present(factual.gradients)]


def _present(tensors):
    return [tensor for tensor in tensors if tensor is not None]


# Training steps until memory has been at its highest: which buffers are held at the same time is
# chance, and a few steps miss what most trainings reach.
STEPS = 30


def peak_memory(recipe):
    """Peak memory of some training steps of a recipe, on made-up images, in a fresh process.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Float, in MiB: of a GPU its allocator's peak, else the peak resident memory of the process.
    Raises:
        RunError: if the process ended otherwise.
    """
    process = subprocess.run(
        [sys.executable, "-m", "dreal_tf.analysis.benchmark"],
        input=recipe.model_dump_json() + "\n",
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # Its error messages are in the encoding of the system.
        check=False,
    )
    if process.returncode:
        raise RunError(
            f"Expected a process to train {recipe.name!r} for {STEPS} steps. Received: exit code "
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
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # Windows has none.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def _peak_here(recipe):
    import tensorflow as tf

    from dreal_tf.training.builder import build

    data = made_up(recipe)
    model, _, _ = build(recipe, data)
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(first_batch(data)).repeat(STEPS))
    for _ in range(STEPS):
        float(model.train_function(batches)["loss"])
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return peak_resident()


def main():
    """Reads a recipe, trains it for some steps, and says what that took."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dreal_tf.recipe import Recipe

    recipe = Recipe.from_json(sys.stdin.buffer.readline(), source="standard input")
    peak = _peak_here(recipe)
    sys.stdout.write(json.dumps({"peak": peak}) + "\n")


if __name__ == "__main__":
    main()


def exchanged_bytes(model):
    """What an all-reduce sums over the replicas in each training step.

    Whatever the number of replicas, a ring all-reduce sends at most twice that from each.

    Args:
        model: compiled `DREAL`.
    Returns:
        Dict of int, in bytes: `network` (gradients of W and theta), `statistics` (of synchronized
        BatchNorm, forward and back), `critic` (gradients of phi), `trust` (what is known of its
        advice); the last two are 0 without a critic.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> exchanged_bytes(DREAL(network, critic=None))["critic"]
        0
    """
    critic = model.critic
    trust = model.trust if critic is not None else None
    exchanged = {
        "network": _bytes(model.network.trainable_variables),
        "statistics": sum(map(_of_statistics, layers_inside(model.network))),
        "critic": 0 if critic is None else _bytes(critic.trainable_variables),
        "trust": 0 if trust is None else _bytes(trust.variables),
    }
    return {what: int(count) for what, count in exchanged.items()}


def _of_statistics(layer):
    """Two sums for each channel on the way forward, and two on the way back."""
    if not isinstance(layer, keras.layers.BatchNormalization) or not layer.synchronized:
        return 0
    return 2 * _bytes([layer.moving_mean, layer.moving_variance])


def _bytes(variables):
    return sum(np.prod(v.shape, dtype=int) * tf.as_dtype(v.dtype).size for v in variables)


def benchmark(recipe, rounds=15, data_dir=None, memory=3, say=None):
    """Measures what a recipe's method costs.

    Args:
        recipe: `dreal_tf.Recipe`, the method enabled.
        rounds: int >= 1. Turns of every arm.
        data_dir: str, path or None. Where the recipe's data lies; None for made-up images.
        memory: int >= 0. Processes in which each arm's peak memory is measured; 0: it is not.
        say: callable of a str, told what is being measured, or None.
    Returns:
        Dict, ready for JSON: `ratio` and `memory_ratio` by estimator, of the plain network's; and
        what they come from, see `benchmark_lines` for how it reads.
    Raises:
        InputError: if the recipe cannot be built or has no method.
    """
    say = say or (lambda text: None)
    recipe = settled(recipe.reading(data_dir))
    arms, data = recipes_of_arms(recipe), splits_for(recipe, data_dir)
    batch = first_batch(data)
    say(f"Building {', '.join(arms)}: a minute or more for a deep network.")
    models = {arm: build(made, data)[0] for arm, made in arms.items()}
    say(f"Timing steps, {rounds} turns of every arm.")
    turns = {arm: turn_of_model(model, batch) for arm, model in models.items()}
    seconds = interleaved(turns, rounds)
    found = _described(recipe, data, models) | _steps(seconds, recipe.data.batch_size)
    if models[PLAIN].distribute_strategy.num_replicas_in_sync == 1:
        say("Timing the parts of a step.")
        found |= _parts({name: models[name] for name in ESTIMATORS}, batch, rounds)
    say("Timing the input pipeline by itself.")
    found |= _input(data, found["seconds"][PLAIN], recipe.data.batch_size)
    found["exchanged"] = exchanged_bytes(models["sampled"])
    del models, turns
    if memory:
        say("Measuring memory, in processes of its own for every arm.")
        found |= _memory(arms, memory)
    return found


def _described(recipe, data, models):
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    details = [
        tf.config.experimental.get_device_details(d) for d in tf.config.list_physical_devices("GPU")
    ]
    return {
        "recipe": recipe.name,
        "batch_size": recipe.data.batch_size,
        "image_shape": list(data.image_shape),
        "precision": recipe.run.precision,
        "critic": recipe.dreal.critic,
        "reward_fraction": recipe.dreal.reward_fraction,
        "modules": len(models["sampled"].trajectory.specs),
        "devices": [device.name for device in devices],
        "gpu": details[0].get("device_name") if details else None,
        "xla": bool(models["sampled"].jit_compile),
    }


def _steps(seconds, batch_size):
    found = {"seconds": {}, "seconds_quartiles": {}, "images_per_second": {}}
    for arm, times in seconds.items():
        low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
        found["seconds"][arm] = float(median)
        found["seconds_quartiles"][arm] = [float(low), float(high)]
        found["images_per_second"][arm] = float(batch_size / median)
    found |= {"ratio": {}, "ratio_interval": {}}
    for name in ESTIMATORS:
        found["ratio"][name] = float(ratio_quartiles(seconds[name], seconds[PLAIN])[1])
        found["ratio_interval"][name] = list(median_interval(seconds[name] / seconds[PLAIN]))
    return found


def _parts(models, batch, rounds):
    found = {"parts": {}}
    for name, model in models.items():
        seconds = part_seconds(model, batch, rounds)
        found["parts"][name] = {part: float(np.median(seconds[part])) for part in PARTS}
        if name == "exact":
            one, steps = float(np.median(seconds["separate_pass"])), len(model.trajectory.specs)
            share = seconds["counterfactual_pass"] / (steps * seconds["separate_pass"])
            found["separate_passes"] = {
                "seconds": steps * one,
                "share": float(np.median(share)),
                "share_interval": list(median_interval(share)),
            }
    return found


def _input(data, seconds, batch_size):
    given = images_per_second(data.train)
    return {"input": {"images_per_second": given, "times_step": given * seconds / batch_size}}


def _memory(arms, processes):
    """Medians over processes; which buffers are held at the same time is chance in each of them."""
    runs = {arm: [] for arm in arms}
    for _ in range(processes):
        for arm, recipe in arms.items():
            runs[arm].append(peak_memory(recipe))
    peaks = {arm: float(np.median(found)) for arm, found in runs.items()}
    ratio = {name: peaks[name] / peaks[PLAIN] for name in ESTIMATORS}
    return {"memory": peaks, "memory_ratio": ratio, "memory_processes": runs}


def benchmark_lines(found):
    """The findings as lines of Markdown.

    Args:
        found: dict, what `dreal_tf.analysis.benchmark` gave.
    Returns:
        List of str.
    """
    lines = [_heading_line(found), "", *_step_table(found)]
    if "parts" in found:
        lines += ["", *_part_table(found)]
    lines += ["", *_input_line(found), *_exchanged_line(found)]
    return lines


def _heading_line(found):
    height, width, channels = found["image_shape"]
    device = found["gpu"] or f"{len(found['devices'])} × {found['devices'][0]}"
    return (
        f"{found['recipe']}: {found['batch_size']} images of {height}×{width}×{channels} a step, "
        f"{found['precision']}, XLA {'on' if found['xla'] else 'off'}, {device}; critic "
        f"{found['critic']}, {found['modules']} modules, {found['reward_fraction']:g} of a batch measured."
    )


def _step_table(found):
    rows = ["| arm | a step | images/s | of the plain step (95 %) | peak memory | of the plain |"]
    rows.append("|---|---|---|---|---|---|")
    for arm, seconds in found["seconds"].items():
        ratio = memory = peak = "-"
        if arm != PLAIN:
            low, high = found["ratio_interval"][arm]
            ratio = f"{found['ratio'][arm]:.3f} ({low:.3f} to {high:.3f})"
        if "memory" in found:
            peak = f"{found['memory'][arm]:.0f} MiB"
            memory = f"{found['memory_ratio'][arm]:.2f}" if arm != PLAIN else "-"
        rate = found["images_per_second"][arm]
        rows.append(f"| {arm} | {1e3 * seconds:.1f} ms | {rate:.1f} | {ratio} | {peak} | {memory} |")
    return rows


def _part_table(found):
    rows = ["| part of a step | " + " | ".join(ESTIMATORS) + " |", "|---|" + "---|" * len(ESTIMATORS)]
    for part in found["parts"][ESTIMATORS[0]]:
        cells = (f"{1e3 * found['parts'][name][part]:.1f} ms" for name in ESTIMATORS)
        rows.append(f"| {part.replace('_', ' ')} | {' | '.join(cells)} |")
    separate = found["separate_passes"]
    low, high = separate["share_interval"]
    rows += [
        "",
        f"A separate pass for each of the {found['modules']} modules would take "
        f"{1e3 * separate['seconds']:.0f} ms; the exact counterfactual pass takes {separate['share']:.2f} of that "
        f"({low:.2f} to {high:.2f}).",
    ]
    return rows


def _input_line(found):
    given = found["input"]
    yield (
        f"The input pipeline alone gives {given['images_per_second']:.0f} images/s, "
        f"{given['times_step']:.1f} times what the plain step takes."
    )


def _exchanged_line(found):
    sums = {what: count / 2**20 for what, count in found["exchanged"].items()}
    plain = sums["network"] + sums["statistics"]
    yield (
        f"Replicas sum {plain:.2f} MiB a step without the method, "
        f"{plain + sums['critic'] + sums['trust']:.2f} MiB with it."
    )
