"""The files that a search leaves, and who may write them."""

import contextlib
import json
from pathlib import Path

from filelock import FileLock

from dreal_tf.errors import InputError
from dreal_tf.experiments.locks import locked_folder
from dreal_tf.training.run_directory import RunDirectory, write_whole


class SearchDirectory:
    """A search's folder.

    Args:
        path: str or path.
    Attributes:
        settings, results, rows, table, figure: paths of the files in it.
        trials, tensorboard, logs: paths of the folders in it.
        best, baseline, best_baseline: `RunDirectory`: the best trial, trained to its end; the recipe
            without the method; the best trial's recipe without the method.
    Example:
        >>> SearchDirectory("searches/none_such").finished
        False
    """

    def __init__(self, path):
        self.path = Path(path)
        self.settings = self.path / "search.json"
        self.results = self.path / "results.json"
        self.rows = self.path / "trials.csv"
        self.table = self.path / "table.md"
        self.figure = self.path / "figure.png"
        self.trials = self.path / "trials"
        self.tensorboard = self.path / "tensorboard"
        self.logs = self.path / "logs"
        self.best = RunDirectory(self.path / "best")
        self.baseline = RunDirectory(self.path / "baseline")
        self.best_baseline = RunDirectory(self.path / "best_baseline")

    @property
    def finished(self):
        """Whether a search was ended here: its results are written last."""
        return self.results.is_file()

    def read_results(self):
        """The results of the search, see `dreal_tf.experiments.tuning.results`."""
        return json.loads(self.results.read_text(encoding="utf-8"))

    def trial(self, number):
        """The folder of a trial, which Keras Tuner names.

        Args:
            number: str.
        Returns:
            `Trial`.
        """
        return Trial(self.trials / f"trial_{number}")

    def ended_trials(self):
        """All trials that have ended, in their order.

        Returns:
            List of `Trial`.
        """
        found = [Trial(path.parent) for path in self.trials.glob("trial_*/result.json")]
        return sorted(found, key=lambda trial: int(trial.number))

    def check(self, settings):
        """Whether a search of these settings may begin here, or go on; writes nothing.

        Args:
            settings: dict from str to what JSON can hold.
        Raises:
            InputError: if the folder holds something else, or another search.
        """
        if self.path.exists() and not self._may_hold_search():
            raise InputError(
                "Expected a new folder, or one that holds a search. Received: "
                f"{str(self.path)!r}, which holds something else. Choose another --out."
            )
        if not self.settings.is_file():
            return
        stored, ours = (
            json.loads(self.settings.read_text(encoding="utf-8")),
            json.loads(json.dumps(settings)),
        )
        if differing := [name for name in ours if stored.get(name) != ours[name]]:
            shown = [f"{n}={stored.get(n)!r}, now {ours[n]!r}"[:160] for n in differing[:5]]
            raise InputError(
                f"Expected the search that {str(self.path)!r} holds. Received: another; they differ "
                f"in {'; '.join(shown)}. Choose another --out, or repeat the command as it was."
            )

    def _may_hold_search(self):
        if not self.path.is_dir() or (self.trials.exists() and not self.trials.is_dir()):
            return False
        names = [path.name for path in self.path.iterdir()]  # A killed start leaves locks and trials.
        return self.settings.is_file() or all(n == "trials" or n.startswith("lock") for n in names)

    @contextlib.contextmanager
    def begin(self, settings, sharer=None):
        """Makes the folder ready for a search, and keeps other commands out.

        Args:
            settings: see `check`.
            sharer: str or None. Name of this process among those that share the search; None: it is
                alone.
        Raises:
            InputError: as `check`, and if the folder cannot be written or another command writes it.
        """
        self.check(settings)
        in_use = (
            f"Expected a search of one's own. Received: {str(self.path)!r}, into which another command "
            "writes. Wait for it, choose another --out, or give each of several workers a "
            "KERASTUNER_TUNER_ID of its own."
        )
        with locked_folder(self.path, in_use, sharer):
            self.trials.mkdir(exist_ok=True)
            with FileLock(self.path / "lock_settings"):
                write_json(self.settings, settings)
            yield


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
        """What the trial came to.

        Returns:
            Dict: `trial`, `status` ("completed" or "diverged"), `score`, `best_epoch`, `epochs`
            (trained), `seconds`, `curve`, `values` (by path), `recipe` (JSON text).
        """
        return json.loads(self.result.read_text(encoding="utf-8"))


def write_json(path, values):
    """Writes a JSON file so that it is there whole or not at all.

    Args:
        path: path.
        values: what JSON can hold.
    """
    write_whole(path, json.dumps(values, indent=2) + "\n")
