"""Train, export, predict: the commands, one of them in a fresh process."""

import csv
import json
from functools import partial

import numpy as np
import pytest
from commands import called
from fresh_process import COMMAND, ended
from PIL import Image
from sklearn.datasets import load_digits


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ship")
    options = "--out", "run", "--set", "schedule.epochs=3"
    done = called("train", "digits_resnet8_se", *options, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    shades, labels = load_digits(return_X_y=True)
    for number in range(30):
        pixels = np.uint8(np.rint(shades[number].reshape(8, 8) * 255 / 16))
        (folder / str(labels[number])).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / str(labels[number]) / f"{number}.png")
    (folder / "broken.jpg").write_text("no image")
    (folder / ".hidden").write_text("nobody's")
    return folder


def predicted(model, *arguments, run=called):
    done = run("predict", model, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_the_journey(run, images, tmp_path):
    exported = {}
    for format, precision in (("saved_model", "float32"), ("litert", "int8")):
        arguments = "--format", format, "--precision", precision, "--json"
        done = called("export", run, "--out", tmp_path / format, *arguments)
        assert done.returncode == 0, done.stderr
        exported[format] = json.loads(done.stdout)
        assert exported[format]["images"] == 360
    assert exported["saved_model"]["accuracy"] == exported["saved_model"]["network_accuracy"] > 0.8
    assert exported["litert"]["accuracy"] > exported["litert"]["network_accuracy"] - 0.0101
    of_run = predicted(run, images, "--json")
    of_run, errors = json.loads(of_run.stdout), of_run.stderr
    assert len(of_run["predictions"]) == 30 and "30 images, 1 skipped." in errors
    assert "1 skipped: hidden 1 (" in errors and ".hidden)" in errors
    assert [skipped["image"] for skipped in of_run["skipped"]] == [str(images / "broken.jpg")]
    correct = [
        one["classes"][0]["class"] in one["image"].split("/")[-2] for one in of_run["predictions"]
    ]
    assert np.mean(correct) > 0.8
    alone = predicted(tmp_path / "saved_model", images, run=partial(ended, *COMMAND))
    rows = list(csv.reader(alone.stdout.splitlines()))
    assert rows[0] == ["image", "class", "probability"]
    for row, one in zip(rows[1:], of_run["predictions"], strict=True):
        assert row[:2] == [one["image"], one["classes"][0]["class"]]
        assert float(row[2]) == pytest.approx(one["classes"][0]["probability"], abs=1e-4)
    of_int8 = json.loads(predicted(tmp_path / "litert", images, "--json", "--top", "3").stdout)
    assert all(len(one["classes"]) == 3 for one in of_int8["predictions"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("export", "RUN", "--out", "x", "--format", "coreml"), "Expected an export format"),
        (("export", "RUN", "--out", "RUN"), "Expected a new folder to export to."),
        (("export", "IMAGES", "--out", "x"), "Expected the folder of a run."),
        (("export", "UNTRAINED", "--out", "x"), "Expected a run with trained weights."),
        (("predict", "nowhere", "IMAGES"), "Expected a run, a .keras file or an export."),
        (("predict", "RUN", "nowhere.png"), "Expected image files and folders."),
        (("predict", "RUN", "BROKEN"), "Expected at least one image that can be read."),
        (("predict", "LONE", "IMAGES"), "Expected preprocessing.json beside a .keras file"),
    ],
)
def test_wrong_input_ends_with_two_and_a_cure(run, images, tmp_path, arguments, message):
    (tmp_path / "untrained").mkdir()
    (tmp_path / "untrained" / "recipe.json").write_text((run / "recipe.json").read_text())
    (tmp_path / "lone.keras").write_bytes((run / "model.keras").read_bytes())
    paths = {"RUN": run, "IMAGES": images, "BROKEN": images / "broken.jpg"}
    paths |= {"UNTRAINED": tmp_path / "untrained", "LONE": tmp_path / "lone.keras"}
    done = called(*(paths.get(word, word) for word in arguments), folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "x").exists()
