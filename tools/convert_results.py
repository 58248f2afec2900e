"""Converts rows of studies from schema 1 to the logged names of schema 2, in place.

python tools/convert_results.py [CSV ...]     without arguments: all rows under recipes/studies/results
"""

import csv
import re
import sys
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "recipes" / "studies" / "results"
# The logged quantity of schema 1 (with `val_` or a module before or after it) and its name now.
RENAMED = {
    "climb_ratio": "actor_grad_ratio",
    "climb_cosine": "actor_grad_cosine",
    "explained": "r2",
    "explained_right": "r2_right",
    "explained_held": "r2_held",
    "task_loss": "loss",
}
COLUMN = re.compile(r"(val_)?(\w+?)(/.*|@.*)?")


def converted(header):
    """The columns of schema 2, and the positions of those that are kept.

    `loss` in training and validation was the sum of all losses in schema 1; it is dropped where
    `task_loss`, today's `loss`, stands beside it.

    Args:
        header: list of str.
    Returns:
        List of str, and list of int.
    Example:
        >>> converted(["arm", "val_loss", "val_task_loss", "explained/conv2_1/se"])
        (['arm', 'val_loss', 'r2/conv2_1/se'], [0, 2, 3])
    """
    names, kept = [], []
    for position, column in enumerate(header):
        before, quantity, after = COLUMN.fullmatch(column).groups(default="")
        if quantity == "loss" and f"{before}task_loss" in header:
            continue
        names.append(before + RENAMED.get(quantity, quantity) + after)
        kept.append(position)
    return names, kept


def convert(path):
    """Rewrites a file of rows, if it has columns of schema 1."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    names, kept = converted(header)
    if names == header:
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([row[position] for position in kept] for row in rows)
    print(path)


if __name__ == "__main__":
    for path in [Path(a) for a in sys.argv[1:]] or sorted(RESULTS.glob("*.csv")):
        convert(path)
