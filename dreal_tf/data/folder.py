"""A folder of images, one subfolder per class."""

import os
import re
import unicodedata
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import normalisation_of
from dreal_tf.data.decoding import READABLE
from dreal_tf.data.file_record import LEFT_OUT, compared, no_recorded_images, read_record, record_of
from dreal_tf.data.image_files import ImageFiles, inspect_images, warn_of_depth
from dreal_tf.data.listing import (
    LISTED_ANYWAY,
    ImageTree,
    ends_like_image,
    exclusion,
    folder_identity,
    list_files,
    summary_of,
)
from dreal_tf.data.pipeline import splits_of
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.data.sections import Options
from dreal_tf.data.splits import hold_out, with_noise
from dreal_tf.errors import InputError

LAYOUT = "DIR/<class>/<image>, or DIR/train/<class>/<image> with test/ and val/ beside train/"
NAMED = 5  # Bad images, or classes, that a message names; it counts the others.
IMAGES_AT_A_TIME = 1000  # Decoded into memory.
TEST_FRACTION = 0.2  # Held out where the folder brings no test images.
SPLITS = ("train", "validation", "test")
# Names of folders of splits: in any case, with digits and signs, and with one of the endings.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}
SPLIT_ENDINGS = ("images", "split", "data", "set")
# Folders of detection and segmentation, which are no classes.
NO_CLASSES = {"images", "labels", "masks", "annotations"}


class ClassFolder(NamedTuple):
    """The images of a folder, by split and class.

    Attributes:
        tree: `ImageTree` of the folder.
        class_names: tuple of str.
        listed: dict from those of "train", "validation" and "test" that the folder brings to pairs:
            array of names in the tree, int array of labels.
        folders: dict from these to the folder of the split, str; "" for the folder itself.
        left_out: dict from the name of each file or folder that is not listed to the reason.
    """

    tree: ImageTree
    class_names: tuple
    listed: dict
    folders: dict
    left_out: dict

    def notes(self):
        """Which folders were taken for classes and which for splits, and what was left out: lines."""
        some = ", ".join(self.class_names[:NAMED]) + (", ..." if self.class_names[NAMED:] else "")
        parts = [f"{split} from {folder or '.'}/" for split, folder in self.folders.items()]
        held = [split for split in SPLITS if split not in self.folders]
        parts += [f"{' and '.join(held)} held out of train"] if held else []
        lines = [f"{len(self.class_names)} classes: {some}. Splits: {', '.join(parts)}."]
        return (*lines, *filter(None, [summary_of(self.left_out)]))


