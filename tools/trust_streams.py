"""How trust behaves on recorded streams of pairs: `python tools/trust_streams.py RECIPE [--epochs N] [--out DIR]`.

A pair is a difference that a critic predicted and the difference that the network showed. One short run for
each kind of critic records its pairs; every candidate memory and margin of `dreal_tf.model.Trust` is then
tried on the same streams:

- permuted: the measured differences of each module shuffled over the run. No critic could be more ignorant;
  the table counts the runs in which trust exceeded 0.02 in any module at any time.
- pairs to 0.2: how many pairs of a module it takes until trust passes 0.2 (median of the modules that do).
- pairs to fall: how many further pairs until trust is below 0.05 if, from the middle of the stream, the
  comparative critic's predictions are worthless (permuted), or wrong (of opposite sign).
"""

import argparse
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from dreal_tf.model import Trust
from dreal_tf.training.builder import build
from dreal_tf.training.recipe_files import resolve_recipe

CRITICS = ("comparative", "paper", "shuffled")
MEMORIES, MARGINS = (400, 1000, 2000, 5000, 10_000), (3.0, 4.0, 5.0)
IGNORED, PASSED, FALLEN = 0.02, 0.2, 0.05  # Values of trust.
BLOCK = 500  # Permutations at a time.


class Stream(NamedTuple):
    """The pairs of a run, in order.

    Attributes:
        predicted, measured: int8 arrays (pairs,), signs.
        modules, steps: int32 arrays (pairs,). Position of the module; training step, from 0.
    """

    predicted: np.ndarray
    measured: np.ndarray
    modules: np.ndarray
    steps: np.ndarray


class RecordingTrust(Trust):
    """`Trust` that keeps every pair it is given."""

    def __init__(self, modules, **kwargs):
        super().__init__(modules, **kwargs)
        self.rows, self.step = [], 0

    def call(self, predicted, measured, modules, mask):
        tf.py_function(self._keep, [predicted, measured, modules, mask], [])
        return super().call(predicted, measured, modules, mask)

    def _keep(self, *columns):
        predicted, measured, modules, mask = (column.numpy() for column in columns)
        counts = (mask > 0) & np.isfinite(predicted) & np.isfinite(measured)
        signs = np.sign(predicted), np.sign(measured)
        steps = np.full(len(modules), self.step)
        self.rows.append(np.stack([*signs, modules, steps], axis=1)[counts])  # (pairs, 4)
        self.step += 1

    def stream(self):
        rows = np.concatenate(self.rows)
        return Stream(*rows[:, :2].T.astype("int8"), *rows[:, 2:].T.astype("int32"))


def recorded(recipe, file):
    """The stream of a recipe's run; it is trained if the file does not have it yet."""
    if not file.exists():
        with mock.patch("dreal_tf.model.dreal.Trust", RecordingTrust):
            model, data, callbacks = build(recipe)
        model.fit(data.train, epochs=recipe.schedule.epochs, callbacks=callbacks, verbose=0)
        np.savez_compressed(file, **model.trust.stream()._asdict())
    with np.load(file) as arrays:
        return Stream(**arrays)


def trust_over_time(predicted, measured, steps, memory, margin):
    """`Trust` of one module, step by step, for several orders of the measured signs at once.

    Args:
        predicted: array (pairs,), signs.
        measured: array (orders, pairs), signs.
        steps: int array (pairs,), ascending.
        memory: float > 0, pairs.
        margin: float, standard errors.
    Returns:
        Float array (orders, steps with pairs).
    Example:
        >>> ones = np.ones(400)
        >>> trust = trust_over_time(ones * [1, -1] * 200, ones[None] * [1, -1] * 200, np.arange(400), 1e6, 5.0)
        >>> round(float(trust[0, -1]), 2)
        0.92
    """
    _, starts, counts = np.unique(steps, return_index=True, return_counts=True)
    terms = [
        np.add.reduceat(np.broadcast_to(part, measured.shape), starts, axis=1, dtype="float32")
        for part in (predicted, measured, predicted * measured)
    ]
    sums, pairs, last, values = np.zeros((3, len(measured))), 0.0, 0, []
    for step, count in enumerate(counts):
        kept = np.exp(-last / memory)
        pairs, last = kept * pairs + count, count
        sums = kept * sums + [term[:, step] for term in terms]
        of_predicted, of_measured, products = sums / max(pairs, 1.0)
        agreement = products - of_predicted * of_measured - margin / np.sqrt(max(pairs, 1.0))
        values.append(np.sin(np.pi / 2 * np.maximum(agreement, 0.0)))
    return np.stack(values, axis=1)


def parts_of(stream):
    """For each module: predicted and measured signs, and steps."""
    for module in range(stream.modules.max() + 1):
        own = stream.modules == module
        yield stream.predicted[own], stream.measured[own], stream.steps[own]


