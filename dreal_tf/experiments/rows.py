"""Rows of results as CSV: one for each arm and seed of a study, or for each trial of a search.

Written with the csv module, not pandas: a measured nan must stay apart from a quantity that a row lacks,
and the command line checks a folder's rows before it loads anything slow.
"""

import csv
import io
from pathlib import Path

from dreal_tf.errors import InputError

KEYS = ("arm", "seed", "seconds")  # First columns of a study's rows; all others are measured.


def rows_text(rows, columns=KEYS):
    """Rows as the text of a CSV file.

    Args:
        rows: sequence of dicts; the cell of a column that a row lacks stays empty.
        columns: sequence of str, those that come first.
    Returns:
        str.
    Example:
        >>> rows_text([{"arm": "a", "seed": 0, "seconds": 1.5, "accuracy": 0.5}]).split()
        ['arm,seed,seconds,accuracy', 'a,0,1.5,0.5']
    """
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def parse_rows(text):
    """The rows of a study that `rows_text` wrote, without their empty cells.

    Args:
        text: str.
    Returns:
        List of dicts: `arm` (str), `seed` (int), `seconds` (float), and floats by quantity.
    Example:
        >>> parse_rows("arm,seed,seconds,accuracy\\na,0,1.5,\\n")
        [{'arm': 'a', 'seed': 0, 'seconds': 1.5}]
    """
    rows = []
    for cells in csv.DictReader(io.StringIO(text)):
        measured = {name: float(cell) for name, cell in cells.items() if cell and name not in KEYS}
        keys = {"arm": cells["arm"], "seed": int(cells["seed"]), "seconds": float(cells["seconds"])}
        rows.append(keys | measured)
    return rows


def read_known_rows(path, study):
    """Rows of a study that were made elsewhere.

    Args:
        path: str or path of a file that `rows_text` wrote.
        study: `dreal_tf.Study` that the rows belong to.
    Returns:
        List of dicts.
    Raises:
        InputError: if the file cannot be read, or holds rows of something else.
    """
    try:
        rows = parse_rows(Path(path).read_text(encoding="utf-8"))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"Expected a file of a study's rows. Received: {str(path)!r}, which cannot be read as one "
            f"({type(error).__name__}: {error}). Give the rows.csv of a study's folder."
        ) from error
    if unknown := sorted({row["arm"] for row in rows} - set(study.arms)):
        raise InputError(
            f"Expected rows of the arms of {study.name} in {str(path)!r}. Received: {unknown[0]!r}. "
            "Give the rows of this study."
        )
    return rows
