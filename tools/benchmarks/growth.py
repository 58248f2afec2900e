"""How costs grow with the size of the data: `python tools/benchmarks/growth.py`.

CPU seconds of all threads at several sizes, and the exponent between the last two: 1 is linear, 2 quadratic.
Memory is what the process holds at its peak, more than before. Each size is measured in a fresh process.
"""

import argparse
import io
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from dreal_tf.analysis.benchmark import peak_resident

SIZES = {
    "start": (2_000, 20_000, 100_000),
    "restart": (2_000, 20_000, 100_000),
    "sample": (2_000, 20_000, 100_000),
    "search": (10_000, 100_000, 1_000_000),
    "history": (250, 1_000, 4_000),
}
WHAT = {
    "start": "images of a folder, all checked",
    "restart": "images of a folder, in recorded splits",
    "sample": "images of a folder, of which 200 test images are read",
    "search": "images of a gallery, 100 queries",
    "history": "epochs of a history of 16 modules",
}
CLASSES, QUERIES, DIMENSIONS, QUANTITIES, MODULES = 10, 100, 128, 20, 16
OPTIONS = {"image_size": 16, "batch_size": 8, "validation_fraction": 0.1}


def image_folder_of(folder, count):
    """Writes small JPEGs, no two alike, in folders of classes; a folder that is there is kept."""
    root = Path(folder) / str(count)
    if root.is_dir():
        return root
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (16, 16, 3), "uint8")).save(file, "JPEG")
        for number in range(count // CLASSES):  # Bytes after the end of a picture are ignored.
            mark = f"{label} {number}".encode()
            (root / f"class{label}" / f"{number:07}.jpg").write_bytes(file.getvalue() + mark)
    return root


def work_of(name, size, folder):
    """The work whose cost is measured, prepared: a function without arguments."""
    if name == "search":
        from dreal_tf.retrieval import nearest

        random = np.random.default_rng(0)
        query, gallery = (
            random.standard_normal((rows, DIMENSIONS), dtype=np.float32) for rows in (QUERIES, size)
        )
        nearest(query, gallery[:1000], 10)  # Imports.
        return lambda: nearest(query, gallery, 10)
    if name == "history":
        from dreal_tf.training.callbacks import HistoryFile

        path = Path(folder) / f"history_{size}.csv"
        logs = {
            f"quantity{q}/module{m}": math.sqrt(q * m)
            for q in range(QUANTITIES)
            for m in range(MODULES)
        }

        def train():
            history = HistoryFile(path)
            for epoch in range(size):
                history.on_epoch_begin(epoch)
                history.on_epoch_end(epoch, logs)

        return train
    from dreal_tf.data.folder import image_folder
    from dreal_tf.data.splits import sample_examples

    image_folder(image_folder_of(folder, 200), **OPTIONS)  # Imports and kernels.
    root, record = image_folder_of(folder, size), Path(folder) / f"splits_{size}.csv"
    if name == "start":
        return lambda: record.write_text(image_folder(root, **OPTIONS).files.to_csv())
    if name == "restart":
        return lambda: image_folder(root, recorded=record, **OPTIONS)
    data = image_folder(root, recorded=record, **OPTIONS)
    return lambda: sample_examples(data, 200)


def measured(name, size, folder):
    """CPU seconds and further peak memory (MiB) of one work, in this process."""
    work = work_of(name, size, folder)
    before, start = peak_resident(), time.process_time()
    work()
    return {"seconds": time.process_time() - start, "memory": peak_resident() - before}


def measured_apart(name, size, folder):
    """The same, in a fresh process."""
    command = [sys.executable, __file__, "--folder", folder, "--one", name, str(size)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def exponent(sizes, seconds):
    """The exponent of the growth between the last two sizes.

    Example:
        >>> exponent([10, 100, 1000], [0.0, 1.0, 100.0])
        2.0
    """
    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def table_of(folder, sizes=SIZES, say=print):
    """Measures all, and prints a line for each."""
    say("| cost | sizes | CPU seconds | exponent | memory (MiB) |\n|---|---|---|---|---|")
    for name, counts in sizes.items():
        rows = [measured_apart(name, size, folder) for size in counts]
        seconds = [row["seconds"] for row in rows]
        cells = WHAT[name], ", ".join(f"{n:,}" for n in counts), ", ".join(f"{s:.2f}" for s in seconds)
        memory = ", ".join(f"{row['memory']:.0f}" for row in rows)
        say("| " + " | ".join([*cells, f"{exponent(counts, seconds):.2f}", memory]) + " |")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="Keep the images here, for the next time.")
    parser.add_argument("--scale", type=float, default=1.0, help="Multiply all sizes.")
    parser.add_argument("--one", nargs=2, metavar=("COST", "SIZE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(measured(given.one[0], int(given.one[1]), given.folder)))
        return
    sizes = {name: [round(given.scale * n) for n in counts] for name, counts in SIZES.items()}
    with tempfile.TemporaryDirectory() as temporary:
        table_of(given.folder or temporary, sizes)


if __name__ == "__main__":
    main()
