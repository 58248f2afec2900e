"""The inputs of audits and reports, resolved and checked before TensorFlow is loaded."""

from pathlib import Path
from typing import NamedTuple

from dreal_tf.data.files import read_record
from dreal_tf.data.sections import Augment
from dreal_tf.errors import InputError, checked_path
from dreal_tf.storage import check_replaceable, is_ours, locked
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.recipe_files import load_recipe
from dreal_tf.training.run_directory import RunDirectory, read_history

# The fields of a recipe that decide which test images there are; the last three for generated images.
SAME = ("name", "image_size")
SAME_GENERATED = (*SAME, "shape", "classes", "images")
TEST = ("test", "query", "gallery")  # The splits of splits.csv that are scored.
NOTE = "numbers.json"  # In a report's folder: its results, and the sign that the folder is a report's.
MARK = '<p class="kind">dreal_tf report</p>'  # In every page.


class NamedData(NamedTuple):
    """The data that a recipe, a run or a folder names.

    Attributes:
        recipe: `dreal_tf.Recipe` whose training images are not augmented; None for a folder of classes.
        recorded: Path of the splits.csv of the run whose splits they are, or None.
        classes: Path of a folder with a folder of images for each class, or None.
    """

    recipe: Recipe | None
    recorded: Path | None = None
    classes: Path | None = None


def named_data(data, data_dir=None):
    """Finds the data that a recipe, a run or a folder names.

    Args:
        data: `dreal_tf.Recipe`, or its name or path; or path of a run or of a folder of classes.
        data_dir: str, path or None. Folder of the data; None for the recipe's.
    Returns:
        `NamedData`.
    Raises:
        InputError: if there is no such recipe.
    Example:
        >>> named_data("digits_resnet8_se").recipe.data.name
        'digits'
    """
    recorded = None
    if isinstance(data, Recipe):
        recipe = data
    elif checked_path(data).is_dir():
        run = RunDirectory(data)
        if not run.recipe.exists():
            return NamedData(None, classes=run.path)
        recipe, recorded = run.read_recipe(), run.recorded_splits
    else:
        recipe = load_recipe(data)
    return NamedData(unvaried(recipe.reading(data_dir)), recorded)


class Source(NamedTuple):
    """A network in a file, and its data.

    Attributes:
        path: Path of a run directory or a `.keras` file.
        data: `NamedData` to measure on.
        class_names: tuple of str, the classes of the network in order; None if no file beside it names
            them.
    """

    path: Path
    data: NamedData
    class_names: tuple | None

    @property
    def is_run(self):
        """Whether it is a run directory."""
        return self.path.is_dir()

    @property
    def folder(self):
        """The default folder for the files of an audit."""
        return self.path / "audit" if self.is_run else self.path.with_name(f"{self.path.stem}_audit")


def source_of(target, data=None, data_dir=None):
    """Finds a network and its data.

    Args:
        target: str or path of a run directory or a `.keras` file.
        data: see `named_data`, a folder of classes only for a file; None for a run's own.
        data_dir: str, path or None. Folder of that data; None for the recipe's.
    Returns:
        `Source`.
    Raises:
        InputError: if there is no such file, or its data is unknown.
    Example:
        >>> try:
        ...     source_of("network.keras")
        ... except InputError as error:
        ...     print(str(error)[:60])
        Expected a run or a .keras file. Received: 'network.keras',
    """
    path = checked_path(target)
    if not path.exists():
        raise InputError(
            f"Expected a run or a .keras file. Received: {str(target)!r}, which does not exist. Check "
            "the path."
        )
    if path.is_dir():
        RunDirectory(path).read_recipe()  # Refuses any other folder.
    elif path.suffix != ".keras":
        raise InputError(
            f"Expected a run or a .keras file. Received: the file {str(target)!r}. Save the network "
            "with `network.save('network.keras')`."
        )
    elif data is None:
        raise InputError(
            f"Expected --data with a .keras file. Received: {str(target)!r} alone, which does "
            "not say what it was trained on. Name a folder with a folder of images for each class, a run, or the "
            "recipe of its data, such as --data digits_resnet8_se."
        )
    named = named_data(path if data is None else data, data_dir)
    if named.classes is not None and path.is_dir():
        raise InputError(
            f"Expected a recipe or a run as the data of a run. Received: the folder {str(data)!r}, which does "
            "not say how to prepare its images. Name a recipe, or leave --data out."
        )
    class_names = RunDirectory(path if path.is_dir() else path.parent).class_names
    return Source(path, named, class_names)


