"""Data of identities: who is the same is learnt from some, and asked of others."""

import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.data.arrays import Arrays
from dreal_tf.data.catalogue import known_set, normalisation_of
from dreal_tf.data.decoding import READABLE, decoded, inspect_image, read_whole
from dreal_tf.data.file_record import compared, no_recorded_images, read_record, record_of
from dreal_tf.data.identity_layouts import LAYOUTS, NAMED, Listed, list_identities
from dreal_tf.data.identity_sampling import IdentitySampler, held_out_identities, held_out_images
from dreal_tf.data.image_files import ImageFiles, inspect_images, map_images, warn_of_depth
from dreal_tf.data.pipeline import splits_of
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.data.sections import Options
from dreal_tf.data.splits import with_noise
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
    """Splits of a re-identification set that lies on this machine; none is fetched.

    A fraction `validation_fraction` of the training identities is held out, drawn by the seed: best
    weights are chosen by how these are ranked. The same fraction of the images of every other identity
    is held out too: on them it is watched whether the identities that are trained on are told apart, and
    they join the gallery of those, right for nobody.

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
        InputError: if the data is not there, or not what its layout says; if an image cannot be read;
            or if there are too few identities to hold some out, or for a batch.
    """
    chosen, protocol = Options(**options), LAYOUTS[name].protocol
    tree, listed, titles, left_out = list_identities(name, folder, chosen.on_bad_image)
    left_out |= _queries_of_nobody(listed, protocol)
    size = None
    if chosen.image_size:
        size = (chosen.image_size, chosen.image_width or chosen.image_size)
    record = None
    if chosen.recorded is not None:
        record, listed = _recorded_parts(tree, listed, titles, chosen.recorded)
    names = list(dict.fromkeys(n for part in listed.values() for n in part.images.tolist()))
    known = size or (known_set(name).image_shape[:2] if known_set(name) else (1, 1))
    pixels, sha256 = None, {}
    if chosen.fits_memory(len(names), (*known, 3)):
        pixels, bad, sha256 = _decoded(tree, names, size)
    else:
        _check_unpacked(tree, chosen, len(names), known)
        size, bad, sha256 = _looked_at(tree, names, size, chosen, record)
    if bad:
        _check_bad(bad, chosen)
        listed = {s: part.chosen(~np.isin(part.images, list(bad))) for s, part in listed.items()}
        left_out |= bad
    if left_out:
        warnings.warn(
            f"{len(left_out)} files or folders are left out: {_some(_said(left_out))}", stacklevel=2
        )
    if pixels is not None:
        size = _one_size(pixels)

    def source(part, labels, sampler=None):
        if pixels is not None:
            images = np.stack([pixels[name] for name in part.images])
            return Arrays(images, labels, chosen.resized_crop, sampler)
        paths = [tree.path(name) for name in part.images]
        return ImageFiles(paths, labels, size, chosen.resized_crop, sampler)

    mean, deviation = ([255 * value for value in row] for row in normalisation_of(name, 3))
    looks = {"image_shape": (*size, 3), "mean": mean, "deviation": deviation}
    parts = listed = _without_lone_cameras(listed)
    if record is None:
        parts = identity_parts(listed, chosen, protocol)
        record = _record_of(tree, names, parts, titles, sha256)
    splits = identity_splits(parts, source, chosen, looks, protocol, titles, _said(left_out))
    return splits._replace(files=record)


def identity_parts(listed, options, protocol):
    """Chooses what is held out of the training images of a data set of identities.

    Args:
        listed: dict of `Listed`: "train", "query", "gallery", and "watched" or not.
        options: `Options`.
        protocol: `dreal_tf.retrieval.Protocol`.
    Returns:
        Dict of `Listed`: "train", "validation" (images held out of the same identities),
        "validation_query" and "validation_gallery" (identities held out), "query" and "gallery".
    Raises:
        InputError: see `identity_set`.
    """
    nobody = _nobody(protocol)
    train = _without(listed["train"], nobody)
    kept, query, gallery = held_out_identities(train, options.validation_fraction, options.seed)
    query, gallery, train = (train.chosen(places) for places in (query, gallery, kept))
    watched = listed.get("watched")
    if watched is None:
        kept, held = held_out_images(train.identities, options.validation_fraction, options.seed)
        train, watched = train.chosen(kept), train.chosen(held)
    else:
        watched = watched.chosen(np.isin(watched.identities, np.unique(train.identities)))
    return {
        "train": train,
        "validation": watched,
        "validation_query": query,
        "validation_gallery": gallery,
        "query": listed["query"],
        "gallery": listed["gallery"],
    }


