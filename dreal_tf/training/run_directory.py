"""The directory of a run: its files and their state."""

import contextlib
import errno
import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

from dreal_tf.errors import InputError, RunError, checked_path
from dreal_tf.recipe import Recipe


class RunDirectory:
    """The directory of a run.

    Args:
        path: str or path.
    Raises:
        InputError: if this system can have no such path.
    Attributes:
        recipe, environment, splits, history, metrics, network, preprocessing, checkpoints, tensorboard:
            paths of the files and folders in it.
    Example:
        >>> RunDirectory("runs/none_such").finished
        False
    """

    def __init__(self, path):
        self.path = checked_path(path)
        self.recipe = self.path / "recipe.json"
        self.environment = self.path / "environment.json"
        self.splits = self.path / "splits.csv"
        self.history = self.path / "history.csv"
        self.metrics = self.path / "metrics.json"
        self.network = self.path / "model.keras"
        self.preprocessing = self.path / "preprocessing.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"

    @property
    def started(self):
        """Whether a run was started here."""
        return self.recipe.is_file()

    @property
    def finished(self):
        """Whether the run here has finished: it writes its metrics last."""
        return self.metrics.is_file()

    @property
    def class_names(self):
        """Tuple of str, the classes of the network saved here; None if no file records them."""
        if not self.preprocessing.is_file():
            return None
        return tuple(json.loads(self.preprocessing.read_text(encoding="utf-8"))["class_names"])

    @property
    def recorded_splits(self):
        """The path of the run's recorded splits; None if it recorded none."""
        return self.splits if self.splits.is_file() else None

    def check(self, recipe, fresh=False):
        """Checks that a run of `recipe` may start or continue here; writes nothing.

        Args:
            recipe: `dreal_tf.Recipe`.
            fresh: bool. A run here will be moved aside.
        Raises:
            InputError: if the folder contains something else, or a run of another recipe; the
                location of the data is no difference.
        """
        if not self.started:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise InputError(
                    f"Expected a new folder, or one that holds a run. Received: {str(self.path)!r}, "
                    "which holds something else. Choose another --out."
                )
        elif not fresh and (differences := recipe_differences(self.read_recipe(), recipe)):
            raise InputError(
                f"Expected the recipe of the run in {str(self.path)!r}. Received: another; they "
                f"differ in {', '.join(differences)}. Choose another --out, or begin anew with "
                "--fresh, which moves the old run aside."
            )

    def begin(self, recipe, fresh=False):
        """Prepares the folder for a run of `recipe`, or for its continuation.

        Args:
            recipe: `dreal_tf.Recipe`.
            fresh: bool. Move a run here aside and begin anew.
        Raises:
            InputError: as `check`, or if the folder is not writable.
        """
        self.check(recipe, fresh)
        try:
            if fresh and self.started:
                self.path.rename(self._aside())
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_whole(self.recipe, recipe.to_json())
        except OSError as error:
            raise InputError(
                f"Expected a folder that can be written. Received: {str(self.path)!r} "
                f"({error.strerror}). Choose another --out."
            ) from error

    def _aside(self):
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        aside = self.path.with_name(f"{self.path.name}.{stamp}")
        return aside if not aside.exists() else aside.with_name(f"{aside.name}-{os.getpid()}")

    def read_recipe(self):
        """The recipe of the run.

        Raises:
            InputError: if there is no run here.
        """
        if not self.started:
            raise InputError(
                f"Expected the folder of a run. Received: {str(self.path)!r}, which has no "
                "recipe.json. Train one with `dreal-tf train RECIPE --out DIR`."
            )
        return Recipe.from_json(self.recipe.read_text(encoding="utf-8"), source=str(self.recipe))

    def read_metrics(self):
        """The final metrics of the run.

        Raises:
            InputError: if the run has not finished.
        """
        if not self.finished:
            raise InputError(
                f"Expected a finished run. Received: {str(self.path)!r}, which has no metrics.json. "
                "Finish it with `dreal-tf train` and the same --out."
            )
        try:
            return json.loads(self.metrics.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise InputError(
                f"Expected metrics as JSON. Received: {str(self.metrics)!r}, which is not JSON "
                f"({error}). Remove it and repeat the command, which writes it again."
            ) from error

    def write_environment(self, seed, devices):
        """Records versions, devices, seed and command of the run.

        Args:
            seed: int.
            devices: sequence of str.
        """
        packages = ("dreal-tf", "tensorflow", "keras", "numpy")
        environment = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "devices": list(devices),
            "versions": {package: _version(package) for package in packages},
            "seed": seed,
            "git_revision": _git_revision(),
            "command": sys.argv,
        }
        write_whole(self.environment, json.dumps(environment, indent=2) + "\n")


def finished_run(run_path):
    """The directory of a run that has trained weights.

    Args:
        run_path: str or path.
    Returns:
        `RunDirectory`.
    Raises:
        InputError: if there is no run, or it has no weights yet.
    """
    run = RunDirectory(run_path)
    run.read_recipe()
    if not run.network.is_file():
        raise InputError(
            f"Expected a run with trained weights. Received: {str(run.path)!r}, which has no "
            "model.keras. Finish it with `dreal-tf train` and the same --out."
        )
    return run


def write_whole(path, content):
    """Writes a file so that it exists whole or not at all.

    Args:
        path: path.
        content: str or bytes.
    """
    if isinstance(content, str):  # The name of a file, as in splits.csv, need not be UTF-8.
        content = content.encode("utf-8", errors="surrogateescape")
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


@contextlib.contextmanager
def reporting_full_disk(path):
    """Replaces the errors of a full disk, which differ between libraries, by one message.

    Args:
        path: the file or folder that is being written.
    Raises:
        RunError: in place of the error, with what to do.
    Example:
        >>> try:
        ...     with reporting_full_disk("runs/mine"):
        ...         raise OSError("No space left on device")
        ... except RunError as error:
        ...     print(str(error)[:60])
        Expected space to write to 'runs/mine'. Received: a full dis
    """
    try:
        yield
    except Exception as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise RunError(
            f"Expected space to write to {str(path)!r}. Received: a full disk. Free some, then repeat "
            "the command, which continues from the last stored epoch."
        ) from error


def recipe_differences(one, other):
    """The fields in which two recipes differ, the location of the data excepted.

    Args:
        one, other: `dreal_tf.Recipe`.
    Returns:
        List of str, dotted paths.
    Example:
        >>> recipe_differences(Recipe(), Recipe().replace({"optim.momentum": 0.5, "data.folder": "there"}))
        ['optim.momentum']
    """
    one, other = (recipe.replace({"data.folder": None}).model_dump() for recipe in (one, other))
    paths = []
    for section in one:
        if not isinstance(one[section], dict):
            paths += [section] * (one[section] != other[section])
            continue
        paths += [f"{section}.{f}" for f in one[section] if one[section][f] != other[section][f]]
    return paths


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # A checkout that is not installed.


def _git_revision():
    """The commit of the checkout that holds this code; None without one."""
    folder = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    if not (folder.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
