"""Ranked galleries of a run on identities: computed, drawn and described."""

from typing import NamedTuple

import numpy as np

from dreal_tf.analysis.report.maps import TONES
from dreal_tf.analysis.report.page import Column, Picture, Section, Table
from dreal_tf.analysis.report.views import as_seen, images_at, last_of_stages
from dreal_tf.retrieval import Labels, ranked_gallery, score_embeddings
from dreal_tf.retrieval.embedding import Embedder
from dreal_tf.visualization.attention_maps import module_maps
from dreal_tf.visualization.galleries import GalleryRow, galleries
from dreal_tf.visualization.heatmaps import MapRow, heatmaps

QUERIES, TOP = 6, 10  # Queries that are shown, and of each how many of the nearest images.


class Ranking(NamedTuple):
    """What a network makes of the test split's queries and gallery.

    Attributes:
        scores: dict, see `dreal_tf.retrieval.Scores.summary`.
        places: int array (shown queries, TOP), of the gallery; -1 where there is no more.
        right: bool array of that shape.
        own: dict by module of float arrays (cameras, rows, columns): its attention on one identity.
    """

    scores: dict
    places: np.ndarray
    right: np.ndarray
    own: dict


class Asked(NamedTuple):
    """What is shown of the test split's queries and gallery.

    Attributes:
        queries: int array (n,), positions of the shown queries.
        identities, cameras: int arrays (n,), theirs.
        inputs: float array (n, height, width, channels), as networks take them.
        seen: int array (m,), positions in the gallery of one identity's images, each by another camera.
        seen_identity: int; `seen_cameras`: int array (m,).
        seen_inputs: float array (m, height, width, channels).
    """

    queries: np.ndarray
    identities: np.ndarray
    cameras: np.ndarray
    inputs: np.ndarray
    seen: np.ndarray
    seen_identity: int
    seen_cameras: np.ndarray
    seen_inputs: np.ndarray


def asked_of(retrieval, seed):
    """Draws the queries to show, of different identities as far as there are, and one identity.

    Args:
        retrieval: `dreal_tf.data.RetrievalSet`.
        seed: int.
    Returns:
        `Asked`.
    """
    random = np.random.default_rng(seed)
    labels, gallery = retrieval.query_labels, retrieval.gallery_labels
    order = random.permutation(len(labels.identities))
    _, first = np.unique(np.asarray(labels.identities)[order], return_index=True)
    queries = np.sort(order[np.sort(first)[:QUERIES]])
    identity = int(labels.identities[random.choice(queries)])
    seen, cameras = _by_cameras(gallery, identity)
    return Asked(
        queries,
        np.asarray(labels.identities)[queries],
        _cameras(labels, queries),
        images_of(retrieval.query, queries),
        seen,
        identity,
        cameras,
        images_of(retrieval.gallery, seen),
    )


def ranking_of(network, retrieval, asked):
    """Ranks the gallery for every query, by cosine.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
        retrieval: `dreal_tf.data.RetrievalSet`.
        asked: `Asked`.
    Returns:
        `Ranking`.
    """
    embed = Embedder(network)
    query, gallery = embed(retrieval.query), embed(retrieval.gallery)
    labels = retrieval.query_labels, retrieval.gallery_labels
    scores = score_embeddings(query, gallery, *labels, protocol=retrieval.protocol)
    chosen = Labels(asked.identities, None if labels[0].cameras is None else asked.cameras)
    places, right = ranked_gallery(
        query[asked.queries], gallery, chosen, labels[1], TOP, protocol=retrieval.protocol
    )
    own = module_maps(network, asked.seen_inputs)
    return Ranking(scores.summary(), places, right, own)


def images_of(data, positions):
    """Some images of a data set without labels, in the order asked for.

    Args:
        data: tf.data.Dataset of images, batched.
        positions: int array (n,), each at most once.
    Returns:
        Array (n, height, width, channels).
    """
    return images_at(data.map(lambda images: (images, 0)), positions)


def _cameras(labels, positions):
    cameras = labels.cameras
    return np.zeros(len(positions), int) if cameras is None else np.asarray(cameras)[positions]


def _by_cameras(labels, identity):
    """The first image of an identity by every camera; without cameras its first few."""
    mine = np.flatnonzero(np.asarray(labels.identities) == identity)
    cameras = _cameras(labels, mine)
    if labels.cameras is None:
        return mine[:QUERIES], cameras[:QUERIES]
    found, first = np.unique(cameras, return_index=True)
    return mine[first], found


NAME, TITLE = "rankings", "Who is the same"
SCORES = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")


