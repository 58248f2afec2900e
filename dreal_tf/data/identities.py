"""Data of identities: some are trained on, and retrieval is measured on others."""

import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.data.arrays import Arrays
from dreal_tf.data.files import checked_before, compared, first_few, read_record, record_of
from dreal_tf.data.identity_layouts import LAYOUTS, Listed, list_identities
from dreal_tf.data.identity_sampling import IdentitySampler, held_out_identities, held_out_images
from dreal_tf.data.image_files import (
    ImageFiles,
    Inspected,
    decoded,
    inspect_image,
    inspect_images,
    one_size,
    read_whole,
)
from dreal_tf.data.preprocessing import known_set, normalisation_of, preprocessing_of
from dreal_tf.data.sections import Options
from dreal_tf.data.splits import add_label_noise, make_splits
from dreal_tf.errors import InputError
from dreal_tf.retrieval import Labels, Protocol
from dreal_tf.retrieval.ranking import relations

TEST = ("query", "gallery")
PARTS = ("train", "validation", "validation_query", "validation_gallery", *TEST)
QUERIES_AT_A_TIME = 256  # Compared with the whole gallery.


class RetrievalSet(NamedTuple):
    """Queries, and the gallery that is ranked for each.

    Attributes:
        query, gallery: tf.data.Dataset of images as the network takes them, batched.
        query_labels, gallery_labels: `dreal_tf.retrieval.Labels`.
        query_names, gallery_names: tuple of str, of the images.
        protocol: `dreal_tf.retrieval.Protocol`.
    """

    query: object
    gallery: object
    query_labels: Labels
    gallery_labels: Labels
    query_names: tuple
    gallery_names: tuple
    protocol: Protocol


def identity_set(name, folder=None, **options):
    """Splits of a re-identification set on this machine; nothing is downloaded.

    A random fraction `validation_fraction` of the training identities is held out: how well they are
    ranked chooses the best weights. The same fraction of the images of every other identity is held out
    too: they measure how well the network classifies its training identities, and they join the gallery
    of the held-out identities, where they match nobody.

    A query is ranked without the images of its identity by its own camera. If all training images, or all
    test images, are by one camera or by unknown ones, it is ranked without itself alone.

    Args:
        name: str, a key of `LAYOUTS`.
        folder: see `list_identities`.
        options: fields of `dreal_tf.data.sections.Options`: `images_per_identity`, `image_size`, `image_width`,
            `validation_fraction`, `on_bad_image`, `recorded`, ...
    Returns:
        `Splits`, with `retrieval`.
    Raises:
        InputError: if the data is missing or not in its layout; if an image cannot be read; or if there
            are too few identities to hold some out, or for a batch.
    """
    options, protocol = Options(**options), LAYOUTS[name].protocol
    tree, listed, titles, skipped = list_identities(name, folder, options.on_bad_image)
    query = listed["query"]
    is_nobody = np.isin(query.identities, _nobody(protocol))
    listed["query"] = query.chosen(~is_nobody)
    skipped |= dict.fromkeys(query.images[is_nobody].tolist(), "junk or a distractor: no query")
    record = None
    if options.recorded is not None:
        record, listed = _recorded_parts(tree, listed, titles, options.recorded)
    names = list(dict.fromkeys(image for part in listed.values() for image in part.images.tolist()))
    inspected, pixels, size = _inspected(tree, names, options, known_set(name), record)
    bad = inspected.problems
    inspected.check(tree, options.on_bad_image)
    if pixels is not None:
        size = one_size({image: pixels[image].shape[:2] for image in pixels})
    listed = {s: part.chosen(~np.isin(part.images, list(bad))) for s, part in listed.items()}
    skipped |= bad
    if skipped and record is None:  # The training has named them.
        count = len(skipped)
        warnings.warn(f"{count} files or folders are skipped: {_some(skipped)}", stacklevel=2)
    inspected.warn_of_depth(tree)

    def source(part, labels, sampler=None):
        if pixels is not None:
            images = np.stack([pixels[image] for image in part.images])
            return Arrays(images, labels, options.resized_crop, sampler)
        paths = [tree.path(image) for image in part.images]
        return ImageFiles(paths, labels, size, options.resized_crop, sampler)

    listed = _without_lone_cameras(listed)
    parts = listed if record is not None else identity_parts(listed, options, protocol)
    if record is None:
        members = {
            split: (part.images, [titles[identity] for identity in part.identities.tolist()])
            for split, part in parts.items()
        }
        record = record_of(tree, members, names, inspected.sha256)
    looks = {"image_shape": (*size, 3), **normalisation_of(name, 3)}
    splits = identity_splits(parts, source, options, looks, protocol, titles)
    return splits._replace(files=record, skipped=tuple(_with_reasons(skipped)))