def identity_splits(parts, source, options, looks, protocol, titles=None, skipped=()):
    """Splits of images of identities, wherever the images lie.

    Args:
        parts: dict of `Listed`, see `identity_parts`.
        source: callable from a `Listed`, its labels and a sampler or None to a source of examples, see
            `dreal_tf.data.pipeline.splits_of`.
        options: `Options`.
        looks: dict of `image_shape`, `mean` and `deviation`, see `preprocessing_of`.
        protocol: `dreal_tf.retrieval.Protocol`.
        titles: dict from identity to its name; None: its number.
        skipped: sequence of str, see `Splits`.
    Returns:
        `Splits`.
    Raises:
        InputError: see `identity_set`.
    """
    _check_cameras(parts["query"], parts["gallery"])
    _check_answers(*_labels(parts["query"], parts["gallery"]), protocol)
    identities = np.unique(parts["train"].identities)
    train = parts["train"].chosen(slice(options.train_limit))
    watched = parts["validation"]
    # Others in the gallery, or a few identities would be found too easily to tell networks apart.
    asked = {
        "validation": (parts["validation_query"], parts["validation_gallery"].joined(watched)),
        "test": (parts["query"], parts["gallery"]),
    }
    labels = np.searchsorted(identities, train.identities)
    labels = with_noise(labels, options.label_noise, len(identities), options.seed)
    sampler = _sampler(labels, options)
    watched_source = source(watched, np.searchsorted(identities, watched.identities))
    sources = {"train": source(train, labels, sampler)}
    sources |= {"validation": watched_source, "test": watched_source}
    names = [str(number) if titles is None else titles[number] for number in identities.tolist()]
    prepared = preprocessing_of(**looks, window="whole", class_names=names)

    def asked_of(part):
        images = source(part, np.zeros(len(part.images), "int32")).ordered(options.batch_size)
        return images.map(lambda batch, _: prepared.standardised(batch), tf.data.AUTOTUNE)

    retrieval = {
        split: RetrievalSet(
            asked_of(query),
            asked_of(gallery),
            *_labels(query, gallery),
            _names(query),
            _names(gallery),
            protocol,
        )
        for split, (query, gallery) in asked.items()
    }
    steps = sampler and sampler.steps_per_epoch
    return splits_of(sources, options, prepared, skipped, steps, retrieval)


def _record_of(tree, names, parts, titles, sha256):
    """Which file belongs to which part; those that show nobody, or cannot be read, to none."""
    members = [
        (split, name, titles[identity])
        for split, part in parts.items()
        for name, identity in zip(part.images.tolist(), part.identities.tolist(), strict=True)
    ]
    return record_of(tree, members, names, sha256)


def _recorded_parts(tree, listed, titles, path):
    """The record of a run, and the parts of the files that are still there."""
    found = {}
    for part in listed.values():
        cameras = [None] * len(part.images) if part.cameras is None else part.cameras.tolist()
        found |= dict(
            zip(part.images.tolist(), zip(part.identities.tolist(), cameras, strict=True), strict=True)
        )
    record = compared(read_record(path), tree, found)
    numbers = {title: number for number, title in titles.items()}
    parts = {}
    for split in PARTS:
        rows = [row for row in record.rows if row.split == split and row.path in found]
        if not rows:
            raise no_recorded_images(split, tree.root)
        cameras = [found[row.path][1] for row in rows]
        parts[split] = Listed(
            np.array([row.path for row in rows], str),
            np.array([numbers.get(row.label, found[row.path][0]) for row in rows], int),
            None if None in cameras else np.array(cameras, int),
        )
    record.warn(tree.root)
    return record, parts


def _names(part):
    """Of images that lie in memory, their numbers."""
    if part.images.ndim > 1:
        return tuple(map(str, range(len(part.images))))
    return tuple(map(str, part.images))


def _without(train, nobody):
    shown = ~np.isin(train.identities, nobody)
    if not shown.all():
        warnings.warn(
            f"{int((~shown).sum())} training images of nobody (identity "
            f"{' or '.join(map(str, nobody))}) are left out.",
            stacklevel=3,
        )
    return train.chosen(shown)


def _without_lone_cameras(listed):
    """Drops the cameras of training or test images if there is one: it would leave out every answer."""
    said = {}
    for which, group in (("training", listed.keys() - set(TEST)), ("test", TEST)):
        cameras = [listed[split].cameras for split in group]
        if any(of_split is None for of_split in cameras):
            said[which] = "have no camera"
        elif len(np.unique(np.concatenate(cameras))) == 1:
            said[which] = "are all by one camera"
            listed = listed | {split: listed[split]._replace(cameras=None) for split in group}
    if said:
        warnings.warn(
            f"{' and '.join(f'{which} images {why}' for which, why in said.items()).capitalize()}: a "
            "query is ranked against all images but itself, and scores say nothing about other cameras.",
            stacklevel=3,
        )
    return listed


