"""The report of a run on identities: what is drawn is how the gallery is ranked."""

import csv

import numpy as np
import pytest
from market_layout import market

from dreal_tf import load_recipe, report
from dreal_tf.analysis.report.evidence import images_at
from dreal_tf.analysis.report.rankings import shown_images
from dreal_tf.training.builder import build_data
from dreal_tf.training.train import train

TINY = {
    "backbone.depth": 8,
    "backbone.width": 0.25,
    "attention.reduction": 2,
    "data.name": "market1501",
    "data.image_size": 24,
    "data.image_width": 12,
    "data.batch_size": 16,
    "schedule.epochs": 1,
    "schedule.warmup_epochs": 0,
    "dreal.enabled": False,
    "run.figures": 0.0,
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    market(folder, train=range(2, 14))
    return load_recipe("coil100_resnet20_cbam").replace(TINY | {"data.folder": str(folder)})


@pytest.fixture(scope="module")
def written(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    metrics = train(recipe, folder / "run")
    return folder / "run", metrics, report(folder / "run", images=8)


def rows(folder, name):
    with (folder / "report" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_its_scores_are_those_of_the_run(written):
    folder, metrics, _ = written
    (row,) = rows(folder, "ranking_scores")
    for score in ("rank_1", "rank_5", "mAP", "mINP"):
        assert float(row[score]) == pytest.approx(metrics[score], abs=1e-6)
    assert "Rank-1" in (folder / "report.html").read_text()


def test_what_is_called_right_is_the_same_identity_by_another_camera(written):
    folder, _, result = written
    assert "ranked_galleries" in result["figures"] and "attention_by_cameras" in result["figures"]
    shown = rows(folder, "ranked_galleries")
    for row in shown:
        name = row["image"].rpartition("/")[2]
        same = name.startswith(f"{int(row['identity']):04}_")
        assert (row["right"] == "yes") == same
        assert not (same and f"_c{row['camera']}" in name)  # The protocol excludes it.
    assert len({row["query"] for row in shown}) == len({row["identity"] for row in shown}) > 1


def test_one_identity_is_shown_once_by_each_camera(recipe):
    retrieval = build_data(recipe).retrieval["test"]
    queries, sightings = shown_images(retrieval, seed=0)
    labels = retrieval.gallery_labels
    (identity,) = set(sightings.identities)
    assert identity in queries.identities and len(set(queries.identities)) == len(queries.positions) > 1
    assert set(np.asarray(labels.identities)[sightings.positions]) == {identity}
    assert np.asarray(labels.cameras)[sightings.positions].tolist() == sightings.cameras.tolist()
    assert len(set(sightings.cameras)) == len(sightings.positions) > 1
    whole = np.concatenate(list(retrieval.gallery.as_numpy_iterator()))
    np.testing.assert_array_equal(sightings.inputs, whole[sightings.positions])
    again = images_at(retrieval.gallery, sightings.positions[::-1])
    np.testing.assert_array_equal(again, sightings.inputs[::-1])
