"""Every command on a network that is none of ours: a plugin's backbone, with its own gates or ours."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fresh_process import COMMAND, ended
from PIL import Image

from dreal_tf.cli.main import main
from dreal_tf.training import plugins
from dreal_tf.training.recipe import Recipe

PLUGIN = '''
import keras


def network(image_shape, classes, width=8):
    """Inverted residual blocks with squeeze-and-excitation, as in EfficientNet."""
    maps = images = keras.Input(image_shape)
    for stage in (2, 3):
        name = f"conv{stage}_1"
        maps = keras.layers.Conv2D(width, 3, 2, "same", name=name)(maps)
        maps = keras.layers.BatchNormalization(name=f"{name}_bn")(maps)
        maps = keras.layers.Activation("swish")(maps)
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(maps)
        gate = keras.layers.Conv2D(width, 1, activation="sigmoid")(gate)
        maps = keras.layers.Multiply(name=f"{name}_se_excite")([maps, gate])
        maps = keras.layers.Conv2D(width, 1, name=f"{name}_project")(maps)
    return keras.Model(images, maps, name="mine")
'''
OWN, INSERTED = ["conv2_1_se_excite", "conv3_1_se_excite"], ["conv2_1_bn", "conv3_1_bn"]
SETS = ["backbone.name=mine:network", "schedule.epochs=1", "schedule.warmup_epochs=0", "run.figures=0"]


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    assert end.value.code == 0


def sets(*more):
    return [part for text in (*SETS, *more) for part in ("--set", text)]


@pytest.fixture(scope="module", params=[pytest.param("gates", marks=pytest.mark.slow), "insert_after"])
def run(request, tmp_path_factory):
    """A folder with a finished run in `run`, and the names of the positions of its modules."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "mine.py").write_text(PLUGIN)
    gates = request.param == "gates"
    where = "attention.gates=*_se_excite" if gates else "attention.insert_after=*_bn"
    patch = pytest.MonkeyPatch()
    patch.setattr(plugins, "_files", {})
    patch.chdir(folder)
    options = ["--plugin", "mine.py", "--out", "run", *sets(where)]
    command("train", "digits_resnet8_se", *options)
    yield folder, OWN if gates else INSERTED
    patch.undo()
    del sys.modules["mine"]


def printed(capsys, *arguments):
    capsys.readouterr()
    command(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_evaluate_audit_and_report(run, capsys):
    _, positions = run
    metrics = printed(capsys, "evaluate", "run")
    suffix = "gate" if positions == OWN else "se"
    modules = [f"{name}/{suffix}" for name in positions]
    assert {f"reward/{module}" for module in modules} <= set(metrics)
    assert list(printed(capsys, "audit", "run", "--images", 60)["modules"]) == modules
    command("report", "run", "--images", 20)
    attention = "its own" if positions == OWN else "se"
    assert f"mine:network with {attention} attention, trained" in Path("run/report.html").read_text()


def test_export_predicts_as_the_run(run, capsys, tmp_path):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    printed(capsys, "export", "run", "--out", tmp_path / "served")
    ours, served = (
        printed(capsys, "predict", model, tmp_path)["predictions"]
        for model in ("run", tmp_path / "served")
    )
    assert len(ours) == 3
    for one, other in zip(ours, served, strict=True):
        best, same = one["classes"][0], other["classes"][0]
        assert best["class"] == same["class"]
        assert best["probability"] == pytest.approx(same["probability"], abs=1e-5)


@pytest.mark.slow
def test_prune_twice(run, capsys):
    """One module goes, then the last, with an epoch of fine-tuning; each run is one like any other."""
    _, positions = run
    source, gone = "run", []
    for keep, epochs in ((1, 0), (0, 1)):
        out = f"pruned_{keep}"
        options = ["--keep", keep, "--epochs", epochs, "--images", 60, "--out", out]
        result = printed(capsys, "prune", source, *options)
        gone += [
            name.split("/")[0] for name, module in result["modules"].items() if module["done"] != "kept"
        ]
        assert result["after"]["parameters"] < result["before"]["parameters"]
        recipe = Recipe.from_json(Path(f"{out}/recipe.json").read_text())
        assert list(recipe.attention.pruned) == gone
        assert printed(capsys, "evaluate", out)["accuracy"] == result["after"]["accuracy"]
        if positions == INSERTED and not epochs:  # A gate folds without a change of the predictions.
            assert abs(result["after"]["loss"] - result["before"]["loss"]) < 0.05
        source = out
    assert sorted(gone) == positions


@pytest.mark.slow
def test_study_and_tune(tmp_path):
    """In processes, whose workers load the plugin too."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "two.py").write_text(
        "from dreal_tf.experiments.study import Study\n\n\n"
        "def study(smoke=False):\n"
        '    changes = {"backbone.name": "mine:network", "attention.insert_after": "*_bn"}\n'
        '    changes |= {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "run.figures": 0.0}\n'
        '    arms = {"method": {}, "baseline": {"dreal.enabled": False}}\n'
        '    return Study(recipe="digits_resnet8_se", changes=changes, arms=arms, seeds=[0])\n'
    )
    process = ended(
        *COMMAND, "study", "two.py", "--plugin", "mine.py", "--out", "two", "--json", folder=tmp_path
    )
    assert process.returncode == 0, process.stderr[-3000:]
    rows = json.loads(process.stdout)["rows"]
    assert [row["arm"] for row in rows] == ["method", "baseline"]
    assert "reward/conv2_1_bn/se" in rows[0]
    (tmp_path / "space.py").write_text(
        "from dreal_tf import Choice, Space\n\n\n"
        "def space(smoke=False):\n"
        '    return Space({"attention.insert_after": Choice("conv2_1_bn", "*_bn")})\n'
    )
    options = ["--plugin", "mine.py", "--space", "space.py", "--trials", "1", "--smoke", "--json"]
    process = ended(
        *COMMAND, "tune", "digits_resnet8_se", *options, "--out", "out", *sets(), folder=tmp_path
    )
    assert process.returncode == 0, process.stderr[-3000:]
    (trial,) = json.loads(process.stdout)["trials"]
    assert trial["values"]["attention.insert_after"] in ("conv2_1_bn", "*_bn")
