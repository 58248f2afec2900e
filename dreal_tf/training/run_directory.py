"""The directory of a run: its files and their state."""

import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from dreal_tf.errors import InputError, checked_path
from dreal_tf.storage import (
    SUMS,
    csv_rows,
    is_ours,
    read_json,
    read_kept,
    reading,
    remove_whole,
    reporting_unwritable,
    write_json,
    write_sealed,
    write_whole,
)
from dreal_tf.training.recipe import Recipe

RESTORE = "Restore the file from a copy, or train the recipe again with `dreal-tf train --fresh`."
FINISH_AGAIN = (
    "If the run has checkpoints, remove the file and metrics.json and repeat `dreal-tf train` with the same "
    "--out, which writes both again."
)


CURE_OF_PREPROCESSING = f"{RESTORE} {FINISH_AGAIN}"


class RunDirectory:
    """The directory of a run.

    Args:
        path: str or path.
    Raises:
        InputError: if this system can have no such path.
    Attributes:
        recipe, environment, splits, history, metrics, network, preprocessing, sums, checkpoints,
            tensorboard: paths of the files and folders in it.
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
        self.sums = self.path / SUMS
        self.files = (self.recipe, self.environment, self.splits, self.history, self.metrics)
        self.files += (self.network, self.preprocessing)
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
        kept = read_json(
            self.preprocessing, "the names of classes", CURE_OF_PREPROCESSING, {"class_names": list}
        )
        return tuple(kept["class_names"])

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
        self._check_files()
        if not self.started:
            if not self.is_new:
                raise InputError(
                    f"Expected a new folder, or one that holds a run. Received: {str(self.path)!r}, "
                    "which holds something else. Choose another --out."
                )
            return
        if fresh:
            if Path.cwd().is_relative_to(self.path.resolve()):
                raise InputError(
                    "Expected to start outside the run that --fresh moves aside. Received: "
                    f"{str(self.path)!r}, which is or holds the current folder. Repeat the command in another "
                    "folder, with the path from there."
                )
            return
        if differences := recipe_differences(self.read_recipe(), recipe):
            raise InputError(
                f"Expected the recipe of the run in {str(self.path)!r}. Received: another; they "
                f"differ in {', '.join(differences)}. Choose another --out, or begin anew with "
                "--fresh, which moves the old run aside."
            )
        # Training makes `checkpoints` before all files but the recipe.
        written = self.environment, self.history, self.network, self.preprocessing
        foreign = [path for path in written if path.exists() and not self.checkpoints.exists()]
        if foreign and not self.finished:
            raise InputError(
                f"Expected the checkpoints of the run in {str(self.path)!r}. Received: {foreign[0].name} "
                "without them. Choose another --out, or begin anew with --fresh, which moves the folder "
                "aside."
            )

    @property
    def is_new(self):
        """Whether the folder is absent, or holds nothing but the rest of a killed command."""
        if not self.path.is_dir():
            return not os.path.exists(self.path)
        return all(map(is_ours, self.path.iterdir()))

    def begin(self, recipe, fresh=False):
        """Prepares the folder for a run of `recipe`, or for its continuation.

        Args:
            recipe: `dreal_tf.Recipe`.
            fresh: bool. Move a run here aside and begin anew.
        Raises:
            InputError: as `check`, or if the folder is not writable.
        """
        self.check(recipe, fresh)
        with reporting_unwritable(self.path):
            real = Path(os.path.realpath(self.path))  # A link to it stays.
            if fresh and self.started:
                real.rename(_aside(real))
            real.mkdir(parents=True, exist_ok=True)
            self.sums.unlink(missing_ok=True)  # The run is not finished from here on.
            write_whole(self.recipe, recipe.to_json())
            self.checkpoints.mkdir(exist_ok=True)

    def remove(self):
        """Removes the run, if there is one; a folder that holds other files too is moved aside."""
        known = {path.name for path in vars(self).values() if isinstance(path, Path)}
        if self.path.is_dir():
            if all(path.name in known or is_ours(path) for path in self.path.iterdir()):
                remove_whole(self.path)
            else:
                self.path.rename(_aside(self.path))

    def read_recipe(self):
        """The recipe of the run.

        Raises:
            InputError: if there is no run here, or the file is damaged.
        """
        self._check_files()
        if not self.started:
            raise InputError(
                f"Expected the folder of a run. Received: {str(self.path)!r}, which has no "
                "recipe.json. Train one with `dreal-tf train RECIPE --out DIR`."
            )
        source = str(self.recipe)
        with reading(self.recipe, "the recipe of a run", RESTORE):
            try:
                return Recipe.from_json(read_kept(self.recipe).decode(), source)
            except InputError as error:
                raise error if source in str(error) else InputError(f"{error} ({source})") from error

    def read_metrics(self):
        """The final metrics of the run.

        Raises:
            InputError: if the run has not finished, or the file is damaged.
        """
        if not self.finished:
            raise InputError(
                f"Expected a finished run. Received: {str(self.path)!r}, which has no metrics.json. "
                "Finish it with `dreal-tf train` and the same --out."
            )
        cure = "Remove it and repeat `dreal-tf train` with the same --out, which writes it again."
        with reading(self.metrics, "the metrics of a run", cure):
            metrics = read_json(self.metrics, "the metrics of a run", cure)
            _Metrics.model_validate(metrics)
        return metrics

    def read_environment(self):
        """Dict of versions, devices, seed and command of the run; empty if no file records them.

        Raises:
            InputError: if the file is damaged.
        """
        if not self.environment.is_file():
            return {}
        expected, cure = "the environment of a run", f"{RESTORE} The run is whole without this file."
        with reading(self.environment, expected, cure):
            environment = read_json(self.environment, expected, cure)
            _Environment.model_validate(environment)
        return environment

    def read_preprocessing(self):
        """Dict of the fields of `dreal_tf.data.preprocessing.Preprocessing`; None if no file records them.

        Raises:
            InputError: if the file is damaged.
        """
        if not self.preprocessing.is_file():
            return None
        expected = "the preprocessing of a network's images"
        with reading(self.preprocessing, expected, CURE_OF_PREPROCESSING):
            kept = read_json(self.preprocessing, expected, CURE_OF_PREPROCESSING)
            return checked_preprocessing(kept)

    def finish(self, metrics):
        """Writes the metrics of a run, which say that it has finished, and the SHA-256 of its files.

        Args:
            metrics: dict of what JSON can hold.
        """
        others = [path for path in self.files if path != self.metrics]
        write_sealed(self.metrics, json.dumps(metrics, indent=2) + "\n", others, self.path)

    def _check_files(self):
        """Refuses kept files that are no regular files, and kept folders that are none."""
        for path in (*self.files, self.checkpoints, self.tensorboard):
            folder = path in (self.checkpoints, self.tensorboard)
            if os.path.lexists(path) and not (path.is_dir() if folder else path.is_file()):
                raise InputError(
                    f"Expected a {'folder' if folder else 'file'} of a run. Received: {str(path)!r}, which is "
                    f"not one. Move it away. {RESTORE}"
                )

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
            "versions": {package: installed_version(package) for package in packages},
            "seed": seed,
            "git_revision": _git_revision(),
            "command": sys.argv,
        }
        write_json(self.environment, environment)


class _Metrics(pydantic.BaseModel):
    """The fields of `metrics.json` that commands read."""

    accuracy: float
    loss: float | None = None
    best_epoch: int | None = None
    validation_accuracy: float | None = None
    training_seconds: float | None = None


class _Environment(pydantic.BaseModel):
    """The fields of `environment.json` that a report reads."""

    versions: dict[str, str | None] = {}
    command: list[pydantic.InstanceOf[str]] = []  # A path need not be UTF-8.


_Side = Annotated[int, pydantic.Field(gt=0, le=2**13)]  # Pixels; the bound spares the memory.


class _Preprocessing(pydantic.BaseModel, extra="forbid"):
    """The fields of `dreal_tf.data.preprocessing.Preprocessing`, whose file imports TensorFlow."""

    image_shape: tuple[_Side, _Side, Literal[1, 3]]
    mean: tuple[pydantic.FiniteFloat, ...]
    deviation: tuple[Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)], ...]
    top: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
    window: Literal["central", "whole"]
    class_names: tuple[pydantic.InstanceOf[str], ...]  # Not `str`: names need not be UTF-8.


def checked_preprocessing(values):
    """The fields of a stored `dreal_tf.data.preprocessing.Preprocessing`.

    Args:
        values: what JSON held.
    Returns:
        Dict.
    Raises:
        pydantic.ValidationError, ValueError: if they are of other types, or do not fit each other.
    """
    fields = _Preprocessing.model_validate(values).model_dump()
    for name in ("mean", "deviation"):
        if len(fields[name]) not in (1, fields["image_shape"][-1]):
            raise ValueError(f"it has {len(fields[name])} values of {name}")
    return fields


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


def read_history(path, epochs=1):
    """The rows of a `history.csv`.

    Args:
        path: str or path.
        epochs: int. Epochs that it must hold, at least.
    Returns:
        List of dicts from column to float, without a last row that a kill has cut short; `epoch` is an
        int, the row's number from 1, also where an earlier version counted from 0.
    Raises:
        InputError: if it is not there, is damaged, or lacks epochs.
    """
    with reading(path, f"the history of a run, a row for each of {epochs} epochs", RESTORE):
        text = read_kept(path).decode()
        whole = text[: text.rfind("\n") + 1]  # A kill may have cut the last row short.
        header, cells = csv_rows(whole, ("epoch",))
        rows = [{k: float(v) for k, v in zip(header, row, strict=True) if v} for row in cells]
        numbers = [row.get("epoch") for row in rows]
        from_0_or_1 = [list(range(first, first + len(rows))) for first in (0, 1)]
        if numbers not in from_0_or_1 or len(rows) < epochs:
            raise ValueError(f"it has the epochs {numbers}" if rows else "it is empty")
        return [row | {"epoch": number} for number, row in enumerate(rows, start=1)]


def _aside(path):
    """A free name beside a folder."""
    aside = path.with_name(f"{path.name}.{datetime.now():%Y%m%d-%H%M%S}")
    return aside.with_name(f"{aside.name}-{os.getpid()}") if os.path.lexists(aside) else aside


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
        fields = dict.fromkeys([*one[section], *other[section]])  # Another kind has other fields.
        paths += [
            f"{section}.{f}" for f in fields if one[section].get(f, ...) != other[section].get(f, ...)
        ]
    return paths


def installed_version(package):
    """The version of an installed package, a str; None if it is not installed.

    Args:
        package: str.
    Example:
        >>> installed_version("no-such-package") is None
        True
    """
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
