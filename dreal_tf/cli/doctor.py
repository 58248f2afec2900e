"""The verb `doctor`."""

import platform
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from dreal_tf import api
from dreal_tf.cli.options import Json, Plugins
from dreal_tf.cli.output import next_command, result
from dreal_tf.errors import RunError
from dreal_tf.training.recipe_files import bundled_recipes, load_recipe

# The lowest and the newest tested versions, see tools/test_versions.
TESTED = {
    "python": ("3.11", "3.13"),
    "tensorflow": ("2.18", "2.21"),
    "keras": ("3.10", "3.15"),
    "numpy": ("1.26", "2.4"),
}
FREE_SPACE = 1.0  # Free disk (GiB) that a run may need.


class Check(NamedTuple):
    """One check: its name, its finding, and the cure if it failed."""

    name: str
    finding: str
    cure: str = ""


def doctor(as_json: Json = False, plugin: Plugins = None):
    """Check the installation and train a small network."""
    checks = [*_versions(), _space(), _recipes(), _devices(), _one_step()]
    broken = [check for check in checks if check.cure and not check.cure.startswith("optional")]
    values = {check.name: {"found": check.finding, "cure": check.cure} for check in checks}
    lines = [
        f"{'ok ' if not check.cure else '-- ' if check not in broken else '!! '}{check.name:<20}"
        f"{check.finding}{'  ' + check.cure if check.cure else ''}"
        for check in checks
    ]
    result(values | {"ok": not broken}, as_json, lines)
    if broken:
        raise RunError(
            f"Expected a complete installation. Received: {', '.join(c.name for c in broken)} broken. "
            "Follow the cure beside each."
        )
    next_command("dreal-tf train digits_resnet8_se")


def _versions():
    versions = {"python": platform.python_version()}
    for package in ("tensorflow", "keras", "numpy", "tensorflow-datasets", "tensorboard", "dreal-tf"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    if versions["dreal-tf"] == "not installed":
        versions["dreal-tf"] = f"run from {Path(__file__).parents[2]}"  # A checkout; not an error.
    for name, version in versions.items():
        yield version_check(name, version)


def version_check(name, version):
    """Checks an installed version.

    Args:
        name: str, of the package.
        version: str, or "not installed".
    Returns:
        `Check`. A version below the tested ones has a cure; one above them has a note.
    Example:
        >>> check = version_check("keras", "3.9.2")
        >>> check.finding, check.cure
        ('3.9.2 (tested with 3.10 to 3.15)', "python -m pip install 'keras>=3.10'")
        >>> version_check("keras", "3.16.0").cure
        ''
    """
    if version == "not installed":
        return Check(name, version, f"python -m pip install {name}")
    lowest, newest = TESTED.get(name, (version, version))
    low, installed, high = (
        tuple(map(int, re.findall(r"\d+", v)[:2])) for v in (lowest, version, newest)
    )
    if low <= installed <= high:
        return Check(name, version)
    cure = (
        f"python -m pip install '{name}>={lowest}'" if name != "python" else f"install Python {lowest}"
    )
    finding = f"{version} (tested with {lowest} to {newest})"
    return Check(name, finding, cure if installed < low else "")


def _space():
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Check("free disk", f"{free:.1f} GiB here", "" if free > FREE_SPACE else "free some space")


def _recipes():
    return Check("recipes", f"{len(bundled_recipes())} bundled")


def _devices():
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    cpus = tensorflow.config.list_physical_devices("CPU")
    if gpus or shutil.which("nvidia-smi") is None:
        return Check("devices", f"{len(gpus)} GPU, {len(cpus)} CPU")
    return Check(
        "devices",
        "0 GPU, although nvidia-smi exists",
        'optional, to use the GPU: python -m pip install "dreal-tf[gpu]"',
    )


def _one_step():
    """A shrunk run; any failure is its finding."""
    recipe = load_recipe("digits_resnet8_se", smoke=True).replace({"schedule.epochs": 2})
    with tempfile.TemporaryDirectory() as folder:
        try:
            trained = api.train(recipe, out=Path(folder) / "run")
        except Exception as error:  # The command reports any failure.
            return Check("training", f"{type(error).__name__}: {error}", "see the message")
    sys.stderr.flush()
    return Check("training", f"a shrunk run took {trained['training_seconds']} s")
