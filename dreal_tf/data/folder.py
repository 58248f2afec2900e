"""A folder of images, one subfolder per class."""

import math
import os
import re
import unicodedata
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreal_tf.data import files
from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.image_files import (
    BAD_NAMED,
    ImageFiles,
    Inspected,
    inspect_images,
    one_size,
    pixels_of,
)
from dreal_tf.data.preprocessing import normalisation_of, preprocessing_of
from dreal_tf.data.sections import Options
from dreal_tf.data.splits import add_label_noise, hold_out, make_splits
from dreal_tf.errors import InputError

LAYOUT = "DIR/<class>/<image>, or DIR/train/<class>/<image> with test/ and val/ beside train/"
NAMED = 5  # Classes that a message names; it counts the others.
TEST_FRACTION = 0.2  # Held out if the folder has no test images.
SPLITS = ("train", "validation", "test")
# Names of folders of splits: in any case, with digits and signs, with an ending, or after another word.
SPLIT_FOLDER = re.compile(
    r"(?P<start>|.*[^a-z])"
    r"((?P<train>train|training)|(?P<validation>validation|valid|val|dev|eval|evaluation)|(?P<test>test|testing))"
    r"(?P<ending>([^a-z]*(images|split|data|set))*)[^a-z]*",
    re.IGNORECASE,
)
# Folders of detection and segmentation, which are no classes.
NO_CLASSES = {"images", "labels", "masks", "annotations"}


class ClassFolder(NamedTuple):
    """The images of a folder, by split and class.

    Attributes:
        tree: `ImageTree` of the folder.
        class_names: tuple of str.
        listed: dict from the splits of the folder, among "train", "validation" and "test", to pairs:
            array of names in the tree, int array of labels.
        folders: dict from these to the folder of the split, str; "" for the folder itself.
        skipped: dict from the name of each file or folder that is not listed to the reason.
    """

    tree: files.ImageTree
    class_names: tuple
    listed: dict
    folders: dict
    skipped: dict

    def notes(self):
        """Lines that name the classes, the folders of the splits, and the skipped files."""
        parts = [f"{split} from {folder or '.'}/" for split, folder in self.folders.items()]
        held = [split for split in SPLITS if split not in self.folders]
        parts += [f"{' and '.join(held)} held out of train"] if held else []
        names = [files.shown_name(name) for name in self.class_names]
        classes = f"{len(names)} classes: {files.first_few(names, NAMED)}"
        lines = f"{classes}. Splits: {', '.join(parts)}.", files.summary_of(self.skipped)
        return tuple(filter(None, lines))


def image_folder(folder=None, **options):
    """Splits from a folder whose subfolders are the classes, named by them, in their order.

    With a subfolder `train` (also `training`, `Train_Set`, ...), that one holds the classes, and so do
    the folders of test and validation images if there are any: see `SPLIT_FOLDER`. With validation images
    and no test images, as with ImageNet, the validation images are the test split. Missing splits are
    held out of the training images, the same fraction of each class: a fifth to test on, the same for
    every seed, and `validation_fraction`.

    Every file under a class is taken for an image, except those that `list_files` skips, and read by its
    content, whatever its name: see `dreal_tf.data.image_files.decoded`. Images have three channels.

    Args:
        folder: str or path.
        options: fields of `dreal_tf.data.sections.Options`: `image_size`, if the images differ in size;
            `recorded`, for the splits of a run; `verify`; `on_bad_image`; `batch_size`, ...
    Returns:
        `Splits`.
    Raises:
        InputError: if there is no such folder, it holds less than two classes, the splits' classes
            differ, or an image cannot be read.
    Example:
        >>> for number in range(20):
        ...     image = tf.io.encode_png(np.full((8, 8, 3), number, "uint8"))
        ...     tf.io.write_file(f"pets/{('cats', 'dogs')[number % 2]}/{number}.png", image)
        >>> image_folder("pets", batch_size=4, validation_fraction=0.25).sizes
        {'train': 12, 'validation': 4, 'test': 4}
    """
    options = Options(**options)
    if options.recorded is None:
        images = list_classes(folder)
        listed, skipped, record = _new_splits(images, options)
        notes = images.notes()
    else:
        images, record = _recorded_splits(folder, options)
        listed, skipped, notes = images.listed, (), ()
    looks = {"class_names": images.class_names, **normalisation_of("folder", 3)}
    if options.image_size is None:
        names = [name for names, _ in listed.values() for name in names.tolist()]
        decoded = inspect_images(images.tree, names, pixels_of)
        decoded.check(images.tree, "stop")  # Files may change at any time.
        pixels = {
            split: [decoded.results[name] for name in names] for split, (names, _) in listed.items()
        }
        pairs = {split: (np.stack(pixels[split]), labels) for split, (_, labels) in listed.items()}
        splits = from_arrays(**pairs, **looks, **dict(options))
    else:
        names, labels = (part[: options.train_limit] for part in listed["train"])
        noise = options.label_noise, len(images.class_names), options.seed
        listed["train"] = names, add_label_noise(labels, *noise)
        size = options.image_size
        sources = {
            split: ImageFiles(map(images.tree.path, names), labels, size, options.resized_crop)
            for split, (names, labels) in listed.items()
        }
        preprocessing = preprocessing_of((size, size, 3), window="central", **looks)
        splits = make_splits(sources, options, preprocessing)
    return splits._replace(skipped=tuple(skipped), files=record, notes=notes)


