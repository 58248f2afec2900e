"""Re-identification: scores, ranked galleries, and the attention on one identity by camera."""

from typing import NamedTuple

import numpy as np

from dreal_tf.analysis.report.evidence import TONES, images_at
from dreal_tf.analysis.report.maps import last_of_stages, map_rows
from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table
from dreal_tf.retrieval import Labels, ranked_gallery
from dreal_tf.visualization.attention_maps import module_maps
from dreal_tf.visualization.heatmaps import GalleryRow, galleries, heatmaps

QUERIES, TOP = 6, 10  # Queries that are shown, and the number of nearest images of each.
SCORES = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")


class Sightings(NamedTuple):
    """Some images of a query set or a gallery.

    Attributes:
        positions: int array (n,), in the set.
        identities, cameras: int arrays (n,); cameras are 0 if they are unknown.
        inputs: float array (n, height, width, channels), as networks take them.
    """

    positions: np.ndarray
    identities: np.ndarray
    cameras: np.ndarray
    inputs: np.ndarray


def rankings_section(evidence):
    """The scores of the gallery, the top of some rankings, and attention by cameras.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`; None for data of classes, which has no gallery.
    """
    if not evidence.data.retrieval:
        return None
    queries, identity = shown_images(evidence.data.retrieval["test"], evidence.seed)
    text = (
        "Identities that were never trained on: each query is ranked against the gallery by the cosine of "
        "the embeddings, without the images of its own identity by its own camera. The queries were not "
        "chosen by hand: they are drawn by the run's seed, of different identities. A green frame marks a "
        "match, a red and broken one a wrong image.",
    )
    pictures = [_galleries(evidence, queries)]
    own = {name: module_maps(run.network, identity.inputs) for name, run in evidence.runs.items()}
    if any(own.values()):
        pictures.append(_by_camera(evidence, identity, own))
        text += (
            "Below is one of these identities as its cameras saw it, with the modules' own attention to "
            "positions: attention that knows the object lies on the same parts of it.",
        )
    return ReportSection("rankings", "Re-identification", text, tuple(pictures), (_scores(evidence),))


def shown_images(retrieval, seed):
    """Draws the queries to show, of different identities as far as possible, and one identity.

    Args:
        retrieval: `dreal_tf.data.identities.RetrievalSet`.
        seed: int.
    Returns:
        `Sightings` of the queries, and of one of their identities in the gallery: the first image by each
        camera; without cameras its first few.
    """
    random = np.random.default_rng(seed)
    identities = np.asarray(retrieval.query_labels.identities)
    order = random.permutation(len(identities))
    _, first = np.unique(identities[order], return_index=True)
    queries = np.sort(order[np.sort(first)[:QUERIES]])
    identity = identities[random.choice(queries)]
    gallery = retrieval.gallery_labels
    positions = np.flatnonzero(np.asarray(gallery.identities) == identity)
    if gallery.cameras is None:
        positions = positions[:QUERIES]
    else:
        positions = positions[np.unique(np.asarray(gallery.cameras)[positions], return_index=True)[1]]
    return (
        _sightings(retrieval.query, retrieval.query_labels, queries),
        _sightings(retrieval.gallery, gallery, positions),
    )


def _sightings(data, labels, positions):
    cameras = np.zeros(len(positions), int)
    if labels.cameras is not None:
        cameras = np.asarray(labels.cameras)[positions]
    identities = np.asarray(labels.identities)[positions]
    return Sightings(positions, identities, cameras, images_at(data, positions))


def _scores(evidence):
    scores = {name: run.embeddings.scores for name, run in evidence.runs.items()}
    rows = [(name, *(of_run[score] for score in SCORES)) for name, of_run in scores.items()]
    columns = ["network", *(Column(score, ".4f") for score in SCORES)]
    ours = scores["this run"]
    caption = f"Mean over {ours['queries']:,} queries."
    if ours["queries_without_match"]:
        caption += f" {ours['queries_without_match']:,} more have no match in the gallery."
    return Table("ranking_scores", columns, rows, caption)


def _galleries(evidence, queries):
    retrieval = evidence.data.retrieval["test"]
    known = retrieval.query_labels.cameras is not None
    labels = Labels(queries.identities, queries.cameras if known else None)
    # By run, both (queries, TOP): positions in the gallery, -1 at its end, and whether they match.
    ranked = {
        name: ranked_gallery(
            run.embeddings.query[queries.positions],
            run.embeddings.gallery,
            labels,
            retrieval.gallery_labels,
            TOP,
            protocol=retrieval.protocol,
        )
        for name, run in evidence.runs.items()
    }
    shown = np.unique(np.concatenate([positions.ravel() for positions, _ in ranked.values()]))
    shown = shown[shown >= 0]
    pixels = evidence.pixels(images_at(retrieval.gallery, shown))
    rows, numbers = [], []
    for name in reversed(ranked):  # The baseline above.
        positions, matches = ranked[name]
        there = positions >= 0
        images = pixels[np.searchsorted(shown, np.where(there, positions, shown[0]))]
        rows.append(GalleryRow(name, images, matches, there, TONES[name]))
        for query, rank in np.argwhere(there):
            numbers.append(
                (
                    name,
                    retrieval.query_names[queries.positions[query]],
                    int(queries.identities[query]),
                    int(queries.cameras[query]),
                    int(rank) + 1,
                    retrieval.gallery_names[positions[query, rank]],
                    "yes" if matches[query, rank] else "no",
                )
            )
    names = [
        f"{identity}\ncamera {camera}" if camera else str(identity)
        for identity, camera in zip(queries.identities, queries.cameras, strict=True)
    ]
    pair = ", baseline above this run" if evidence.baseline else ""
    columns = ("run", "query", "identity", "camera", "rank", "image", "right")
    caption = f"{len(names)} queries and their nearest ten images{pair}."
    alt = " ".join(
        f"In {name}, {matches.sum(axis=1).mean():.1f} of the nearest ten images match."
        for name, (_, matches) in ranked.items()
    )
    query_pixels = evidence.pixels(queries.inputs)
    return Picture(
        galleries(query_pixels, names, rows),
        Table("ranked_galleries", columns, numbers, caption),
        alt,
    )


def _by_camera(evidence, identity, own):
    rows, owners = map_rows({run: last_of_stages(maps) for run, maps in own.items()}, evidence.runs)
    numbers = [
        (module, run, int(camera), *cell, float(value))
        for module, run in owners
        for camera, map_ in zip(identity.cameras, own[run][module], strict=True)
        for cell, value in np.ndenumerate(map_)
    ]
    labels = [f"camera {camera}" for camera in identity.cameras]
    pixels, count = evidence.pixels(identity.inputs), len(labels)
    columns = ("module", "run", "camera", "row", "column", "value")
    caption = f"Identity {identity.identities[0]} by each camera, and the modules' own attention."
    return Picture(
        heatmaps(pixels, labels, rows, columns=count, legend="attention"),
        Table("attention_by_cameras", columns, numbers, caption),
        f"One identity by {count} cameras with the maps of {', '.join(dict.fromkeys(m for m, _ in owners))}.",
    )
