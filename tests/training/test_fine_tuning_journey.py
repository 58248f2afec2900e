"""From a folder of one's own images to an export that names new ones, by the commands."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import called
from fresh_process import COMMAND, PREPARED, ended
from PIL import Image

from dreal_tf import load_recipe
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.builder import build_network
from dreal_tf.training.train import train

CLASSES = {"goldfish": 40, "sports car": 30, "tabby": 20}
SMALL = {
    "backbone.depth": 18,
    "backbone.width": 0.125,
    "backbone.stride_placement": "3x3",
    "attention.reduction": 2,
}


def photographs():
    """Images of Tiny ImageNet as files, by class; drawn ones where it is not there."""
    if not PREPARED.is_dir():
        random = np.random.default_rng(0)
        for number, (name, count) in enumerate(CLASSES.items()):
            for _ in range(count):
                pixels = random.integers(0, 100, (64, 64, 3)) + 70 * number
                yield name, tf.io.encode_jpeg(np.uint8(pixels)).numpy()
        return
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(PREPARED / "tiny_imagenet_50" / "1.0.0")
    names = builder.info.features["label"].names
    left = dict(CLASSES)
    encoded = {"image": tfds.decode.SkipDecoding()}
    for example in builder.as_dataset("train", decoders=encoded).as_numpy_iterator():
        name = names[example["label"]]
        if left.get(name, 0):
            left[name] -= 1
            yield name, example["image"]
        if not any(left.values()):
            return


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A practitioner's folder: unequal classes, a name with a space, and things that are odd."""
    root = tmp_path_factory.mktemp("pictures of mine")
    for number, (name, content) in enumerate(photographs()):
        (root / name).mkdir(exist_ok=True)
        (root / name / f"{number}.jpg").write_bytes(content)
    image = Image.open(root / "tabby" / min(path.name for path in (root / "tabby").iterdir()))
    image.convert("L").save(root / "tabby" / "grey.png")
    image.convert("RGBA").resize((90, 70)).save(root / "tabby" / "transparent.png")
    (root / "tabby" / "broken.jpg").write_bytes(content[: len(content) // 2])
    (root / "tabby" / "notes.txt").write_text("to be sorted")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights to start from, of the network of `SMALL` without attention and with other classes."""
    path = tmp_path_factory.mktemp("weights") / "trained.keras"
    recipe = load_recipe("finetune").replace(SMALL).replace({"attention.kind": "none"})
    keras.utils.set_random_seed(5)
    plain_network(build_network(recipe, (64, 64, 3), 7)).save(path)
    return path


def assignments(changes):
    return [part for path, value in changes.items() for part in ("--set", f"{path}={value}")]


@pytest.fixture(scope="module")
def run(folder, weights, tmp_path_factory):
    """The folder of a finished run, and what its command said."""
    changes = SMALL | {
        "data.folder": folder.name,
        "backbone.weights": weights,
        "backbone.frozen": "conv1,conv2",
        "schedule.epochs": 2,
        "attention.stages": "conv5",  # Fewer modules to trace.
        "dreal.instrument_fraction": 0.0,
    }
    out = tmp_path_factory.mktemp("runs") / "mine"
    command = (*COMMAND, "train", "finetune", *assignments(changes), "--out", out)
    done = ended(*command, folder=folder.parent)
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def test_it_starts_from_the_weights_and_says_so(run, weights, folder):
    out, messages = run
    assert "Found from the data: data.image_size=64, data.batch_size=4.\n" in messages
    assert "Warning: 2 images cannot be read and are skipped: " in messages
    assert "notes.txt (not a" in messages
    assert "conv5_1_se, conv5_2_se: not in the file" in messages
    assert (
        "logits    0 of 2  (64, 7) in the file, (64, 3) here; (7,) in the file, (3,) here" in messages
    )
    kept = json.loads((out / "recipe.json").read_text())["data"]
    assert (kept["image_size"], kept["batch_size"], kept["folder"]) == (64, 4, str(folder))
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [float(row["reward_measured"]) > 0 for row in rows] == [False, True]
    trained, before = (keras.saving.load_model(path) for path in (out / "model.keras", weights))
    for name, same in (("conv2_1_1", True), ("conv3_1_1", False)):
        equal = np.array_equal(trained.get_layer(name).kernel, before.get_layer(name).kernel)
        assert equal == same


@pytest.mark.slow
def test_its_report_audit_export_and_predictions(run, folder, tmp_path):
    out, _ = run
    commands = [
        ["report", out],
        ["audit", out, "--images", "10"],
        ["export", out, "--out", tmp_path / "served"],
        ["predict", tmp_path / "served", folder / "sports car", folder / "tabby" / "grey.png"],
    ]
    printed = {}
    for command in commands:
        done = called(*command, folder=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        printed[command[0]] = done.stdout
    assert "sports car" in (out / "report.html").read_text()
    assert "conv5_1/se" in printed["audit"]
    predicted = [line for line in printed["predict"].splitlines() if line.startswith(str(folder))]
    assert len(predicted) == CLASSES["sports car"] + 1
    assert {line.rsplit(",", 2)[1] for line in predicted} <= set(CLASSES)


def test_the_images_of_another_folder_are_another_run(run, folder, tmp_path):
    out, _ = run
    recipe = load_recipe(str(out / "recipe.json"))
    kept = train(recipe, out, strategy="none")  # Finished, and the same recipe.
    copied = shutil.copytree(folder, tmp_path / "copied")
    recipe = recipe.replace({"data.folder": str(copied)})
    assert train(recipe, out, strategy="none") == kept
    (copied / "tabby" / "grey.png").rename(copied / "tabby" / "dark.png")
    with pytest.raises(InputError, match="Expected the images of the run in .*Choose another --out"):
        train(recipe, out, strategy="none")


@pytest.mark.slow
def test_from_a_network_of_keras_applications(folder, tmp_path):
    """Each command in a process of its own, with ResNet-50 whole; its weights are drawn."""
    keras.applications.ResNet50(weights=None).save(tmp_path / "resnet50.keras")
    changes = {"data.folder": folder, "backbone.weights": "resnet50.keras", "schedule.epochs": 2}
    for command in (
        ["train", "finetune", *assignments(changes), "--out", "run"],
        ["evaluate", "run"],
        ["report", "run"],
        ["audit", "run", "--images", "20"],
        ["export", "run", "--out", "served"],
        ["predict", "served", folder / "tabby"],
    ):
        done = ended(*COMMAND, *command, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        if command[0] == "train":
            assert "265 of 347 variables loaded" in done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    rows = done.stdout.splitlines()
    assert len(rows) == 1 + CLASSES["tabby"] + 2 and "2 skipped" in done.stderr
