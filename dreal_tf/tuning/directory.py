"""The files that a search leaves, and who may write them."""

import contextlib
import fcntl
import json
from pathlib import Path

from dreal_tf.errors import InputError
from dreal_tf.run_directory import RunDirectory, write_whole


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
        """The results of the search, see `dreal_tf.tuning.results`."""
        return json.loads(self.results.read_text())

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
        if not self.settings.is_file():
            if self.path.exists() and (
                not self.path.is_dir()
                or any(p for p in self.path.iterdir() if not p.name.startswith(("lock", "trials")))
            ):
                raise InputError(
                    "Expected a new folder, or one that holds a search. Received: "
                    f"{str(self.path)!r}, which holds something else. Choose another --out."
                )
            return
        stored, ours = json.loads(self.settings.read_text()), json.loads(json.dumps(settings))
        if differing := [name for name in ours if stored.get(name) != ours[name]]:
            shown = [f"{n}={stored.get(n)!r}, now {ours[n]!r}"[:160] for n in differing[:5]]
            raise InputError(
                f"Expected the search that {str(self.path)!r} holds. Received: another; they differ "
                f"in {'; '.join(shown)}. Choose another --out, or repeat the command as it was."
            )

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
        with contextlib.ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context((self.path / "lock").open("w"))
                own = lock if sharer is None else (self.path / f"lock_{sharer}").open("w")
                held.enter_context(own)
                self.trials.mkdir(exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"Expected a folder that can be written. Received: {str(self.path)!r} "
                    f"({error.strerror}). Choose another --out."
                ) from error
            self._lock(lock, fcntl.LOCK_EX if sharer is None else fcntl.LOCK_SH)
            if sharer is not None:
                self._lock(own, fcntl.LOCK_EX)
            with alone(self.path / "lock_settings"):
                write_json(self.settings, settings)
            yield

    def _lock(self, lock, kind):
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)  # Gone with the process.
        except OSError as error:
            raise InputError(
                f"Expected a search of one's own. Received: {str(self.path)!r}, into which another "
                "command writes. Wait for it, choose another --out, or give each of several workers "
                "a KERASTUNER_TUNER_ID of its own."
            ) from error


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
        return json.loads(self.result.read_text())


@contextlib.contextmanager
def alone(path):
    """Waits until no other process is inside with the same file.

    Args:
        path: path of a file that is made for it.
    Example:
        >>> with alone(Path("lock")):
        ...     Path("lock").exists()
        True
    """
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_json(path, values):
    """Writes a JSON file so that it is there whole or not at all.

    Args:
        path: path.
        values: what JSON can hold.
    """
    write_whole(path, json.dumps(values, indent=2) + "\n")