def exceeding(stream, memory, margin, permutations, seed=0):
    """The fraction of permuted runs in which trust exceeds `IGNORED` in any module at any time."""
    generator, exceeded = np.random.default_rng(seed), 0
    for begin in range(0, permutations, BLOCK):
        largest = np.zeros(min(BLOCK, permutations - begin))
        for predicted, measured, steps in parts_of(stream):
            orders = generator.permuted(np.tile(measured, (len(largest), 1)), axis=1)
            over_time = trust_over_time(predicted, orders, steps, memory, margin)
            largest = np.maximum(largest, over_time.max(axis=1))
        exceeded += (largest > IGNORED).sum()
    return exceeded / permutations


def pairs_until(values, steps, passed):
    """The number of pairs up to the first step at which `passed(values)`; None: at none."""
    reached = np.flatnonzero(passed(values))
    return (
        int(np.unique(steps, return_counts=True)[1][: reached[0] + 1].sum()) if len(reached) else None
    )


def median_pairs(stream, memory, margin):
    """Pairs to pass `PASSED`, median over modules, and in how many modules."""
    counts = [
        pairs_until(trust_over_time(p, m[None], s, memory, margin)[0], s, lambda trust: trust > PASSED)
        for p, m, s in parts_of(stream)
    ]
    counts = [count for count in counts if count is not None]
    return (int(np.median(counts)) if counts else None), len(counts)


def pairs_to_fall(stream, memory, margin, spoil):
    """Pairs from the middle of the stream, where a critic turns bad, until trust is below `FALLEN`."""
    counts = []
    for predicted, measured, steps in parts_of(stream):
        half = np.searchsorted(steps, steps[len(steps) // 2])
        spoilt = np.concatenate([predicted[:half], spoil(predicted[half:])])
        values = trust_over_time(spoilt, measured[None], steps, memory, margin)[0]
        begin = len(np.unique(steps[:half]))
        if values[begin - 1] >= FALLEN:
            counts.append(pairs_until(values[begin:], steps[half:], lambda trust: trust < FALLEN))
    known = [count for count in counts if count is not None]
    return int(np.median(known)) if known else None


def table(streams, permutations):
    """Rows of the results, as Markdown."""
    critics = ", ".join(streams)
    yield (
        f"| memory | margin | permuted runs above {IGNORED}: {critics} | last trust: {critics} "
        f"| pairs to {PASSED} | pairs to fall: worthless | wrong |"
    )
    yield "|---|---|---|---|---|---|---|"
    comparative = streams["comparative"]
    shuffled = np.random.default_rng(1).permutation
    for memory in MEMORIES:
        for margin in MARGINS:
            fractions = [exceeding(s, memory, margin, permutations) for s in streams.values()]
            fractions = ", ".join(f"{100 * fraction:.2f} %" for fraction in fractions)
            last = ", ".join(
                " / ".join(
                    f"{trust_over_time(p, m[None], s, memory, margin)[0, -1]:.2f}"
                    for p, m, s in parts_of(stream)
                )
                for stream in streams.values()
            )
            pairs, modules = median_pairs(comparative, memory, margin)
            falls = [
                pairs_to_fall(comparative, memory, margin, spoil) for spoil in (shuffled, np.negative)
            ]
            yield f"| {memory} | {margin:g} | {fractions} | {last} | {pairs} ({modules}) | {falls[0]} | {falls[1]} |"


def figure(streams, memories, margin):
    """Trust over the pairs of a module: a row for each memory, a column for each critic."""
    from matplotlib.figure import Figure

    chart = Figure(figsize=(9, 2.4 * len(memories)), layout="constrained")
    axes = chart.subplots(len(memories), len(streams), sharey=True, squeeze=False)
    for row, memory in zip(axes, memories, strict=True):
        for plot, (critic, stream) in zip(row, streams.items(), strict=True):
            for module, (predicted, measured, steps) in enumerate(parts_of(stream)):
                counts = np.cumsum(np.unique(steps, return_counts=True)[1])
                values = trust_over_time(predicted, measured[None], steps, memory, margin)[0]
                plot.plot(counts, values, label=f"module {module + 1}")
            plot.set_title(f"{critic}, memory of {memory:,} pairs", fontsize=10)
            plot.set_ylim(-0.02, 1)
            plot.set(xlabel="pairs of a module", ylabel="trust" if plot is row[0] else "")
    axes[0][-1].legend(loc="upper right")
    return chart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--permutations", type=int, default=10_000)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=Path("trust_streams"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    streams, label = {}, f"{options.recipe}_{options.epochs or 'all'}"
    for critic in CRITICS:
        changes = {"dreal.critic": critic} | (
            {"schedule.epochs": options.epochs} if options.epochs else {}
        )
        recipe = resolve_recipe(options.recipe, changes=changes, data_dir=options.data_dir)
        streams[critic] = recorded(recipe, options.out / f"{label}_{critic}.npz")
        print(critic, len(streams[critic].steps), "pairs", flush=True)
    for line in table(streams, options.permutations):
        print(line, flush=True)
    figure(streams, (400, 2000), 5.0).savefig(options.out / f"{label}.png", dpi=120)


if __name__ == "__main__":
    main()
