"""A run on identities: train, continue, evaluate, export."""

import csv
import json

import keras
import numpy as np
import pytest
from commands import called
from market_layout import market

from dreal_tf import embedding_network
from dreal_tf.cli.train import resolve
from dreal_tf.deployment.export import BOUNDS, compare_embeddings
from dreal_tf.deployment.exported_model import load as load_export
from dreal_tf.errors import InputError, RunError
from dreal_tf.retrieval.embedding import Embedder, scores_of
from dreal_tf.training.builder import build, build_data
from dreal_tf.training.evaluation import evaluate_splits
from dreal_tf.training.run_directory import RunDirectory

TINY = [
    "backbone.depth=8",
    "backbone.width=0.25",
    "attention.kind=se",
    "attention.reduction=2",
    "data.image_size=24",
    "data.image_width=12",
    "data.batch_size=16",
    "data.name=market1501",
    "dreal.instrument_fraction=0.0",
    "run.figures=0",
]
CHANGES = [part for change in TINY for part in ("--set", change)]


def train(folder, *arguments, code=0):
    command = ("train", "coil100_resnet20_cbam", "--data-dir", "market", *CHANGES, *arguments)
    done = called(*command, folder=folder)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identities")
    market(folder / "market", train=range(2, 14))
    train(folder, "--out", "run", "--set", "schedule.epochs=3")
    return folder


def test_what_a_run_leaves(folder):
    run = RunDirectory(folder / "run")
    metrics = run.read_metrics()
    assert metrics["queries"] == 18 and metrics["queries_without_match"] == 0
    assert 0 < metrics["mAP"] <= metrics["rank_10"] <= 1
    assert {"accuracy", "loss", "reward/conv2_1/se", "gain/conv4_1/se"} <= set(metrics)
    with run.history.open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["val_mAP"]))
    assert int(best["epoch"]) == metrics["best_epoch"]
    assert float(best["val_mAP"]) == metrics["validation_mAP"]
    assert float(best["val_accuracy"]) == metrics["validation_accuracy"]
    assert {"triplet_loss", "centre_loss", "val_rank_1", "val_mINP"} <= set(rows[0])
    assert "val_triplet_loss" not in rows[0]


def test_the_scores_are_those_of_the_kept_network(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = RunDirectory("run")
    data = build_data(run.read_recipe())
    kept = keras.saving.load_model(run.network)
    assert kept.output_shape == (None, len(data.class_names))
    scores = scores_of(Embedder(kept), data.retrieval["test"])
    assert {name: run.read_metrics()[name] for name in scores} == pytest.approx(scores)


@pytest.mark.slow
def test_other_ways_to_rank(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = RunDirectory("run")
    embed, data = Embedder(keras.saving.load_model(run.network)), build_data(run.read_recipe())
    options = {"flip": True, "expansion": 2, "rerank": True}
    flags = "--flip", "--expansion", "2", "--rerank", "--json"
    done = called("evaluate", "run", *flags, folder=folder)
    assert done.returncode == 0, done.stderr
    scores = scores_of(embed, data.retrieval["test"], **options)
    assert {name: json.loads(done.stdout)[name] for name in scores} == pytest.approx(scores)


@pytest.mark.slow
def test_an_export_gives_embeddings_of_unit_length(folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = called("export", "run", "--out", "lite", "--format", "litert", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["images"] == 18 and figures["agreement"] == 1 and figures["least_cosine"] > 0.9999
    data = build_data(RunDirectory("run").read_recipe())
    inputs = next(iter(data.retrieval["test"].query))
    own = embedding_network(keras.saving.load_model("run/model.keras"))(inputs).numpy()
    given = load_export("lite")(data.preprocessing.pixels(inputs).numpy())
    np.testing.assert_allclose(given, own, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(given, axis=1), 1, atol=1e-4)
    done = called("predict", "lite", "market/query", folder=folder)
    assert done.returncode == 2 and "which gives embeddings" in done.stderr


def test_a_file_that_says_nobody(folder):
    (folder / "market" / "query" / "who.jpg").write_bytes(b"")
    done = train(folder, "--out", "none", code=2)
    (folder / "market" / "query" / "who.jpg").unlink()
    message = " ".join(done.stderr.split())
    assert "Received: 1 that do not: query/who.jpg" in message
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ("data.batch_size=256", "at least 64 identities and 256 images for one batch"),
        ("augment.mix_up=0.2", "batches of whole identities, unmixed"),
        ("backbone.bnneck=false", "Expected a network with a bnneck"),
    ],
)
def test_what_cannot_be_trained(change, message):
    recipe = resolve("coil100_resnet20_cbam", smoke=True, changes=[change])
    with pytest.raises(InputError, match=message):
        build(recipe)


def test_options_of_rankings_are_for_identities():
    data = build_data(resolve("digits_resnet8_se"))
    with pytest.raises(InputError, match="a run on data of identities for rerank"):
        evaluate_splits(None, data, ranking={"rerank": True})


def test_an_export_must_keep_lengths_and_neighbours():
    own = np.random.default_rng(0).normal(size=(40, 8))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    assert compare_embeddings(own + 1e-6, own, BOUNDS["float32"])["agreement"] == 1
    for other in (own + 1e-3, own[::-1], 1.1 * own):
        with pytest.raises(RunError, match="every coordinate of embeddings"):
            compare_embeddings(other, own, BOUNDS["float32"])


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_bits(folder):
    whole = [row for row in (folder / "run" / "history.csv").read_text().splitlines()]
    train(folder, "--out", "stopped", "--set", "schedule.epochs=3", "--set", "run.seed=0")
    # The last epoch is done again from the one before.
    for name in ("metrics.json", "model.keras"):
        (folder / "stopped" / name).unlink()
    for file in (folder / "stopped" / "checkpoints").glob("epoch-3.*"):
        file.unlink()
    train(folder, "--out", "stopped", "--set", "schedule.epochs=3", "--set", "run.seed=0")
    again = (folder / "stopped" / "history.csv").read_text().splitlines()
    seconds = whole[0].split(",").index("seconds")
    for one, other in zip(whole, again, strict=True):
        one, other = one.split(","), other.split(",")
        del one[seconds], other[seconds]
        assert one == other
