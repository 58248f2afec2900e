"""Ranked galleries of a run that learnt identities, and one identity as its cameras saw it."""

import numpy as np

from dreal_tf.figures.galleries import GalleryRow, galleries
from dreal_tf.figures.heatmaps import MapRow, heatmaps
from dreal_tf.reporting.rankings import images_of
from dreal_tf.reporting.section import Column, Picture, Section, Table
from dreal_tf.reporting.sections.pointing import TONES
from dreal_tf.reporting.views import as_seen, last_of_stages

NAME, TITLE = "rankings", "Who is the same"
SCORES = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")


def rankings_section(evidence):
    """The scores of the gallery, the top of some rankings, and attention by cameras.

    Args:
        evidence: `dreal_tf.reporting.gathering.Evidence`.
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
        pictures.append(_by_cameras(evidence))
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


def _by_cameras(evidence):
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