def list_classes(folder):
    """The images of a folder, by split and class.

    Args:
        folder: str, path or None.
    Returns:
        `ClassFolder`.
    Raises:
        InputError: see `image_folder`.
    Example:
        >>> for name in ("cats/1.png", "dogs/2.png"):
        ...     tf.io.write_file(f"beasts/{name}", "")
        >>> list_classes("beasts").class_names
        ('cats', 'dogs')
    """
    root = _existing(folder)
    folders, skipped = _split_folders(root)
    train = str(root / folders["train"])
    class_names, _ = _class_folders(root / folders["train"])
    if len(class_names) < 2:
        raise InputError(
            f"Expected at least two classes, as {LAYOUT}. Received: {train!r} with {len(class_names)} of "
            f"them{f', {class_names[0]!r}' if class_names else ''}. Point --data-dir at the folder that "
            "holds the subfolders of the classes."
        )
    if {name.lower() for name in class_names} <= NO_CLASSES:
        raise InputError(
            f"Expected one subfolder per class, as {LAYOUT}. Received: {', '.join(class_names)} in "
            f"{train!r}, as of detection or segmentation. Sort the images into folders of classes: whole "
            "images are classified here."
        )
    _check_like_names(class_names)
    listed = {}
    for split, split_folder in folders.items():
        names, not_classes = _class_folders(root / split_folder)
        if names != class_names:
            missing, extra = (
                sorted({*class_names} - {*names})[:5],
                sorted({*names} - {*class_names})[:5],
            )
            like = set(map(_folded, names)) == set(map(_folded, class_names))
            hint = " They differ in case, or in how accents are stored, alone." if like else ""
            raise InputError(
                f"Expected the {len(class_names)} classes of {train!r} in the {split} split too. Received: "
                f"{len(names)} in {str(root / split_folder)!r}, missing {missing}, not in training {extra}."
                f"{hint} Give all splits the same class folders."
            )
        prefix = f"{split_folder}/" if split_folder else ""
        listed[split] = _files_of_classes(root, prefix, class_names, skipped)
        skipped |= {f"{prefix}{name}/": reason for name, reason in not_classes.items()}
        skipped |= _files_beside_classes(root, prefix)
    return ClassFolder(files.ImageTree(root), class_names, listed, folders, skipped)


def _existing(folder):
    root = Path(os.path.expanduser(folder)) if folder else None
    # os.path takes any name: one may be too long, or hold a NUL character.
    if root is None or not os.path.isdir(root) or not os.access(root, os.R_OK | os.X_OK):
        raise InputError(
            f"Expected a folder of images, as {LAYOUT}. Received: {files.given_folder(folder)}"
            f"{', which is no folder that can be opened' if folder else ''}. Give one with --data-dir DIR."
        )
    return root