def unvaried(recipe):
    """A recipe without augmentation of training images.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> unvaried(load_recipe("digits_resnet8_se")).augment.crop_padding
        0
    """
    return recipe.model_copy(update={"augment": Augment()})


def check_images(images):
    """Refuses too few images for an interval.

    Args:
        images: int.
    Raises:
        InputError: if there are fewer than two.
    Example:
        >>> check_images(2)
    """
    if images < 2:
        raise InputError(
            f"Expected at least 2 images to measure on. Received: images={images}. Give for example "
            "2000."
        )


class FinishedRun(NamedTuple):
    """A run that has ended.

    Attributes:
        directory: `RunDirectory`.
        recipe: `dreal_tf.Recipe`.
        metrics: dict, its `metrics.json`.
    """

    directory: RunDirectory
    recipe: Recipe
    metrics: dict


def critic_run(run, images=2000):
    """A finished run whose critic can be measured.

    Args:
        run: str or path of a run directory.
        images: int. Test images to measure on.
    Returns:
        `FinishedRun`.
    Raises:
        InputError: if there is no such run, it has not ended, it was trained without the method, or there
            are too few images.
    """
    directory = RunDirectory(run)
    recipe = directory.read_recipe()
    if not recipe.dreal.enabled:
        raise InputError(
            f"Expected a run with a critic. Received: {str(directory.path)!r}, which was trained without "
            "the method. Name a run that was trained without --baseline."
        )
    check_images(images)
    return FinishedRun(directory, recipe, directory.read_metrics())


class ReportInputs(NamedTuple):
    """All that a report is made from.

    Attributes:
        run: `FinishedRun`.
        baseline: `FinishedRun` to compare with, or None.
        page: Path of the page to write; `folder`: Path of the folder beside it.
        images: int. Test images to measure attention on.
    """

    run: FinishedRun
    baseline: FinishedRun | None
    page: Path
    folder: Path
    images: int


def report_inputs(run, against=None, out=None, images=2000):
    """Resolves and checks the inputs of a report; writes nothing.

    Args:
        run: str or path of a run directory.
        against: str or path of another, or None.
        out: str or path of the page to write; None for `report.html` in the run, or with a baseline
            `report_against_<its folder>.html`, so that neither replaces the other.
        images: int. Test images to measure attention on.
    Returns:
        `ReportInputs`.
    Raises:
        InputError: if a run is missing, unfinished, without history or without attention, if the two
            are one, have different data or were scored on different images, or if something else lies where the report would.
    """
    check_images(images)
    ours, other = _run_with_history(run), None
    if ours.recipe.attention.kind == "none":
        raise InputError(
            "Expected a run whose network has attention. Received: "
            f"{str(ours.directory.path)!r}, trained with attention.kind='none'. Name one that has, and "
            "this one with --against."
        )
    if against is not None:
        other = _run_with_history(against)
        if other.directory.path.resolve() == ours.directory.path.resolve():
            raise InputError(
                "Expected another run to compare with. Received: --against "
                f"{str(other.directory.path)!r}, which is the run itself. Name its baseline, trained with "
                "--baseline."
            )
        _check_same_data(ours, other)
    name = "report" if other is None else f"report_against_{other.directory.path.resolve().name}"
    page = checked_path(out) if out is not None else ours.directory.path / f"{name}.html"
    check_page(page)
    with locked(page):  # It can be written.
        return ReportInputs(ours, other, page, page.with_suffix(""), images)