def image_folder(folder=None, **options):
    """Splits from a folder whose subfolders are the classes, named by them, in their order.

    With a subfolder `train` (also `training`, `Train_Set`, ...), that one holds the classes, and so do
    the folders of test and validation images where they are: see `SPLIT_NAMES`. With validation images
    and no test images, as with ImageNet, the former are the test split. Missing splits are held
    out of the training images, the same fraction of each class: a fifth to test on, the same for every
    seed, and `validation_fraction`.

    Every file under a class is taken for an image, except those that `list_files` leaves out, and read
    by its content, whatever its name: see `dreal_tf.data.decoding.decoded`. Images have three channels.

    Args:
        folder: str or path.
        options: fields of `dreal_tf.data.sections.Options`: `image_size`, where the images differ in size;
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
    chosen = Options(**options)
    if chosen.recorded is None:
        found = list_classes(folder)
        listed, skipped, record = _first_splits(found, chosen)
        notes = found.notes()
    else:
        found, listed, record = _recorded_splits(folder, chosen)
        skipped, notes = (), ()
    mean, deviation = ([255 * value for value in row] for row in normalisation_of("folder", 3))
    split = _split_in_memory if chosen.image_size is None else _split_in_files
    splits = split(found.tree, listed, chosen, found.class_names, mean, deviation)
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
    folders, left_out = _split_folders(root)
    class_names, _ = _class_folders(root / folders["train"])
    if len(class_names) < 2:
        raise InputError(
            f"Expected at least two classes, as {LAYOUT}. Received: {str(root / folders['train'])!r} "
            f"with {len(class_names)} of them{f', {class_names[0]!r}' if class_names else ''}. Point "
            "--data-dir at the folder that holds the subfolders of the classes."
        )
    if {name.lower() for name in class_names} <= NO_CLASSES:
        raise InputError(
            f"Expected one subfolder per class, as {LAYOUT}. Received: {', '.join(class_names)} in "
            f"{str(root / folders['train'])!r}, as of detection or segmentation. Sort the images into folders "
            "of classes: whole images are classified here."
        )
    _warn_of_like_names(class_names)
    listed = {}
    for split, place in folders.items():
        names, not_classes = _class_folders(root / place)
        if names != class_names:
            missing = sorted(set(class_names) - set(names))
            extra = sorted(set(names) - set(class_names))
            alike = set(map(_folded, names)) == set(map(_folded, class_names))
            hint = " They differ in case, or in how accents are stored, alone." if alike else ""
            raise InputError(
                f"Expected the {len(class_names)} classes of {str(root / folders['train'])!r} in the "
                f"{split} split too. Received: {len(names)} in {str(root / place)!r}, missing "
                f"{missing[:5]}, not in training {extra[:5]}.{hint} Give all splits the same class folders."
            )
        listed[split] = _files_of_classes(root, place, class_names, left_out)
        left_out |= _loose(root, place, not_classes)
    return ClassFolder(ImageTree(root), class_names, listed, folders, left_out)


def _existing(folder):
    root = Path(folder).expanduser() if folder else None
    try:
        readable = root is not None and root.is_dir() and os.access(root, os.R_OK | os.X_OK)
    except OSError:  # Such as a name that is too long.
        readable = False
    if not readable:
        raise InputError(
            f"Expected a folder of images, as {LAYOUT}. Received: data.folder={folder!r}"
            f"{', which is no folder that can be opened' if folder else ''}. Give one with --data-dir DIR."
        )
    return root


def _split_folders(root):
    """The folder of each split by name, and what lies beside them."""
    splits, folders = {}, _class_folders(root)[0]
    ending = {name: _split_at_the_end(name) for name in folders if _split_named(name) is None}
    # One "crash test" is no split, nor are "strength training" and "endurance test"; seg_train and
    # seg_test are.
    begins = [begin for begin, _ in filter(None, ending.values())]
    for name in folders:
        split = _split_named(name)
        if split is None and ending[name] is not None:
            split = ending[name][1]
            split = split if len(begins) > 1 and len(set(begins)) == 1 else None
        if split:
            splits.setdefault(split, []).append(name)
    named = [name for names in splits.values() for name in names]
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
    found = {split: splits[split][0] for split in SPLITS if split in splits}
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    beside = [name for name in folders if name not in named]
    return found, {f"{name}/": "beside the splits" for name in beside}


def _split_named(name):
    letters = re.sub("[^a-z]", "", name.lower())
    for ending in SPLIT_ENDINGS:
        if letters != ending:
            letters = letters.removesuffix(ending)
    return SPLIT_NAMES.get(letters)


def _split_at_the_end(name):
    """The beginning of a name such as seg_train and the split at its end; None where there is none."""
    begin, last = re.fullmatch("(.*?)([a-z]*)[^a-z]*", name.lower()).groups()
    return (begin, SPLIT_NAMES[last]) if last in SPLIT_NAMES else None


def _folded(name):
    """A name without its case and its way to store accents, of which systems have two."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _warn_of_like_names(class_names):
    by_name = {}
    for name in class_names:
        by_name.setdefault(_folded(name), []).append(name)
    alike = [names for names in by_name.values() if len(names) > 1]
    if alike:
        # Accents that are stored in two ways look the same: their numbers tell them apart.
        shown = [
            ascii if len({unicodedata.normalize("NFC", n) for n in names}) == 1 else repr
            for names in alike
        ]
        said = "; ".join(", ".join(map(show, names)) for show, names in zip(shown, alike, strict=True))
        warnings.warn(
            f"Classes whose names differ in case, or in how accents are stored, alone: {said}. Join the "
            "folders if they are one class.",
            stacklevel=4,
        )