def _split_folders(root):
    """The folder of each split by name, and the skipped folders beside them."""
    folders, splits, affixed = _class_folders(root)[0], {}, []
    for name in folders:
        match = SPLIT_FOLDER.fullmatch(name)
        split = match and next(split for split in SPLITS if match[split])
        if match and not re.search("[a-z]", match["start"], re.IGNORECASE):
            splits.setdefault(split, []).append(name)
        elif match and not match["ending"]:
            affixed.append((match["start"].lower(), split, name))
    # seg_train and seg_test are splits: both names start alike. One "crash test" is no split, nor are
    # "strength training" and "endurance test".
    if len(affixed) > 1 and len({start for start, *_ in affixed}) == 1:
        for _, split, name in affixed:
            splits.setdefault(split, []).append(name)
    named = sorted(name for names in splits.values() for name in names)
    with_classes = [name for name in named if _class_folders(root / name)[0]]
    if not with_classes:
        if "train" in splits and len(splits) > 1:
            raise InputError(
                f"Expected one subfolder per class, as {LAYOUT}. Received: {str(root)!r} with "
                f"{', '.join(named)} and no classes in them. Sort the images into folders of classes."
            )
        return {"train": ""}, {}  # A folder `train` without subfolders may be a class of vehicles.
    if not any(name in with_classes for name in splits.get("train", [])):
        raise InputError(
            f"Expected classes alone, or splits one of which is train, as {LAYOUT}. Received: "
            f"{str(root)!r} with {', '.join(with_classes)}, which hold folders themselves, and no "
            "train. Name the folder of the training images train."
        )
    for split, names in splits.items():
        if len(names) > 1:
            raise InputError(
                f"Expected one folder of {split} images. Received: {', '.join(names)} in "
                f"{str(root)!r}. Keep one of them there, or join them."
            )
    by_split = {split: splits[split][0] for split in SPLITS if split in splits}
    if "test" not in by_split and "validation" in by_split:
        by_split["test"] = by_split.pop("validation")
    return by_split, {f"{name}/": "beside the splits" for name in folders if name not in named}


