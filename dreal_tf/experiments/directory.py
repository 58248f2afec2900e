"""The folder of a study or a search: its rows and files, the settings they belong to, and who may write them."""

import contextlib
import csv
import io
import json
import os

from filelock import FileLock, Timeout

from dreal_tf.errors import InputError, checked_path
from dreal_tf.storage import (
    PREFIX,
    SUMS,
    check_sums,
    csv_rows,
    is_ours,
    read_json,
    read_kept,
    reading,
    replacing,
    reporting_disk_errors,
    reporting_unwritable,
    sums_text,
    write_json,
    write_sealed,
    write_whole,
)
from dreal_tf.training.run_directory import RunDirectory

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
    Raises:
        ValueError, csv.Error: if it is cut short, or not such a text.
    Example:
        >>> parse_rows("arm,seed,seconds,accuracy\\na,0,1.5,\\n")
        [{'arm': 'a', 'seed': 0, 'seconds': 1.5}]
    """
    rows = []
    header, lines = csv_rows(text, KEYS)
    for line in lines:
        cells = dict(zip(header, line, strict=True))
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
    with reading(path, "a file of a study's rows", "Give the rows.csv of a study's folder."):
        rows = parse_rows(read_kept(path).decode())
    if unknown := sorted({row["arm"] for row in rows} - set(study.arms)):
        raise InputError(
            f"Expected rows of the arms of {study.name} in {str(path)!r}. Received: {unknown[0]!r}. "
            "Give the rows of this study."
        )
    return rows


DAMAGED = "Restore the file from a copy, or begin anew in another --out."
NUMBER = float | int | None
TRIAL_FIELDS = {"trial": str, "status": str, "score": NUMBER, "best_epoch": NUMBER, "epochs": int}
TRIAL_FIELDS |= {"seconds": NUMBER, "curve": list, "values": dict, "recipe": str}
PATIENCE = 10  # Seconds to wait for another process that is just taking or refusing its lock.
SHOWN = 5  # Differing settings that an error lists.


class ExperimentDirectory:
    """The common part of the folders of studies and searches.

    Args:
        path: str or path.
    Attributes:
        settings, rows, table, figure, logs: paths of the files and folders in it.
    """

    kind = None  # "study" or "search".
    is_sealed = True  # Whether `SHA256SUMS`, if it is there, is of the files as they are.
    row_file = "rows.csv"
    fields = {}  # Settings that every such folder holds, and their types.
    in_use_hint = ""

    def __init__(self, path):
        self.path = checked_path(path)
        self.settings = self.path / f"{self.kind}.json"
        self.rows = self.path / self.row_file
        self.table = self.path / "table.md"
        self.figure = self.path / "figure.png"
        self.logs = self.path / "logs"

    def read_settings(self):
        """The settings of the experiment in this folder.

        Returns:
            Dict; None if the folder is new.
        Raises:
            InputError: if the folder holds something else.
        """
        for path in (self.settings, self.rows):
            if os.path.lexists(path) and not path.is_file():
                raise InputError(
                    f"Expected a file of a {self.kind}. Received: {str(path)!r}, which is a folder or a link "
                    f"to nothing. Move it away. {DAMAGED}"
                )
        if self.settings.is_file():
            return read_json(self.settings, f"the settings of a {self.kind}", DAMAGED, self.fields)
        if self.path.exists() and not (self.path.is_dir() and all(map(is_ours, self.path.iterdir()))):
            raise InputError(
                f"Expected a new folder, or one that holds a {self.kind}. Received: "
                f"{str(self.path)!r}, which holds something else. Choose another --out."
            )
        return None

    def write_summary(self, lines, figure):
        """Writes the table and the figure of the results.

        Args:
            lines: sequence of str, of Markdown.
            figure: `matplotlib.figure.Figure`.
        """
        write_whole(self.table, "\n".join(lines) + "\n")
        for path in (self.figure, self.figure.with_suffix(".svg")):
            with replacing(path) as new:
                figure.savefig(new, dpi=160)

    @contextlib.contextmanager
    def begin(self, settings, worker=None):
        """Writes the settings into the folder and keeps other commands out of it.

        Args:
            settings: dict of what JSON can hold, see `check`.
            worker: str or None. Name of this process among the workers that share the folder; None: it
                works alone.
        Raises:
            InputError: as `check`, and if the folder cannot be written or another command writes it.
        """
        self.check(settings)
        in_use = (
            f"Expected a {self.kind} folder of its own. Received: {str(self.path)!r}, into which another "
            f"command writes. Wait for it, or choose another --out{self.in_use_hint}."
        )
        with locked_folder(self.path, in_use, worker), reporting_disk_errors(self.path):
            with FileLock(lock_of(self.path, "settings")):  # Workers write the same settings.
                if self.is_sealed:
                    check_sums(self.path)
                (self.path / SUMS).unlink(missing_ok=True)  # The files will change.
                write_json(self.settings, self.check(settings))
            yield


class StudyDirectory(ExperimentDirectory):
    """A study's folder.

    Args:
        path: str or path.
    Attributes:
        networks, runs: paths of folders, beside those of `ExperimentDirectory`.
    Example:
        >>> StudyDirectory("studies/none_such").read_rows()
        []
    """

    kind = "study"
    fields = {"what": str, "arms": dict}

    def __init__(self, path):
        super().__init__(path)
        self.networks = self.path / "networks"
        self.runs = self.path / "runs"

    def check(self, settings):
        """Checks that a study may begin or continue here; writes nothing.

        Args:
            settings: dict, see `dreal_tf.Study.settings`.
        Returns:
            Dict: the settings to write, with those of other arms that have rows.
        Raises:
            InputError: if the folder holds something else, or rows of these arms with other settings.
        """
        stored = self.read_settings()
        if stored is None:
            return settings
        if stored["what"] != settings["what"]:
            raise InputError(
                f"Expected a study of {settings['what']!r} in {str(self.path)!r}. Received: one of "
                f"{stored['what']!r}. Choose another --out."
            )
        arms_with_rows = {row["arm"] for row in self.read_rows()}
        kept = {arm: fields for arm, fields in stored["arms"].items() if arm in arms_with_rows}
        for arm, fields in settings["arms"].items():
            if arm in kept and (differences := _differences(kept[arm], fields)):
                raise InputError(
                    f"Expected rows of the same settings in {str(self.rows)!r}. Received: rows of "
                    f"the arm {arm!r} made with {differences}. Choose another --out, or rename the arm."
                )
        return settings | {"arms": kept | settings["arms"]}

    def finish(self):
        """Records the SHA-256 of the files that a later command reads."""
        write_whole(self.path / SUMS, sums_text([self.settings, self.rows], self.path))

    def read_rows(self):
        """The rows so far, see `dreal_tf.experiments.directory.parse_rows`."""
        if not self.rows.is_file():
            return []
        with reading(self.rows, "the rows of a study", DAMAGED):
            return parse_rows(read_kept(self.rows).decode())

    def add_rows(self, rows):
        """Adds rows, except those whose arm and seed have one; the file is whole at every moment.

        Args:
            rows: sequence of dicts with `arm`, `seed`, `seconds` and the measured quantities.
        """
        existing = self.read_rows()
        done = {(row["arm"], row["seed"]) for row in existing}
        new = [row for row in rows if (row["arm"], row["seed"]) not in done]
        if new:
            write_whole(self.rows, rows_text([*existing, *new]))


class SearchDirectory(ExperimentDirectory):
    """A search's folder.

    Args:
        path: str or path.
    Attributes:
        results: path of the file that is written last.
        trials, tensorboard: paths of folders, beside those of `ExperimentDirectory`.
        best, baseline, best_baseline: `RunDirectory`: the best trial, trained to its end; the recipe
            without the method; the best trial's recipe without the method.
    Example:
        >>> SearchDirectory("searches/none_such").finished
        False
    """

    kind, fields = "search", {"space": dict}
    row_file = "trials.csv"
    in_use_hint = ", or give each of several workers a KERASTUNER_TUNER_ID of its own"

    def __init__(self, path):
        super().__init__(path)
        self.results = self.path / "results.json"
        self.trials = self.path / "trials"
        self.tensorboard = self.path / "tensorboard"
        self.best = RunDirectory(self.path / "best")
        self.baseline = RunDirectory(self.path / "baseline")
        self.best_baseline = RunDirectory(self.path / "best_baseline")

    @property
    def is_sealed(self):
        return self.finished  # A command that was killed at its end has left no results.

    def finish(self, results):
        """Writes the results, and the SHA-256 of the files that a later command reads.

        Args:
            results: what JSON can hold.
        """
        files = [self.settings, self.rows, self.trials / "oracle.json"]
        files += self.trials.glob("trial_*/*.json")
        write_sealed(self.results, json.dumps(results, indent=2) + "\n", files, self.path)

    @property
    def finished(self):
        """Whether a search has ended here: its results are written last."""
        return self.results.is_file()

    def check(self, settings):
        """Checks that a search may begin or continue here; writes nothing.

        Args:
            settings: dict, see `dreal_tf.Search.settings`.
        Returns:
            Dict: the settings to write.
        Raises:
            InputError: if the folder holds something else, or another search.
        """
        stored = self.read_settings()
        if stored is not None and (differences := _differences(stored, settings)):
            raise InputError(
                f"Expected the search that {str(self.path)!r} holds. Received: another; they differ "
                f"in {differences}. Choose another --out, or repeat the command as it was."
            )
        rows = self.rows.read_text(encoding="utf-8", errors="replace") if self.rows.is_file() else ""
        if rows and not rows.startswith("trial,status,"):
            raise InputError(
                f"Expected the trials of the search in {str(self.path)!r}. Received: {self.rows.name}, "
                "which another program wrote. Move it away."
            )
        return settings

    def trial(self, number):
        """The `Trial` of a number (str), which Keras Tuner gives."""
        return Trial(self.trials / f"trial_{number}")

    def ended_trials(self):
        """List of `Trial`: those that have ended, in their order."""
        ended = [Trial(path.parent) for path in self.trials.glob("trial_*/result.json")]
        return sorted(ended, key=lambda trial: int(trial.number))


class Trial:
    """A trial's folder.

    Args:
        path: path.
    Attributes:
        number: str, by which Keras Tuner knows it.
        run: `RunDirectory`.
        result: path of the file that is written when it has ended.
    Example:
        >>> Trial(Path("trials/trial_07")).number
        '07'
    """

    def __init__(self, path):
        self.path = path
        self.number = path.name.removeprefix("trial_")
        self.run = RunDirectory(path / "run")
        self.result = path / "result.json"

    def read(self):
        """The trial's result.

        Returns:
            Dict: `trial`, `status` ("completed" or "diverged"), `score`, `best_epoch`, `epochs`
            (trained), `seconds`, `curve`, `values` (by path), `recipe` (JSON text).
        """
        return read_json(self.result, "the result of a trial", DAMAGED, TRIAL_FIELDS)


@contextlib.contextmanager
def locked_folder(path, in_use, worker=None):
    """Makes a folder and keeps other commands out of it; the locks end with the process.

    Args:
        path: path of the folder.
        in_use: str, the error message when another command writes into the folder.
        worker: str or None. Name of this process among the workers that share the folder; None: it
            works alone.
    Raises:
        InputError: if the folder cannot be written, or another command writes into it.
    Example:
        >>> with locked_folder(Path("study"), "The folder is in use."):
        ...     Path("study").is_dir()
        True
    """
    alone = lock_of(path, "alone")
    with contextlib.ExitStack() as held:
        with reporting_unwritable(path):
            os.makedirs(os.path.realpath(path), exist_ok=True)
            try:
                with FileLock(lock_of(path, "taking"), timeout=PATIENCE):  # By one process at a time.
                    if worker is not None:
                        _check_free([alone])
                        held.enter_context(FileLock(lock_of(path, f"worker-{worker}"), timeout=0))
                    else:
                        _check_free(path.glob(lock_of(path, "worker-*").name))
                        held.enter_context(FileLock(alone, timeout=0))
            except Timeout as error:
                raise InputError(in_use) from error
        yield


def lock_of(folder, name):
    """The path of a lock in a folder that several processes may share.

    Args:
        folder: path.
        name: str, of what it guards.
    Example:
        >>> lock_of(Path("search"), "settings").name
        '.dreal_tf-lock-settings'
    """
    return folder / f"{PREFIX}lock-{name}"


def _check_free(paths):
    for path in paths:
        with FileLock(path, timeout=0):
            pass


def _differences(stored, settings):
    """The first settings that differ, as text; empty if none does."""
    settings = json.loads(json.dumps(settings))  # Tuples become lists, as in the file.
    names = [n for n in {**stored, **settings} if stored.get(n, ...) != settings.get(n, ...)]
    shown = [f"{n}={stored.get(n)!r}, now {settings.get(n)!r}"[:160] for n in names[:SHOWN]]
    return "; ".join(shown)
