"""Whole runs: the files they leave, and interruptions at any moment."""

import csv
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from dreal_tf import load_recipe
from dreal_tf.data.files import read_record
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training import train as training
from dreal_tf.training.builder import build_data, build_network
from dreal_tf.training.callbacks import read_history

EPOCHS = 3


@pytest.fixture(scope="module")
def recipe():
    """Without instruments and figures, whose graphs take seconds to trace."""
    changes = {"schedule.epochs": EPOCHS, "dreal.actor_weight": 0.3, "run.seed": 2}
    changes |= {"dreal.instrument_fraction": 0.0, "run.figures": 0}
    return load_recipe("digits_resnet8_se", smoke=True).replace(changes)


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """A run that nothing interrupted, with figures."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, training.train(recipe.replace({"run.figures": 0.02}), out)


def test_a_run_leaves_the_promised_files(finished, recipe):
    out, metrics = finished
    names = {path.name for path in out.iterdir()}
    assert names == {
        "SHA256SUMS",
        "recipe.json",
        "environment.json",
        "history.csv",
        "metrics.json",
        "model.keras",
        "checkpoints",
        "preprocessing.json",
        "tensorboard",
    }
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert load_recipe(out / "recipe.json") == recipe.replace({"run.figures": 0.02})
    assert any((out / "tensorboard" / "train").iterdir())
    assert any((out / "tensorboard" / "figures").iterdir())


def pictures(folder, count, names=("cats", "dogs"), begin=0):
    random = np.random.default_rng(begin)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(begin, begin + count):
            image = tf.io.encode_png(random.integers(0, 256, (8, 8, 3), "uint8"))
            tf.io.write_file(str(folder / name / f"{number:04}.png"), image)


def test_images_that_come_after_the_training_are_not_tested_on(recipe, tmp_path):
    pictures(tmp_path / "photos", 30)
    changes = {"data.name": "folder", "data.folder": str(tmp_path / "photos"), "data.image_size": 8}
    recipe = recipe.replace(changes | {"data.batch_size": 8, "data.validation_fraction": 0.2})
    out = tmp_path / "run"
    training.train(recipe, out, conclude=False)
    record = (out / "splits.csv").read_text()
    pictures(tmp_path / "photos", 100, begin=500), pictures(tmp_path / "photos", 9, ["cows"])
    with pytest.warns(UserWarning, match="209 new"):
        metrics = training.train(recipe, out)
    assert (out / "splits.csv").read_text() == record and record.count(',"test"\n') == 12
    with pytest.warns(UserWarning, match="209 new"):
        assert training.evaluate(out)["accuracy"] == pytest.approx(metrics["accuracy"])
    (tmp_path / "photos" / "cats" / "0003.png").unlink()
    with pytest.raises(InputError, match="Expected the images of the run"):
        training.train(recipe, out)


def test_a_run_does_not_check_again_what_another_beside_it_has_checked(recipe, tmp_path):
    pictures(tmp_path / "photos", 30)
    changes = {"data.name": "folder", "data.folder": str(tmp_path / "photos"), "data.image_size": 8}
    recipe = recipe.replace(changes | {"data.batch_size": 8, "data.validation_fraction": 0.2})

    def sums(out, **options):
        training.train(recipe, out, conclude=False, **options)
        return {row.path: row.sha256 for row in read_record(out / "splits.csv").rows}

    first = sums(tmp_path / "one" / "first")
    least, *_, other, same = sorted((tmp_path / "photos" / "cats").iterdir(), key=os.path.getsize)
    stamp = os.stat(same)
    for path in (same, other):
        path.write_bytes(least.read_bytes().ljust(stamp.st_size, b"\0"))
    os.utime(same, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # Nothing tells that it was changed.
    for out, options in (
        ("one/second", {}),
        ("two/third", {"checked": tmp_path / "one/first/splits.csv"}),
    ):
        again = sums(tmp_path / out, **options)
        assert {name for name in first if first[name] != again[name]} == {f"cats/{other.name}"}
    (tmp_path / "one" / "second" / "splits.csv").write_text("damaged")
    assert sums(tmp_path / "one" / "fourth")[f"cats/{same.name}"] == first[f"cats/{same.name}"]
    alone = sums(tmp_path / "three" / "fifth")
    assert {name for name in first if first[name] != alone[name]} == {
        f"cats/{path.name}" for path in (same, other)
    }


def test_history_has_a_row_per_epoch_with_the_logged_names(finished):
    out, _ = finished
    with (out / "history.csv").open() as file:
        header = next(csv.reader(file))
    rows = read_history(out / "history.csv")
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    modules = ["conv2_1/se", "conv3_1/se", "conv4_1/se"]
    names = {"loss", "critic_loss", "actor_loss", "accuracy", "reward_measured"}
    names |= {f"{q}/{m}" for q in ("reward", "gain", "critique") for m in modules}
    assert names | {f"val_{name}" for name in names} <= set(header)


def test_the_saved_network_is_the_best_one_and_gives_the_reported_accuracy(finished, recipe):
    out, metrics = finished
    history = read_history(out / "history.csv")
    best = max(history, key=lambda row: row["val_accuracy"])
    assert metrics["best_epoch"] == best["epoch"]
    assert metrics["validation_accuracy"] == pytest.approx(best["val_accuracy"])
    network, data = keras.saving.load_model(out / "model.keras"), build_data(recipe)
    right = [np.argmax(network(images), axis=1) == labels for images, labels in data.test]
    assert metrics["accuracy"] == pytest.approx(np.mean(np.concatenate(right)))
    right = [np.argmax(network(images), axis=1) == labels for images, labels in data.validation]
    assert metrics["validation_accuracy"] == pytest.approx(np.mean(np.concatenate(right)))


def test_evaluate_repeats_the_final_metrics(finished):
    out, metrics = finished
    evaluated = training.evaluate(out)
    assert evaluated == {name: pytest.approx(metrics[name]) for name in evaluated}
    assert {"accuracy", "loss", "reward/conv4_1/se"} <= set(evaluated)


def test_the_saved_network_fits_the_recipe(finished, recipe):
    out, _ = finished
    rebuilt = plain_network(build_network(recipe, (8, 8, 1), 10))
    stored = keras.saving.load_model(out / "model.keras")
    assert [v.path for v in rebuilt.variables] == [v.path for v in stored.variables]


def test_a_finished_run_is_left_alone(finished):
    out, metrics = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert training.train(load_recipe(out / "recipe.json"), out) == metrics
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


class Stop(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    """Breaks off at a batch of an epoch, as a crash would."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.moment = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.moment:
            raise Stop