def identity_parts(listed, options, protocol):
    """Holds identities and images out of the training images of a data set of identities.

    Args:
        listed: dict of `Listed`: "train", "query", "gallery", and "validation" if the set has validation
            images of the training identities.
        options: `Options`.
        protocol: `dreal_tf.retrieval.Protocol`.
    Returns:
        Dict of `Listed`: "train", "validation" (images held out of the same identities),
        "validation_query" and "validation_gallery" (identities held out), "query" and "gallery".
    Raises:
        InputError: see `identity_set`.
    """
    nobody = _nobody(protocol)
    is_nobody = np.isin(listed["train"].identities, nobody)
    if is_nobody.any():
        warnings.warn(
            f"{is_nobody.sum()} training images of nobody (identity {' or '.join(map(str, nobody))}) are "
            "skipped.",
            stacklevel=3,
        )
    images = listed["train"].chosen(~is_nobody)
    held_out = held_out_identities(images, options.validation_fraction, options.seed)
    train, query, gallery = (images.chosen(positions) for positions in held_out)
    validation = listed.get("validation")
    if validation is None:
        kept, held = held_out_images(train.identities, options.validation_fraction, options.seed)
        train, validation = train.chosen(kept), train.chosen(held)
    else:
        validation = validation.chosen(np.isin(validation.identities, train.identities))
    parts = train, validation, query, gallery, listed["query"], listed["gallery"]
    return dict(zip(PARTS, parts, strict=True))


def identity_splits(parts, source, options, looks, protocol, titles=None):
    """Splits of images of identities, from files or memory.

    Args:
        parts: dict of `Listed`, see `identity_parts`.
        source: callable from a `Listed`, its labels and a sampler or None to a source of examples, see
            `dreal_tf.data.splits.make_splits`.
        options: `Options`.
        looks: dict of `image_shape`, `mean` and `deviation`, see `preprocessing_of`.
        protocol: `dreal_tf.retrieval.Protocol`.
        titles: dict from identity to its name; None: its number.
    Returns:
        `Splits`.
    Raises:
        InputError: see `identity_set`.
    """
    _check_cameras(parts["query"], parts["gallery"])
    _check_matches(*_labels(parts["query"], parts["gallery"]), protocol)
    identities = np.unique(parts["train"].identities)
    train, validation = parts["train"].chosen(slice(options.train_limit)), parts["validation"]
    labels = np.searchsorted(identities, train.identities)
    labels = add_label_noise(labels, options.label_noise, len(identities), options.seed)
    sampler = _sampler(labels, options)
    validation_source = source(validation, np.searchsorted(identities, validation.identities))
    sources = {"train": source(train, labels, sampler)}
    sources |= {"validation": validation_source, "test": validation_source}
    names = [str(number) if titles is None else titles[number] for number in identities.tolist()]
    preprocessing = preprocessing_of(**looks, window="whole", class_names=names)

    def inputs(part):
        images = source(part, np.zeros(len(part.images), "int32")).ordered(options.batch_size)
        return images.map(lambda batch, _: preprocessing.standardised(batch), tf.data.AUTOTUNE)

    def retrieval_set(query, gallery):
        names = _names(query), _names(gallery)
        return RetrievalSet(inputs(query), inputs(gallery), *_labels(query, gallery), *names, protocol)

    # A gallery of few identities would be too easy to tell networks apart: others join it.
    gallery = parts["validation_gallery"].joined(validation)
    retrieval = {
        "validation": retrieval_set(parts["validation_query"], gallery),
        "test": retrieval_set(parts["query"], parts["gallery"]),
    }
    steps = sampler and sampler.steps_per_epoch
    return make_splits(sources, options, preprocessing, steps, retrieval=retrieval)


def _inspected(tree, names, options, known, record):
    """The `Inspected` images; their pixels by name, or None if they do not fit into memory; the wanted size."""
    size = None
    if options.image_size:
        size = (options.image_size, options.image_width or options.image_size)
    shape = size or (known.image_shape[:2] if known else (1, 1))
    if options.fits_memory(len(names), (*shape, 3)):

        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def read(content):
            return decoded(content) if size is None else read_whole(content, size)

        def checked_pixels(content):
            inspect_image(content)
            return read(content).numpy()

        inspected = inspect_images(tree, names, checked_pixels)
        return inspected, inspected.results, size
    if tree.zipped:
        raise InputError(
            f"Expected a zip file whose {len(names)} images of {shape[0]}×{shape[1]} pixels fit into "
            f"data.memory_limit={options.memory_limit} MiB. Received: {str(tree.root)!r}. Unpack it and "
            "give the folder, choose a smaller data.image_size, or raise the limit."
        )
    if size is None:
        raise options.size_needed(len(names), shape)
    if record is not None:
        return inspect_images(tree, record.changed), None, size  # The run inspected the others.
    if not options.verify:
        return Inspected(), None, size
    return inspect_images(tree, names, checked=checked_before(options.checked, tree)), None, size