def _class_folders(root):
    """The names of the folders in a folder that may be classes, and why the others may not, by name."""
    try:
        entries = list(root.iterdir())
    except PermissionError:  # Whoever reads the files in it says so.
        return (), {}
    beside = any(ends_like_image(path.name) for path in entries)
    found, reasons, listed = [], {}, _around(root)
    # A folder stands before the links to it.
    for path in sorted(filter(Path.is_dir, entries), key=lambda path: (path.is_symlink(), path.name)):
        identity = folder_identity(path)
        reason = exclusion(f"{path.name}/", beside) or (LISTED_ANYWAY if identity in listed else None)
        if reason:
            reasons[path.name] = reason
        else:
            found.append(path.name)
            listed.add(identity)
    return tuple(sorted(found)), reasons


def _around(root):
    """The identities of a folder and of those that hold it."""
    places = root.absolute(), root.resolve()  # A link to it lies elsewhere than itself.
    return {folder_identity(path) for place in places for path in (place, *place.parents)}


def _loose(root, place, not_classes):
    """What lies beside the folders of classes."""
    begin = f"{place}/" if place else ""
    loose = {f"{begin}{name}/": why for name, why in not_classes.items()}
    for path in filter(lambda path: not path.is_dir(), (root / place).iterdir()):
        dangling = path.is_symlink() and not path.exists()
        beside = "a link to nothing" if dangling else "not in a folder of a class"
        loose[begin + path.name] = exclusion(path.name) or beside
    return loose


def _files_of_classes(root, place, class_names, left_out):
    names, labels, begin = [], [], f"{place}/" if place else ""
    classes = {name: folder_identity(root / begin / name) for name in class_names}
    closed = _around(root / place) | set(classes.values())
    for label, class_name in enumerate(class_names):
        begin_class = f"{begin}{class_name}/"
        found = list_files(root / begin_class, closed - {classes[class_name]})
        left_out |= {begin_class + name: why for name, why in found.left_out.items()}
        if not found.files:
            raise InputError(
                f"Expected images of each class. Received: {str(root / begin_class)!r}, which holds none. "
                "Fill it, or remove it everywhere."
            )
        names += [begin_class + name for name in found.files]
        labels += [label] * len(found.files)
    return np.array(names), np.array(labels)


def _first_splits(found, options):
    """The splits of a folder that no run has recorded."""
    listed, sha256, bad = dict(found.listed), {}, {}
    if options.verify:
        listed, sha256, bad = _verified(found, options)
    elif options.image_size is None or options.on_bad_image == "skip":
        raise InputError(
            "Expected data.verify=true where images are to be skipped, or data.image_size is not "
            f"set. Received: data.verify=false, data.on_bad_image={options.on_bad_image!r}, "
            f"data.image_size={options.image_size}. Verify, or set data.image_size and stop at a "
            "bad image."
        )
    for split, fraction, seed in (
        ("test", TEST_FRACTION, 0),
        ("validation", options.validation_fraction, options.seed),
    ):
        if split not in listed:
            listed["train"], listed[split] = _parted(listed["train"], fraction, seed, found.class_names)
    members = [
        (split, name, found.class_names[label])
        for split, (names, labels) in listed.items()
        for name, label in zip(names.tolist(), labels.tolist(), strict=True)
    ]
    record = record_of(found.tree, members, list_files(found.tree.root).files, sha256)
    if record.copies():
        warnings.warn(
            f"The same images are in several places: {record.copies()}. Remove the copies: a score on images "
            "that were trained on, or that have two labels, is no measure.",
            stacklevel=4,
        )
    skipped = [f"{found.tree.path(name)} ({why})" for name, why in bad.items()]
    return listed, skipped, record