def _labels(query, gallery):
    """The labels of both; an image that is in both has the same number there."""
    numbers = None, None
    if query.images.ndim == 1:  # Names; of images that lie in memory nothing tells which are the same.
        _, both = np.unique(np.concatenate([query.images, gallery.images]), return_inverse=True)
        numbers = np.split(both, [len(query.images)])
    return [
        Labels(part.identities, part.cameras, of_part)
        for part, of_part in zip((query, gallery), numbers, strict=True)
    ]


def _check_answers(query, gallery, protocol):
    """Refuses a test split that cannot be scored, before the training rather than after it."""
    for start in range(0, len(query.identities), QUERIES_AT_A_TIME):
        part = [v if v is None else v[start : start + QUERIES_AT_A_TIME] for v in query]
        if relations(Labels(*part), gallery, protocol)[0].any():
            return
    raise InputError(
        "Expected a query whose identity another image of the gallery shows, by another camera if "
        f"cameras are known. Received: {len(query.identities)} queries and {len(gallery.identities)} "
        "gallery images without one. Look at their identities and cameras."
    )


def _nobody(protocol):
    """The numbers of junk and of distractors."""
    return [number for number in (protocol.junk, protocol.distractor) if number is not None]


def _queries_of_nobody(listed, protocol):
    """Takes junk and distractors, which nothing in a gallery is right for, out of the queries."""
    query = listed["query"]
    nobody = np.isin(query.identities, _nobody(protocol))
    listed["query"] = query.chosen(~nobody)
    return dict.fromkeys(query.images[nobody].tolist(), "junk or a distractor, which is no query")


def _check_cameras(query, gallery):
    if query.cameras is None:
        return
    absent = sorted(set(query.cameras.tolist()) - set(gallery.cameras.tolist()))
    if absent:
        count = int(np.isin(query.cameras, absent).sum())
        warnings.warn(
            f"{count} queries by cameras that took no image of the gallery "
            f"({', '.join(map(str, absent[:NAMED]))}{', ...' if absent[NAMED:] else ''}) are ranked "
            "against all of it: nothing is left out for them.",
            stacklevel=3,
        )


def _sampler(labels, options):
    each = options.images_per_identity
    if each is None:
        return None
    if options.batch_size % each:
        raise InputError(
            "Expected a batch of whole identities. Received: data.batch_size="
            f"{options.batch_size}, data.images_per_identity={each}. Make the first a multiple of the "
            "second."
        )
    sampler = IdentitySampler(labels, options.batch_size // each, each, options.replicas)
    if sampler.repeated:
        warnings.warn(
            f"{sampler.repeated} identities have fewer than {each} images to train on, which are "
            f"repeated; {sampler.single} of them have one.",
            stacklevel=3,
        )
    return sampler


def _check_unpacked(tree, options, images, size):
    if tree.zipped:
        raise InputError(
            f"Expected a zip file whose {images} images of {size[0]}×{size[1]} pixels fit into "
            f"data.memory_limit={options.memory_limit} MiB. Received: {str(tree.root)!r}. Unpack it and "
            "give the folder, choose a smaller data.image_size, or raise the limit."
        )


def _decoded(tree, names, size):
    """The pixels of images by name, why some have none, and the SHA-256 of all."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def whole(content):
        return decoded(content) if size is None else read_whole(content, size)

    def pixels(content):
        inspect_image(content)
        return whole(content).numpy()

    *found, deep = map_images(tree, names, pixels)
    warn_of_depth([tree.path(name) for name in deep])
    return found


def _looked_at(tree, names, size, options, record):
    """The size of images that are read as training goes, which cannot be read, and their SHA-256."""
    if size is None:
        raise InputError(
            "Expected data.image_size for images that take more memory than data.memory_limit="
            f"{options.memory_limit} MiB. Received: {len(names)} images. Set it, and "
            "data.image_width where they are not square."
        )
    if record is not None:
        names = record.changed  # The others were looked at before.
    elif not options.verify:
        return size, {}, {}
    inspected = inspect_images(tree, names)
    warn_of_depth([tree.path(name) for name in inspected.deep])
    return size, inspected.problems, inspected.sha256


def _check_bad(bad, options):
    if options.on_bad_image == "stop":
        raise InputError(
            f"Expected {READABLE} images that can be read. Received: {len(bad)} that cannot: "
            f"{_some(_said(bad))}. Remove or replace them, or "
            "leave them out with data.on_bad_image=skip."
        )


def _said(left_out):
    return [f"{name} ({why})" for name, why in left_out.items()]


def _some(skipped):
    more = f"; and {len(skipped) - NAMED} more" if skipped[NAMED:] else ""
    return "; ".join(skipped[:NAMED]) + more


def _one_size(pixels):
    sizes = {image.shape[:2] for image in pixels.values()}
    if len(sizes) > 1:
        raise InputError(
            "Expected images of one size where data.image_size is not set. Received: "
            f"{', '.join(map(str, sorted(sizes)[:NAMED]))} (height, width in pixels). Set it, and "
            "data.image_width where they are not square."
        )
    return next(iter(sizes))