def test_an_interrupted_run_ends_as_the_uninterrupted_one(finished, recipe, tmp_path, monkeypatch):
    """Also if it crashes while it writes a checkpoint: history and best weights are there already."""
    whole, metrics = finished

    def interrupt(*moment):
        with pytest.raises(Stop):
            training.train(recipe, tmp_path / "run", callbacks=[StopAt(*moment)] if moment else [])

    write, calls = tf.train.Checkpoint.write, []

    def failing(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise Stop
        return write(self, *args, **kwargs)

    interrupt(0, 1)
    with monkeypatch.context() as crash:
        crash.setattr(tf.train.Checkpoint, "write", failing)
        interrupt()
    assert len(read_history(tmp_path / "run" / "history.csv")) == 2
    interrupt(1, 2)
    interrupt(2, 0)
    again = training.train(recipe, tmp_path / "run")
    assert again | {"training_seconds": 0} == metrics | {"training_seconds": 0}
    one, two = (read_history(path / "history.csv") for path in (whole, tmp_path / "run"))
    assert [row["epoch"] for row in two] == list(range(1, EPOCHS + 1))
    for row, other in zip(one, two, strict=True):
        assert row | {"seconds": 0} == other | {"seconds": 0}


def test_a_baseline_run_measures_its_attention_too(recipe, tmp_path):
    metrics = training.train(recipe.replace({"dreal.enabled": False}), tmp_path / "run")
    assert "reward/conv4_1/se" in metrics
    header = read_history(tmp_path / "run" / "history.csv")[0]
    assert "critic_loss" not in header and "loss" in header


def test_a_run_without_attention_says_that_there_is_no_critic(recipe, tmp_path, caplog):
    plain = recipe.replace({"attention.kind": "none", "schedule.epochs": 2})
    with caplog.at_level("INFO", "dreal_tf"):
        assert training.train(plain, tmp_path / "plain")["accuracy"] > 0
    assert "no attention module, hence no critic" in caplog.text
    row = read_history(tmp_path / "plain" / "history.csv")[0]
    assert not any("/" in column or column == "critic_loss" for column in row)


def test_another_seed_gives_another_run(finished, recipe, tmp_path):
    training.train(recipe.replace({"run.seed": 1}), tmp_path / "run", conclude=False)
    one, two = (read_history(path / "history.csv") for path in (finished[0], tmp_path / "run"))
    assert one[-1]["loss"] != two[-1]["loss"]


def test_evaluate_needs_weights(recipe, tmp_path):
    with pytest.raises(ValueError, match="Expected the folder of a run"):
        training.evaluate(tmp_path)
    os.makedirs(tmp_path / "run")
    (tmp_path / "run" / "recipe.json").write_text(recipe.to_json())
    with pytest.raises(ValueError, match="Expected a run with trained weights"):
        training.evaluate(tmp_path / "run")