def _folded(name):
    """A name without its case and its way to store accents, of which systems have two."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_like_names(class_names):
    """Refuses classes of one name, its accents stored in two ways; warns of those that differ in case."""
    by_name = {}
    for name in class_names:
        by_name.setdefault(_folded(name), []).append(name)
    groups = [names for names in by_name.values() if len(names) > 1]
    for names in groups:
        if len({unicodedata.normalize("NFC", name) for name in names}) < len(names):
            raise InputError(  # Their numbers tell them apart, as they look the same.
                "Expected classes of different names. Received: "
                f"{', '.join(map(ascii, names))}, of which some differ only in how accents are stored. Join "
                "their folders, or rename one."
            )
    if groups:
        listed = "; ".join(", ".join(map(repr, names)) for names in groups)
        warnings.warn(
            f"Classes whose names differ in case alone: {listed}. Join the folders if they are one class.",
            stacklevel=4,
        )


def _class_folders(root):
    """The names of the folders in a folder that may be classes, and why the others may not, by name."""
    try:
        entries = list(root.iterdir())
    except PermissionError:  # Reading the files in it reports this.
        return (), {}
    beside_images = any(files.ends_like_image(path.name) for path in entries)
    names, reasons, identities = [], {}, _around(root)
    # A folder comes before the links to it.
    for path in sorted(filter(Path.is_dir, entries), key=lambda path: (path.is_symlink(), path.name)):
        identity = files.folder_identity(path)
        reason = files.exclusion(f"{path.name}/", beside_images)
        reason = reason or (files.LISTED_ANYWAY if identity in identities else None)
        if reason:
            reasons[path.name] = reason
        else:
            names.append(path.name)
            identities.add(identity)
    return tuple(sorted(names)), reasons


def _around(root):
    """The identities of a folder and of those that hold it."""
    paths = root.absolute(), root.resolve()  # A link's own folder is not its target's.
    return {files.folder_identity(path) for start in paths for path in (start, *start.parents)}


def _files_beside_classes(root, prefix):
    reasons = {}
    for path in filter(lambda path: not path.is_dir(), (root / prefix).iterdir()):
        dangling = path.is_symlink() and not path.exists()
        beside = "a link to nothing" if dangling else "not in a folder of a class"
        reasons[prefix + path.name] = files.exclusion(path.name) or beside
    return reasons


def _files_of_classes(root, prefix, class_names, skipped):
    """The names and labels of the files of a split; adds skipped ones and their reasons to `skipped`."""
    names, labels = [], []
    identities = {name: files.folder_identity(root / prefix / name) for name in class_names}
    closed = _around(root / prefix) | set(identities.values())
    for label, class_name in enumerate(class_names):
        folder = f"{prefix}{class_name}/"
        below = files.list_files(root / folder, closed - {identities[class_name]})
        skipped |= {folder + name: reason for name, reason in below.skipped.items()}
        if not below.files:
            raise InputError(
                f"Expected images of each class. Received: {str(root / folder)!r}, which holds none. Put "
                f"images into it, or remove the folder {class_name!r} from every split; "
                "data.on_bad_image=skip skips images, not classes."
            )
        names += [folder + name for name in below.files]
        labels += [label] * len(below.files)
    return np.array(names, object), np.array(labels)  # Texts of one width would take more memory.


def _new_splits(images, options):
    """The splits of a folder that no run has recorded."""
    listed, inspected = dict(images.listed), Inspected()
    if options.verify:
        listed, inspected = _verified(images, options)
    elif options.image_size is None or options.on_bad_image == "skip":
        raise InputError(
            "Expected data.verify=true if bad images are to be skipped, or data.image_size is not set. "
            f"Received: data.verify=false, data.on_bad_image={options.on_bad_image!r}, data.image_size="
            f"{options.image_size}. Verify, or set data.image_size and stop at a bad image."
        )
    held_out = {"test": (TEST_FRACTION, 0), "validation": (options.validation_fraction, options.seed)}
    held_out = {split: chosen for split, chosen in held_out.items() if split not in listed}
    _check_counts(images, listed["train"][1], held_out)
    for split, (fraction, seed) in held_out.items():
        names, labels = listed["train"]
        kept, held = hold_out(labels, fraction, seed, images.class_names)
        listed["train"], listed[split] = (names[kept], labels[kept]), (names[held], labels[held])
    class_names = np.array(images.class_names)
    members = {split: (names, class_names[labels]) for split, (names, labels) in listed.items()}
    names = files.list_files(images.tree.root).files
    record = files.record_of(images.tree, members, names, inspected.sha256)
    if record.copies():
        warnings.warn(
            f"The same images are in several splits or classes: {record.copies()}. Remove the copies: a score on "
            "images that were trained on, or that have two labels, is no measure.",
            stacklevel=4,
        )
    return listed, inspected.bad(images.tree), record


def _check_counts(images, labels, held_out):
    """Refuses too few training images for the splits, by name with fraction and seed, that are held out of them."""
    counts, uses = np.bincount(labels, minlength=len(images.class_names)), ["training", *held_out]
    rarest = int(counts.argmin())
    if counts[rarest] < len(uses):
        raise InputError(
            f"Expected at least {len(uses)} images of each class, one for each of {', '.join(uses)}. "
            f"Received: {counts[rarest]} that can be read of class {images.class_names[rarest]!r}. Add images, "
            "or remove the class."
        )
    needed, left = 0, 1.0
    for fraction, _ in held_out.values():
        needed = max(needed, math.ceil(round(len(counts) / min(fraction, 1 - fraction) / left, 6)))
        left *= 1 - fraction
    if len(labels) < needed:
        raise InputError(
            f"Expected at least {needed} images, so that {' and '.join(held_out)}, held out of them, have one of "
            f"each of the {len(counts)} classes. Received: {len(labels)}. Add images, or give folders of their own, "
            "as " + LAYOUT + "."
        )


def _recorded_splits(folder, options):
    """The splits that a run has recorded, of the files that are still there, and their record."""
    root = _existing(folder)
    tree = files.ImageTree(root)
    record = files.compared(files.read_record(options.recorded), tree, files.list_files(root).files)
    class_names = tuple(sorted({row.label for row in record.rows if row.split != files.UNUSED}))
    unreadable = inspect_images(tree, record.changed).problems
    listed = {}
    for split in SPLITS:
        rows = record.present(split, root, unreadable)
        labels = np.array([class_names.index(row.label) for row in rows])
        listed[split] = np.array([row.path for row in rows], object), labels
    record.warn(root)
    return ClassFolder(tree, class_names, listed, {}, {}), record


def _verified(images, options):
    """Reads all images before training starts, and skips bad ones if the options say so."""
    tree, listed = images.tree, dict(images.listed)
    sized = options.image_size is not None  # Else each image must be read, to know its size.
    checked = files.checked_before(options.checked, tree) if sized else None
    names = [name for names, _ in listed.values() for name in names]
    inspected = inspect_images(tree, names, checked=checked)
    bad = inspected.bad(tree)
    inspected.check(tree, options.on_bad_image)
    if bad:
        some = files.first_few(bad, BAD_NAMED, "; ")
        warnings.warn(f"{len(bad)} images cannot be read and are skipped: {some}", stacklevel=4)
        for split, (names, labels) in listed.items():
            good = np.isin(names, list(inspected.problems), invert=True)
            listed[split] = names[good], labels[good]
            empty = np.flatnonzero(np.bincount(labels[good], minlength=len(images.class_names)) == 0)
            if len(empty):
                raise InputError(
                    f"Expected images of each class in the {split} split. Received: none that can be "
                    f"read of class {images.class_names[empty[0]]!r}; skipped were {some}. Replace "
                    "them, or remove the class from every split."
                )
    inspected.warn_of_depth(tree)
    if options.image_size is None:
        size = one_size({tree.path(name): size for name, size in inspected.results.items()})
        if not options.fits_memory(len(inspected.results), (*size, 3)):
            raise options.size_needed(len(inspected.results), size)
    return listed, inspected
