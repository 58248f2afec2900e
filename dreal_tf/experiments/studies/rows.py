"""The rows of a study, kept as they come: one for each arm and seed that has ended."""

import contextlib
import csv
import io
import json
from pathlib import Path

from dreal_tf.errors import InputError
from dreal_tf.experiments.locks import locked_folder
from dreal_tf.training.run_directory import write_whole

KEYS = ("arm", "seed", "seconds")  # The first columns; all others are what was measured.


class StudyDirectory:
    """A study's folder.

    Args:
        path: str or path.
    Attributes:
        rows, settings, table, figure, networks, runs, logs: paths of the files and folders in it.
    Example:
        >>> StudyDirectory("studies/none_such").read_rows()
        []
    """

    def __init__(self, path):
        self.path = Path(path)
        self.rows = self.path / "rows.csv"
        self.settings = self.path / "study.json"
        self.table = self.path / "table.md"
        self.figure = self.path / "figure.png"
        self.networks = self.path / "networks"
        self.runs = self.path / "runs"
        self.logs = self.path / "logs"

    @contextlib.contextmanager
    def begin(self, study, arms):
        """Makes the folder ready for some arms of a study, and keeps other commands out.

        Args:
            study: `Study`.
            arms: sequence of str.
        Raises:
            InputError: if the folder cannot be written, holds something else, is being written by
                another command, or holds rows of these arms made under other settings.
        """
        kept = self._check(study, arms)
        in_use = (
            f"Expected a folder to itself. Received: {str(self.path)!r}, into which another command "
            "writes. Wait for it, or choose another --out."
        )
        with locked_folder(self.path, in_use):
            settings = kept | {arm: study.settings_of(arm) for arm in arms}
            text = json.dumps({"study": study.name, "what": study.what, "arms": settings}, indent=2)
            write_whole(self.settings, text + "\n")
            yield

    def _check(self, study, arms):
        """The settings of the arms that have rows, found to be those of the study."""
        if not self.settings.is_file():
            if self.path.exists() and (
                not self.path.is_dir()
                or any(p for p in self.path.iterdir() if not p.name.startswith("lock"))
            ):
                raise InputError(
                    "Expected a new folder, or one that holds a study. Received: "
                    f"{str(self.path)!r}, which holds something else. Choose another --out."
                )
            return {}
        stored = json.loads(self.settings.read_text(encoding="utf-8"))
        if stored["what"] != study.what:
            raise InputError(
                f"Expected a study of {study.what!r} in {str(self.path)!r}. Received: one of "
                f"{stored['what']!r}. Choose another --out."
            )
        with_rows = {row["arm"] for row in self.read_rows()}
        kept = {arm: settings for arm, settings in stored["arms"].items() if arm in with_rows}
        for arm in arms:
            old, new = kept.get(arm), json.loads(json.dumps(study.settings_of(arm)))
            if old is not None and old != new:
                paths = [p for p in {**old, **new} if old.get(p, ...) != new.get(p, ...)]
                shown = [f"{p}={old.get(p)!r}, now {new.get(p)!r}" for p in paths[:5]]
                raise InputError(
                    f"Expected rows of the same settings in {str(self.rows)!r}. Received: rows of "
                    f"the arm {arm!r} made with {'; '.join(shown)}. Choose another --out, or rename "
                    "the arm."
                )
        return kept

    def read_rows(self):
        """The rows that there are.

        Returns:
            List of dicts: `arm` (str), `seed` (int), `seconds` (float), and floats by column.
        """
        if not self.rows.is_file():
            return []
        return parse_rows(self.rows.read_text(encoding="utf-8"))

    def add_row(self, row):
        """Adds a row; the file is there whole at every moment.

        Args:
            row: dict with `arm`, `seed`, `seconds` and what was measured.
        """
        write_whole(self.rows, rows_text([*self.read_rows(), row]))

    def take_rows(self, rows):
        """Adds rows that were made elsewhere; those of an arm and seed that is there are left out.

        Args:
            rows: sequence of dicts.
        """
        there = self.read_rows()
        done = {(row["arm"], row["seed"]) for row in there}
        new = [row for row in rows if (row["arm"], row["seed"]) not in done]
        if new:
            write_whole(self.rows, rows_text([*there, *new]))


def read_known_rows(path, study):
    """Rows of a study that were made elsewhere.

    Args:
        path: str or path of a file that `rows_text` wrote.
        study: `Study` that they are of.
    Returns:
        List of dicts.
    Raises:
        InputError: if it cannot be read, or holds what is no row of the study.
    """
    try:
        rows = parse_rows(Path(path).read_text(encoding="utf-8"))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"Expected a file of a study's rows. Received: {str(path)!r}, which cannot be read as one "
            f"({type(error).__name__}: {error}). Give the rows.csv of a study's folder."
        ) from error
    if strange := sorted({row["arm"] for row in rows} - set(study.arms)):
        raise InputError(
            f"Expected rows of the arms of {study.name} in {str(path)!r}. Received: {strange[0]!r}. "
            "Give the rows of this study."
        )
    return rows


def rows_text(rows):
    """Rows as the text of a CSV file.

    Args:
        rows: sequence of dicts; a column that a row lacks stays empty.
    Returns:
        str.
    Example:
        >>> rows_text([{"arm": "a", "seed": 0, "seconds": 1.5, "accuracy": 0.5}]).split()
        ['arm,seed,seconds,accuracy', 'a,0,1.5,0.5']
    """
    columns = list(dict.fromkeys([*KEYS, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def parse_rows(text):
    """The rows that `rows_text` wrote; empty cells are left out.

    Args:
        text: str.
    Returns:
        List of dicts.
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