def _recorded_parts(tree, listed, titles, path):
    """The record of a run, and the parts of the files that are still there."""
    present = {}
    for part in listed.values():
        cameras = [None] * len(part.images) if part.cameras is None else part.cameras.tolist()
        labels = zip(part.identities.tolist(), cameras, strict=True)
        present |= dict(zip(part.images.tolist(), labels, strict=True))
    record = compared(read_record(path), tree, present)
    numbers = {title: number for number, title in titles.items()}
    parts = {}
    for split in PARTS:
        rows = record.present(split, tree.root)
        cameras = [present[row.path][1] for row in rows]
        parts[split] = Listed(
            np.array([row.path for row in rows], object),
            np.array([numbers.get(row.label, present[row.path][0]) for row in rows], int),
            None if None in cameras else np.array(cameras, int),
        )
    record.warn(tree.root)
    return record, parts


def _names(part):
    """The names of images; for images in memory their numbers."""
    return tuple(map(str, range(len(part.images)) if part.images.ndim > 1 else part.images))


def _without_lone_cameras(listed):
    """Drops the cameras of training or test images if there is one: it would exclude every match."""
    notes = []
    for name, group in (("training", listed.keys() - set(TEST)), ("test", TEST)):
        cameras = [listed[split].cameras for split in group]
        if any(part is None for part in cameras):
            notes.append(f"{name} images have no camera")
        elif len(np.unique(np.concatenate(cameras))) == 1:
            notes.append(f"{name} images are all by one camera")
            listed = listed | {split: listed[split]._replace(cameras=None) for split in group}
    if notes:
        warnings.warn(
            f"{' and '.join(notes).capitalize()}: a query is ranked against all images but itself, and "
            "scores say nothing about other cameras.",
            stacklevel=3,
        )
    return listed


def _labels(query, gallery):
    """The labels of both; an image that is in both has the same number there."""
    numbers = None, None
    if query.images.ndim == 1:  # Names; identical images in memory cannot be recognised.
        _, both = np.unique(np.concatenate([query.images, gallery.images]), return_inverse=True)
        numbers = np.split(both, [len(query.images)])
    pairs = zip((query, gallery), numbers, strict=True)
    return [Labels(part.identities, part.cameras, of_part) for part, of_part in pairs]


def _check_matches(query, gallery, protocol):
    """Refuses a test split that cannot be scored, before the training rather than after it."""
    for start in range(0, len(query.identities), QUERIES_AT_A_TIME):
        part = [v if v is None else v[start : start + QUERIES_AT_A_TIME] for v in query]
        if relations(Labels(*part), gallery, protocol)[0].any():
            return
    raise InputError(
        "Expected a query whose identity another image of the gallery shows, by another camera if "
        f"cameras are known. Received: {len(query.identities)} queries and {len(gallery.identities)} "
        "gallery images without one. Check their identities and cameras."
    )


def _nobody(protocol):
    """The numbers of junk and of distractors."""
    return [number for number in (protocol.junk, protocol.distractor) if number is not None]


def _check_cameras(query, gallery):
    if query.cameras is None:
        return
    absent = sorted(set(query.cameras.tolist()) - set(gallery.cameras.tolist()))
    if absent:
        warnings.warn(
            f"{np.isin(query.cameras, absent).sum()} queries by cameras that took no image of the gallery "
            f"({first_few([*map(str, absent)])}) are ranked against all of it: none of its images is "
            "excluded for them.",
            stacklevel=3,
        )


def _sampler(labels, options):
    each = options.images_per_identity
    if each is None:
        return None
    if options.batch_size % each:
        raise InputError(
            f"Expected a batch of whole identities. Received: data.batch_size={options.batch_size}, "
            f"data.images_per_identity={each}. Make the first a multiple of the second."
        )
    sampler = IdentitySampler(labels, options.batch_size // each, each, options.replicas)
    if sampler.repeated:
        warnings.warn(
            f"{sampler.repeated} identities have fewer than {each} images to train on, which are "
            f"repeated; {sampler.single} of them have one.",
            stacklevel=3,
        )
    return sampler


def _with_reasons(skipped):
    return [f"{name} ({reason})" for name, reason in skipped.items()]


def _some(skipped):
    return first_few(_with_reasons(skipped), separator="; ")
