"""Every attention kind trained by the real command, on real images."""

import csv
import json
import math

import pytest
from fresh_process import COMMAND, PREPARED, ended

from dreal_tf.layers import ACTORS

MEASURED = ("reward", "critique", "alignment", "trust")

pytestmark = pytest.mark.slow


def train(tmp_path, recipe, *arguments):
    process = ended(*COMMAND, "train", recipe, "--out", tmp_path / "run", *arguments)
    assert process.returncode == 0, process.stderr[-2000:]
    with open(tmp_path / "run" / "history.csv") as file:
        epochs = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    print(recipe, *arguments, f"accuracy {metrics['accuracy']:.3f}")
    return epochs, metrics


def assert_all_is_logged(kind, epochs):
    assert all(math.isfinite(value) for epoch in epochs for value in epoch.values())
    for suffix in ACTORS[kind].suffixes:
        for quantity in MEASURED:
            prefix = "" if quantity == "trust" else "val_"
            columns = [c for c in epochs[0] if c.startswith(f"{prefix}{quantity}/")]
            own = [c for c in columns if c.endswith(f"/{suffix}")]
            assert own, (quantity, suffix)
            assert quantity == "trust" or any(epochs[-1][column] != 0 for column in own)


@pytest.mark.parametrize("kind", ACTORS)
def test_digits(kind, tmp_path):
    changes = ["--set", f"attention.kind={kind}"]
    epochs, metrics = train(tmp_path, "digits_resnet8_se", *changes)
    assert_all_is_logged(kind, epochs)
    assert metrics["accuracy"] > 0.9


@pytest.mark.skipif(not PREPARED.is_dir(), reason=f"{PREPARED} is not there")
@pytest.mark.parametrize("kind", ACTORS)
def test_an_epoch_of_cifar10(kind, tmp_path):
    """At 16×16 pixels, so that all kinds together take minutes."""
    changes = ["--set", "data.image_size=16", "--set", "augment.crop_padding=2"]
    changes += ["--set", "schedule.epochs=1", "--set", "schedule.warmup_epochs=0.2"]
    changes += ["--data-dir", str(PREPARED)]
    epochs, metrics = train(tmp_path, f"cifar10_resnet8_{kind}", *changes)
    assert_all_is_logged(kind, epochs)
    assert metrics["accuracy"] > 0.25
