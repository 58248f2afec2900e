"""The cost of the method: a training step with it and without it, and where the time goes."""

import numpy as np

from dreal_tf.benchmark.arms import ESTIMATORS, PLAIN, recipes_of_arms, splits_for
from dreal_tf.benchmark.exchange import exchanged_bytes
from dreal_tf.benchmark.memory import peak_memory
from dreal_tf.benchmark.parts import PARTS, part_seconds
from dreal_tf.benchmark.peers import measure_peers
from dreal_tf.benchmark.turns import (
    first_batch,
    interleaved,
    median_interval,
    ratio_quartiles,
    turn_of_model,
)
from dreal_tf.builder import build
from dreal_tf.data.throughput import images_per_second
from dreal_tf.fine_tuning import settled


def benchmark(recipe, rounds=15, data_dir=None, peers=True, memory=3, say=None):
    """Measures what a recipe's method costs.

    Args:
        recipe: `dreal_tf.Recipe`, the method enabled.
        rounds: int >= 1. Turns of every arm.
        data_dir: str, path or None. Where the recipe's data lies; None for made-up images.
        peers: bool. Also time the networks that a user would otherwise train, where installed.
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
    if peers:
        say("Timing the peers that are installed.")
        found["peers"] = measure_peers(recipe, data, rounds)
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
