"""The cost of scoring a gallery: `python tools/benchmarks/ranking_cost.py`.

By default on generated embeddings of Market-1501's size. Each way of scoring runs in a fresh process,
which reads the same arrays from disk; reading is not timed, imports are, and memory is all of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import ranking_worker

import dreal_tf
from dreal_tf.errors import InputError, RunError

IDENTITIES, CAMERAS, DISTRACTORS = 750, 6, 0.176  # Market-1501's; distractors per gallery image.
NOISE = 4.0  # Within an identity, in units of the spread of the identities.
COLUMNS = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")


def generated_embeddings(queries, images, dimensions, seed=0):
    """Embeddings of generated identities seen by several cameras, distractors among the gallery.

    Args:
        queries, images, dimensions: ints >= 1.
        seed: int.
    Returns:
        Dict by "query" and "gallery" of dict: `embeddings`, float32 (rows, dimensions), `identities`
        and `cameras`, int (rows,).
    Example:
        >>> generated_embeddings(3, 5, 4)["gallery"]["embeddings"].shape
        (5, 4)
    """
    random = np.random.default_rng(seed)
    centres = random.standard_normal((IDENTITIES + 1, dimensions), dtype=np.float32)
    generated = {}
    for split, rows in {"query": queries, "gallery": images}.items():
        identities = random.integers(1, IDENTITIES + 1, rows)
        embeddings = centres[identities]
        if split == "gallery":
            alone = random.random(rows) < DISTRACTORS
            identities[alone] = 0
            embeddings[alone] = random.standard_normal((alone.sum(), dimensions), dtype=np.float32)
        embeddings += NOISE * random.standard_normal(embeddings.shape, dtype=np.float32)
        cameras = random.integers(1, CAMERAS + 1, rows)
        generated[split] = {"embeddings": embeddings, "identities": identities, "cameras": cameras}
    return generated


def scored(folder, who, python=sys.executable):
    """Scores and costs of one way, in a fresh process.

    Args:
        folder: path that holds the arrays, see `ranking_worker`.
        who: str, "ours", "reranked" or "torchreid".
        python: str, path of the interpreter.
    Returns:
        Dict: `scores`, `seconds`, `processor_seconds` and `peak` (MiB).
    Raises:
        RunError: if the process fails.
    """
    # A file that is run by itself finds its neighbours first, as if they were packages.
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    if who != "torchreid":
        environment["PYTHONPATH"] = str(Path(dreal_tf.__file__).parent.parent)
    process = subprocess.run(
        [python, ranking_worker.__file__, str(folder), who],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # Its error messages are in the encoding of the system.
        check=False,
    )
    if process.returncode:
        raise RunError(
            f"Expected {python} to score by {who}. Received: exit code {process.returncode}, and "
            f"{' '.join(process.stderr.strip().splitlines()[-1:])!r}. Mend what it says."
        )
    return json.loads(process.stdout.splitlines()[-1])


def cost_table(measured):
    """The measurements as a Markdown table.

    Args:
        measured: dict by name of what `scored` gave.
    Returns:
        List of str.
    Example:
        >>> scores = {"rank_1": 0.5, "rank_5": 0.75, "rank_10": 1.0, "mAP": 0.25}
        >>> row = {"scores": scores, "seconds": 2.0, "processor_seconds": 3.0, "peak": 100.0}
        >>> cost_table({"torchreid": row})[2]
        '| torchreid | 2.0 | 3.0 | 100 | 0.500000 | 0.750000 | 1.000000 | 0.250000 | |'
    """
    lines = ["| | seconds | CPU seconds | peak MiB | rank-1 | rank-5 | rank-10 | mAP | mINP |"]
    lines.append("|---" * 9 + "|")
    for name, row in measured.items():
        scores = [f"{row['scores'][key]:.6f}" if key in row["scores"] else "" for key in COLUMNS]
        cells = [f"{row['seconds']:.1f}", f"{row['processor_seconds']:.1f}", f"{row['peak']:.0f}"]
        lines.append(" | ".join([f"| {name}", *cells, *scores]).rstrip() + " |")
    return lines


def main(queries, gallery, dimensions, seed, rerank, peer):
    """Makes the arrays, scores them each way and prints the table."""
    for python in peer:
        if not Path(python).is_file():
            raise InputError(
                f"Expected a Python interpreter that has torchreid. Received: {python!r}, which is no "
                "file. Give the path of its environment's python."
            )
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for split, kinds in generated_embeddings(queries, gallery, dimensions, seed).items():
            for kind, values in kinds.items():
                np.save(Path(folder, f"{split}_{kind}.npy"), values)
        measured["ours"] = scored(folder, "ours")
        if rerank:
            measured["ours, re-ranked"] = scored(folder, "reranked")
        for python in peer:
            scores = scored(folder, "torchreid", python)
            kind = "Cython" if scores["scores"].pop("cython") else "Python"
            measured[f"torchreid ({kind})"] = scores
    print(f"{queries} queries, {gallery} images, {dimensions} dimensions, {os.cpu_count()} CPU cores")
    print("\n".join(cost_table(measured)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The cost of scoring a gallery.")
    parser.add_argument("--queries", type=int, default=3368, help="Default: Market-1501's.")
    parser.add_argument("--gallery", type=int, default=15913, help="Images. Default: Market-1501's.")
    parser.add_argument("--dimensions", type=int, default=2048, help="Of the embeddings.")
    parser.add_argument("--seed", type=int, default=0, help="Of the embeddings.")
    parser.add_argument("--rerank", action="store_true", help="Also after re-ranking.")
    parser.add_argument(
        "--peer", action="append", default=[], help="A python that has torchreid; repeatable."
    )
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"Error: {error}")
