"""The files that a run leaves, and what state they are in."""

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

from dreal_tf.errors import InputError, RunError
from dreal_tf.recipe import Recipe


class RunDirectory:
    """A run's folder.

    Args:
        path: str or path.
    Attributes:
        recipe, environment, splits, history, metrics, network, preprocessing, checkpoints, tensorboard:
            paths of the files and folders in it.
    Example:
        >>> RunDirectory("runs/none_such").finished
        False
    """

    def __init__(self, path):
        self.path = Path(path)
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
        """Whether a run was begun here."""
        return self.recipe.is_file()

    @property
    def finished(self):
        """Whether a run was ended here: its metrics are written last."""
        return self.metrics.is_file()

    @property
    def class_names(self):
        """Tuple of str, the classes that the network kept here tells apart; None where no file says so."""
        if not self.preprocessing.is_file():
            return None
        return tuple(json.loads(self.preprocessing.read_text(encoding="utf-8"))["class_names"])

    @property
    def recorded_splits(self):
        """The path of the splits that the run has recorded; None if it has none."""
        return self.splits if self.splits.is_file() else None

    def check(self, recipe, fresh=False):
        """Whether a run of `recipe` may begin here, or go on; writes nothing.

        Args:
            recipe: `dreal_tf.Recipe`.
            fresh: bool. A run found here is going to be moved aside.
        Raises:
            InputError: if the folder holds something else, or a run of another recipe. Where the
                data lies makes no other recipe of it.
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
        """Makes the folder ready for a run of `recipe`, or for going on with it.

        Args:
            recipe: `dreal_tf.Recipe`.
            fresh: bool. Move a run found here aside and begin anew.
        Raises:
            InputError: as `check`, and if the folder cannot be written.
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
            InputError: if the run has not ended.
        """
        if not self.finished:
            raise InputError(
                f"Expected a finished run. Received: {str(self.path)!r}, which has no metrics.json. "
                "End it with `dreal-tf train` and the same --out."
            )
        try:
            return json.loads(self.metrics.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise InputError(
                f"Expected metrics as JSON. Received: {str(self.metrics)!r}, which is not JSON "
                f"({error}). Remove it and repeat the command, which measures them again."
            ) from error

    def write_environment(self, seed, devices):
        """Notes what the run is carried out with.

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
            "model.keras. End it with `dreal-tf train` and the same --out."
        )
    return run


def write_whole(path, text):
    """Writes a file so that it is there whole or not at all.

    Args:
        path: path.
        text: str.
    """
    partial = path.with_name(path.name + ".partial")
    # A file's name, as in splits.csv, need not be UTF-8.
    partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    os.replace(partial, path)


@contextlib.contextmanager
def full_disk_said(path):
    """Turns what a full disk raises, which differs from library to library, into one message.

    Args:
        path: where something is being written.
    Raises:
        RunError: saying what to do, in place of an error that tells of a full disk.
    Example:
        >>> try:
        ...     with full_disk_said("runs/mine"):
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
            "the command; what earlier epochs stored is kept."
        ) from error


def recipe_differences(one, other):
    """The fields in which two recipes differ, wherever the data lies.

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
        return None  # Run from a checkout that is not installed.


def _git_revision():
    """Of the checkout the code lies in, where it lies in one."""
    folder = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    if not (folder.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
