"""A folder of images, one subfolder per class."""

import warnings
from pathlib import Path

import numpy as np

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import normalisation_of
from dreal_tf.data.image_files import READABLE, ImageFiles, inspect_images
from dreal_tf.data.label_noise import with_noise
from dreal_tf.data.options import Options
from dreal_tf.data.pipeline import splits_of
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.data.splits import hold_out
from dreal_tf.errors import InputError

LAYOUT = "DIR/<class>/<image>, or DIR/train/<class>/<image> with test/ and val/ beside train/"
NAMED = 5  # Bad images that a message names; it counts the others.
IMAGES_AT_A_TIME = 1000  # Decoded into memory.
VALIDATION_NAMES = ("validation", "valid", "val")
TEST_FRACTION = 0.2  # Held out where the folder brings no test images.


def image_folder(folder=None, **options):
    """Splits from a folder whose subfolders are the classes, named by them, in their order.

    With a subfolder `train`, that one holds the classes, and so do `test` and `val` (or
    `validation`) where they are. Where there is a `val` and no `test`, `val` is the test split, as
    with ImageNet. What is missing is held out of the training images, the same share of each class:
    a fifth to test on, the same for every seed, and `validation_fraction`.

    Every file under a class is taken for an image, except hidden ones, and read by its content,
    whatever its name: see `dreal_tf.data.decoding.decoded`. Images have three channels.

    Args:
        folder: str or path.
        options: fields of `dreal_tf.data.Options`: `image_size`, where the images differ in size;
            `verify`; `on_bad_image`; `batch_size`, ...
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
    class_names, listed = list_images(folder)
    skipped = ()
    if chosen.verify:
        listed, skipped = _verified(listed, chosen)
    elif chosen.image_size is None or chosen.on_bad_image == "skip":
        raise InputError(
            "Expected data.verify=true where images are to be skipped, or data.image_size is not "
            f"set. Received: data.verify=false, data.on_bad_image={chosen.on_bad_image!r}, "
            f"data.image_size={chosen.image_size}. Verify, or set data.image_size and stop at a "
            "bad image."
        )
    if "test" not in listed:
        listed["train"], listed["test"] = _parted(listed["train"], TEST_FRACTION, 0, class_names)
    mean, deviation = ([255 * value for value in row] for row in normalisation_of("folder", 3))
    split = _split_in_memory if chosen.image_size is None else _split_in_files
    return split(listed, chosen, class_names, mean, deviation)._replace(skipped=tuple(skipped))


def list_images(folder):
    """The images of a folder, by split.

    Args:
        folder: str, path or None.
    Returns:
        Tuple of class names, and dict from "train", "validation" and "test", where they are, to
        pairs: array of paths, int array of labels.
    Raises:
        InputError: see `image_folder`.
    Example:
        >>> for name in ("cats/1.png", "dogs/2.png"):
        ...     tf.io.write_file(f"beasts/{name}", "")
        >>> list_images("beasts")[0]
        ('cats', 'dogs')
    """
    roots = _roots(folder)
    class_names = _class_names(roots["train"])
    if len(class_names) < 2:
        raise InputError(
            f"Expected at least two classes, as {LAYOUT}. Received: {str(roots['train'])!r} with "
            f"{len(class_names)} of them{f', {class_names[0]!r}' if class_names else ''}. Point "
            "--data-dir at the folder that holds the subfolders of the classes."
        )
    for split, root in roots.items():
        names = _class_names(root)
        if names != class_names:
            missing = sorted(set(class_names) - set(names))
            extra = sorted(set(names) - set(class_names))
            raise InputError(
                f"Expected the {len(class_names)} classes of {str(roots['train'])!r} in the {split} "
                f"split too. Received: {len(names)} in {str(root)!r}, missing {missing[:5]}, not in "
                f"training {extra[:5]}. Give all splits the same class folders."
            )
    return class_names, {split: _files(root, class_names) for split, root in roots.items()}


def image_names(folder):
    """The images of a folder by their place in it, by which two copies of one are known.

    Args:
        folder: str or path.
    Returns:
        Set of str.
    Raises:
        InputError: see `image_folder`.
    Example:
        >>> for name in ("cats/1.png", "dogs/2.png"):
        ...     tf.io.write_file(f"animals/{name}", "")
        >>> sorted(image_names("animals"))
        ['cats/1.png', 'dogs/2.png']
    """
    _, listed = list_images(folder)
    return {Path(path).relative_to(folder).as_posix() for paths, _ in listed.values() for path in paths}


def _roots(folder):
    root = Path(folder) if folder else None
    if root is None or not root.is_dir():
        raise InputError(
            f"Expected a folder of images, as {LAYOUT}. Received: data.folder={folder!r}"
            f"{', which is no folder' if folder else ''}. Give one with --data-dir DIR."
        )
    if not (root / "train").is_dir() or not _class_names(root / "train"):
        return {"train": root}  # A folder `train` without subfolders may be a class of vehicles.
    validation = [root / name for name in VALIDATION_NAMES if (root / name).is_dir()][:1]
    test = [root / "test"] if (root / "test").is_dir() else []
    if not test:
        test, validation = validation, []
    found = {"train": [root / "train"], "validation": validation, "test": test}
    return {split: paths[0] for split, paths in found.items() if paths}


def _class_names(root):
    return tuple(sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != "."))


def _files(root, class_names):
    paths, labels = [], []
    for label, name in enumerate(class_names):
        files = [path for path in (root / name).rglob("*") if path.is_file() and path.name[0] != "."]
        if not files:
            raise InputError(
                f"Expected images of each class. Received: {str(root / name)!r}, which holds none. "
                "Fill it, or remove it everywhere."
            )
        paths += sorted(map(str, files))
        labels += [label] * len(files)
    return np.array(paths), np.array(labels)


def _verified(listed, options):
    """Looks at all images before training starts; leaves out the bad ones if that is asked for."""
    sizes, problems = inspect_images([path for paths, _ in listed.values() for path in paths])
    bad = [f"{path} ({problem})" for path, problem in problems.items()]
    if bad:
        some = "; ".join(bad[:NAMED]) + (f"; and {len(bad) - NAMED} more" if bad[NAMED:] else "")
        if options.on_bad_image == "stop":
            raise InputError(
                f"Expected {READABLE} images that can be read. Received: {len(bad)} that cannot: "
                f"{some}. Remove or replace them, or leave them out with data.on_bad_image=skip."
            )
        warnings.warn(f"{len(bad)} images cannot be read and are left out: {some}", stacklevel=3)
        for split, (paths, labels) in listed.items():
            good = np.isin(paths, list(problems), invert=True)
            listed[split] = paths[good], labels[good]
    if options.image_size is None:
        _check_one_size(sizes, options)
    return listed, bad


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
    paths, labels = pair
    kept, held = hold_out(labels, fraction, seed, class_names)
    return (paths[kept], labels[kept]), (paths[held], labels[held])


def _split_in_memory(listed, options, class_names, mean, deviation):
    arrays = {}
    for split, (paths, labels) in listed.items():
        batches = ImageFiles(paths, labels).ordered(IMAGES_AT_A_TIME).as_numpy_iterator()
        arrays[split] = np.concatenate([images for images, _ in batches]), labels
    return from_arrays(
        **arrays, class_names=class_names, mean=mean, deviation=deviation, **options._asdict()
    )


def _split_in_files(listed, options, class_names, mean, deviation):
    if "validation" not in listed:
        listed["train"], listed["validation"] = _parted(
            listed["train"], options.validation_fraction, options.seed, class_names
        )
    paths, labels = (part[: options.train_limit] for part in listed["train"])
    labels = with_noise(labels, options.label_noise, len(class_names), options.seed)
    listed["train"] = paths, labels
    size = options.image_size
    sources = {
        split: ImageFiles(paths, labels, size, options.resized_crop)
        for split, (paths, labels) in listed.items()
    }
    shape = (size, size, 3)
    prepared = preprocessing_of(shape, mean, deviation, "central", class_names)
    return splits_of(sources, options, prepared)