def _run_with_history(path):
    directory = RunDirectory(path)
    run = FinishedRun(directory, directory.read_recipe(), directory.read_metrics())
    read_history(directory.history, run.metrics.get("best_epoch") or 1)
    directory.read_environment()
    return run


def _check_same_data(ours, other):
    path, other_path = (str(run.directory.path) for run in (ours, other))
    data, other_data = ours.recipe.data, other.recipe.data
    fields = SAME_GENERATED if data.name == "generated" else SAME
    if differ := [field for field in fields if getattr(data, field) != getattr(other_data, field)]:
        values, other_values = (
            ", ".join(f"data.{field}={getattr(of_run, field)!r}" for field in differ)
            for of_run in (data, other_data)
        )
        raise InputError(
            f"Expected a run on the same data to compare with. Received: {other_values} in "
            f"{other_path!r}, {values} in {path!r}. Name one that was trained on the same data."
        )
    names, other_names = (run.directory.class_names for run in (ours, other))
    if None not in (names, other_names) and names != other_names:
        raise InputError(
            f"Expected a run on the same classes to compare with. Received: {_shown(other_names)} in "
            f"{other_path!r}, {_shown(names)} in {path!r}. Name one that was trained on the same data."
        )
    if ours.directory.recorded_splits and other.directory.recorded_splits:
        _check_same_test_images(ours.directory, other.directory)


def _check_same_test_images(ours, other):
    images, other_images = _test_images(ours), _test_images(other)
    both = images.keys() & other_images.keys()
    # An image without a hash is known by its path alone.
    changed = [n for n in both if images[n] and other_images[n] and images[n] != other_images[n]]
    differ = [*(images.keys() ^ other_images.keys()), *changed]
    if differ:
        raise InputError(
            f"Expected a run with the same test images to compare with. Received: {str(other.path)!r}, "
            f"whose splits.csv differs from that of {str(ours.path)!r} in {len(differ)} of them, such as "
            f"{min(differ)!r}. Train one of the two again on the files of the other, with --fresh."
        )


def _test_images(directory):
    """The SHA-256 of the images that a run is scored on, by path."""
    return {row.path: row.sha256 for row in read_record(directory.splits).rows if row.split in TEST}


def _shown(class_names):
    more = ", …" if class_names[5:] else ""
    return f"{len(class_names)} classes ({', '.join(class_names[:5])}{more})"


def check_page(page):
    """Refuses to write a report where something else lies, or where nothing can be written.

    Args:
        page: path of the page.
    Returns:
        Dict: the result of an earlier report there, see `dreal_tf.analysis.report.report.write_report`;
        empty if there is none.
    Raises:
        InputError: if the page or its folder is not a report's.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"Expected a page to write, such as report.html. Received: {str(page)!r}. End --out with "
            ".html."
        )
    folder = page.with_suffix("")
    if not page.parent.is_dir() or page.is_dir():
        problem = "a folder" if page.is_dir() else "whose folder does not exist"
        raise InputError(
            f"Expected a file in a folder that can be written. Received: {str(page)!r}, {problem}. "
            "Choose another --out."
        )
    empty = folder.is_dir() and all(map(is_ours, folder.iterdir()))
    present = [page] if empty else [page, folder]
    earlier = check_replaceable("the report", present, folder / NOTE, ("page", "figures", "tables"))
    if page.is_file() and MARK not in page.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"Expected a report to replace. Received: {str(page)!r}, which is another page. Choose another "
            "--out, or move it away."
        )
    return earlier


AUDIT_FILES = ("audit.csv", "module_values.svg", "module_values.png")
AUDIT = "audit.json"  # Written before them.


def check_audit_folder(folder):
    """Refuses to write an audit over other files, or where nothing can be written.

    Args:
        folder: path.
    Raises:
        InputError: if one of the files is there and no audit's, or the folder cannot be written.
    Example:
        >>> check_audit_folder(Path("audit"))
    """
    files = [folder / name for name in AUDIT_FILES]
    check_replaceable("the audit", files, folder / AUDIT, ("modules", "attention"))
    with locked(folder / AUDIT):
        pass