def rankings_section(evidence):
    """The scores of the gallery, the top of some rankings, and attention by cameras.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`; None for data of classes, which has no gallery.
    """
    if evidence.asked is None:
        return None
    text = (
        "Identities that were never trained on: each query is ranked against the gallery by the cosine of "
        "the embeddings, without the images of its own identity by its own camera. The queries were not "
        "chosen by hand: they are drawn by the run's seed, of different identities. A green frame is a "
        "right answer, a red and broken one a wrong answer.",
    )
    pictures = [_galleries(evidence)]
    if any(run.ranking.own for run in evidence.runs.values()):
        pictures.append(_cameras_picture(evidence))
        text += (
            "Below is one of these identities as its cameras saw it, with the modules' own attention over "
            "places: attention that knows the object lies on the same parts of it.",
        )
    return Section(NAME, TITLE, text, tuple(pictures), (_scores(evidence),))


def _scores(evidence):
    rows = [
        (name, *(run.ranking.scores[score] for score in SCORES)) for name, run in evidence.runs.items()
    ]
    columns = [Column("network"), *(Column(score, ".4f") for score in SCORES)]
    some = next(iter(evidence.runs.values())).ranking.scores
    caption = f"Mean over {some['queries']:,} queries."
    if some["queries_without_match"]:
        caption += f" {some['queries_without_match']:,} more have no match in the gallery."
    return Table("ranking_scores", columns, rows, caption)


def _galleries(evidence):
    asked, retrieval = evidence.asked, evidence.data.retrieval["test"]
    shown = np.unique(np.concatenate([run.ranking.places.ravel() for run in evidence.runs.values()]))
    shown = shown[shown >= 0]
    pixels = as_seen(evidence.data, images_of(retrieval.gallery, shown))
    rows, numbers = [], []
    for name in reversed(evidence.runs):  # The baseline above.
        ranking = evidence.runs[name].ranking
        there = ranking.places >= 0
        found = pixels[np.searchsorted(shown, np.where(there, ranking.places, shown[0]))]
        rows.append(GalleryRow(name, found, ranking.right, there, TONES[name]))
        numbers += _rows(name, asked, ranking, retrieval)
    labels = [_said(identity, camera) for identity, camera in zip(*asked[1:3], strict=True)]
    figure = galleries(as_seen(evidence.data, asked.inputs), labels, rows)
    pair = ", baseline above this run" if evidence.baseline else ""
    caption = f"{len(labels)} queries and their nearest ten images{pair}."
    columns = ("run", "query", "identity", "camera", "rank", "image", "right")
    alt = " ".join(
        f"Of the nearest ten images {run.ranking.right.sum(axis=1).mean():.1f} are right in {name}."
        for name, run in evidence.runs.items()
    )
    return Picture(figure, Table("ranked_galleries", [*map(Column, columns)], numbers, caption), alt)


def _rows(name, asked, ranking, retrieval):
    for number, query in enumerate(asked.queries):
        who = retrieval.query_names[query], int(asked.identities[number]), int(asked.cameras[number])
        for rank, place in enumerate(ranking.places[number]):
            if place >= 0:
                right = "yes" if ranking.right[number, rank] else "no"
                yield name, *who, rank + 1, retrieval.gallery_names[place], right


def _cameras_picture(evidence):
    asked = evidence.asked
    rows, numbers = [], []
    modules = dict.fromkeys(m for run in evidence.runs.values() for m in run.ranking.own)
    for module in last_of_stages(modules):
        for name in reversed(evidence.runs):
            maps = evidence.runs[name].ranking.own.get(module)
            if maps is not None:
                place, _, suffix = module.partition("/")
                rows.append(MapRow(f"{place}\n{suffix}\n{name}", maps, None, TONES[name], ranged=True))
                for camera, map_ in zip(asked.seen_cameras, maps, strict=True):
                    cells = np.ndenumerate(map_)
                    numbers += [(module, name, int(camera), *at, float(value)) for at, value in cells]
    labels = [f"camera {camera}" for camera in asked.seen_cameras]
    pixels = as_seen(evidence.data, asked.seen_inputs)
    figure = heatmaps(pixels, labels, rows, columns=len(labels), legend="attention")
    caption = f"Identity {asked.seen_identity} by each camera, and the modules' own attention."
    alt = f"One identity by {len(labels)} cameras with the maps of {', '.join(modules)}."
    columns = ("module", "run", "camera", "row", "column", "value")
    return Picture(
        figure, Table("attention_by_cameras", [*map(Column, columns)], numbers, caption), alt
    )


def _said(identity, camera):
    return f"{identity}\ncamera {camera}" if camera else str(identity)
