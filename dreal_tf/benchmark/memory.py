"""Peak memory of a training, in a process of its own: `python -m dreal_tf.benchmark.memory`.

The job is a line of JSON on standard input, the answer a line of JSON on standard output.
"""

import json
import os
import subprocess
import sys

from dreal_tf.benchmark.ranking_worker import peak_resident
from dreal_tf.errors import RunError

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
        [sys.executable, "-m", "dreal_tf.benchmark.memory"],
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


def _peak_here(recipe):
    import tensorflow as tf

    from dreal_tf.benchmark.arms import made_up
    from dreal_tf.benchmark.turns import first_batch
    from dreal_tf.builder import build

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