def _recorded_splits(folder, options):
    """The splits that a run has recorded, of the files that are still there."""
    root = _existing(folder)
    tree = ImageTree(root)
    record = compared(read_record(options.recorded), tree, list_files(root).files)
    class_names = tuple(sorted({row.label for row in record.rows if row.split != LEFT_OUT}))
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = {row.path: numbers.get(row.label) for row in record.rows}
    unreadable = inspect_images(tree, record.changed).problems
    listed = {}
    for split in SPLITS:
        names = [name for name in record.paths(split) if name not in unreadable]
        if not names:
            raise no_recorded_images(split, root)
        listed[split] = np.array(names), np.array([labels[name] for name in names])
    record.warn(root)
    return ClassFolder(tree, class_names, listed, {}, {}), listed, record


def _verified(found, options):
    """Looks at all images before training starts; leaves out the bad ones if that is asked for."""
    inspected = inspect_images(found.tree, [n for names, _ in found.listed.values() for n in names])
    listed, bad = dict(found.listed), inspected.problems
    if bad:
        named = [f"{found.tree.path(name)} ({why})" for name, why in bad.items()]
        some = "; ".join(named[:NAMED]) + (f"; and {len(bad) - NAMED} more" if named[NAMED:] else "")
        if options.on_bad_image == "stop":
            raise InputError(
                f"Expected {READABLE} images that can be read. Received: {len(bad)} that cannot: "
                f"{some}. Remove or replace them, or leave them out with data.on_bad_image=skip."
            )
        warnings.warn(f"{len(bad)} images cannot be read and are left out: {some}", stacklevel=4)
        for split, (names, labels) in listed.items():
            good = np.isin(names, list(bad), invert=True)
            listed[split] = names[good], labels[good]
            empty = sorted(set(range(len(found.class_names))) - set(labels[good].tolist()))
            if empty:
                raise InputError(
                    f"Expected images of each class in the {split} split. Received: none that can be "
                    f"read of class {found.class_names[empty[0]]!r}; left out were {some}. Replace "
                    "them, or leave the class out."
                )
    warn_of_depth([found.tree.path(name) for name in inspected.deep])
    if options.image_size is None:
        _check_one_size({found.tree.path(n): f.size for n, f in inspected.facts.items()}, options)
    return listed, inspected.sha256, bad


def _check_one_size(sizes, options):
    if len(set(sizes.values())) > 1:
        least, most = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
        raise InputError(
            "Expected images of one size where data.image_size is not set. Received: "
            f"{sizes[least]} of {least}, {sizes[most]} of {most} (height, width in pixels). Set "
            "data.image_size, such as 224."
        )
    shape = (*next(iter(sizes.values()), (1, 1)), 3)
    if not options.fits_memory(len(sizes), shape):
        raise InputError(
            "Expected data.image_size for images that take more memory than data.memory_limit="
            f"{options.memory_limit} MiB. Received: {len(sizes)} images of shape {shape}. Set "
            "data.image_size, or raise the limit."
        )


def _parted(pair, fraction, seed, class_names):
    names, labels = pair
    kept, held = hold_out(labels, fraction, seed, class_names)
    return (names[kept], labels[kept]), (names[held], labels[held])


def _split_in_memory(tree, listed, options, class_names, mean, deviation):
    arrays = {}
    for split, (names, labels) in listed.items():
        paths = [tree.path(name) for name in names]
        batches = ImageFiles(paths, labels).ordered(IMAGES_AT_A_TIME).as_numpy_iterator()
        arrays[split] = np.concatenate([images for images, _ in batches]), labels
    return from_arrays(
        **arrays, class_names=class_names, mean=mean, deviation=deviation, **dict(options)
    )


def _split_in_files(tree, listed, options, class_names, mean, deviation):
    names, labels = (part[: options.train_limit] for part in listed["train"])
    labels = with_noise(labels, options.label_noise, len(class_names), options.seed)
    listed = listed | {"train": (names, labels)}
    size = options.image_size
    sources = {
        split: ImageFiles([tree.path(n) for n in names], labels, size, options.resized_crop)
        for split, (names, labels) in listed.items()
    }
    prepared = preprocessing_of((size, size, 3), mean, deviation, "central", class_names)
    return splits_of(sources, options, prepared)
