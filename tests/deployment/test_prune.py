"""Runs without the modules that earn nothing: new runs like any other."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import command
from fresh_process import COMMAND, ended

from dreal_tf import Recipe, load_recipe, prune
from dreal_tf.analysis.audited_network import calibration_images
from dreal_tf.analysis.inputs import unvaried
from dreal_tf.deployment.prune import fine_tuning, pruned_recipe
from dreal_tf.deployment.pruning_plan import PruningPlan
from dreal_tf.errors import InputError
from dreal_tf.layers import intervene
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import actors_of
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.training import train as training
from dreal_tf.training.builder import build_data, build_network
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.trained_run import trained_network

MODULES = ("conv2_1/se", "conv3_1/se", "conv4_1/se")
FILES = {
    "SHA256SUMS",
    "recipe.json",
    "environment.json",
    "history.csv",
    "metrics.json",
    "model.keras",
    "preprocessing.json",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    recipe = load_recipe("digits_resnet8_se", smoke=True).replace(
        {"dreal.enabled": False, "optim.learning_rate": 0.02}
    )
    out = tmp_path_factory.mktemp("runs") / "run"
    training.train(recipe, out)
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def pruned(run):
    """The result of the command, from its JSON."""
    before = contents(run)
    done = command("prune", run.name, "--keep", "1", "--json", folder=run.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "Next: dreal-tf export run_pruned --out DIR"
    assert contents(run) == before  # The run given stays as it is.
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def pruned_path(run, pruned):
    return run.parent / pruned["out"]


def test_the_new_run_lies_beside_the_old_and_has_its_files(run, pruned):
    out = run.with_name("run_pruned")
    assert pruned["out"] == out.name and pruned["run"] == str(run)
    assert {path.name for path in out.iterdir()} == FILES
    assert (out / "history.csv").read_bytes() == (run / "history.csv").read_bytes()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics.pop("pruning") == pruned
    kept = [module for module, decision in pruned["modules"].items() if decision["done"] == "kept"]
    assert len(kept) == 1 and tuple(pruned["modules"]) == MODULES
    difference = pruned["difference"]
    lost = pruned["after"]["accuracy"] - pruned["before"]["accuracy"]
    assert difference["mean"] == pytest.approx(lost, abs=1e-6)
    assert difference["low"] <= difference["mean"] <= difference["high"]
    named = {"accuracy", "loss", "cross_entropy"}
    named |= {"best_epoch", "validation_accuracy", "training_seconds"}
    assert set(metrics) == named | {
        f"{what}/{module}" for what in ("reward", "gain") for module in kept
    }


def test_the_recipe_names_the_places_and_builds_the_network(run, pruned, pruned_path):
    recipe, data, network = trained_network(pruned_path)
    gone = [m.split("/")[0] for m, d in pruned["modules"].items() if d["done"] == "folded"]
    assert list(recipe.attention.pruned) == gone
    old = load_recipe(run / "recipe.json")
    assert recipe.replace({"attention.pruned": None}) == old
    _, _, whole = trained_network(run)
    static = static_actions(whole, calibration_images(build_data(unvaried(old))))

    def decide(actor, index, state, action):
        module = actor.modules()[index]
        return 0 * action + static[module] if module.split("/")[0] in gone else action

    images = next(iter(data.test))[0]
    with intervene(decide):
        expected = whole(images)["logits"]
    np.testing.assert_allclose(network(images)["logits"], expected, atol=1e-5)
    alone = keras.saving.load_model(pruned_path / "model.keras")
    np.testing.assert_allclose(alone(images), expected, atol=1e-5)


def test_figures_fall_by_what_the_actors_had(run, pruned, pruned_path):
    _, _, whole = trained_network(run)
    gone = [a for a in actors_of(whole) if pruned["modules"][a.modules()[0]]["done"] == "folded"]
    before, after = pruned["before"], pruned["after"]
    assert before["parameters"] - after["parameters"] == sum(a.count_params() for a in gone) > 0
    # Two dense layers each, from the channels to the hidden width and back.
    widths = [actor.excite.kernel.shape for actor in gone]
    spared = sum(2 * hidden * channels for hidden, channels in widths)
    assert before["multiply_adds"] - after["multiply_adds"] == spared > 0
    _, _, network = trained_network(pruned_path)
    assert after["multiply_adds"] == multiply_adds(network)
    assert before["milliseconds"] > 0 and after["milliseconds"] > 0
    old = json.loads((run / "metrics.json").read_text())
    assert all(before[name] == old[name] for name in ("accuracy", "cross_entropy"))


def test_evaluate_repeats_the_metrics(pruned, pruned_path):
    metrics = json.loads((pruned_path / "metrics.json").read_text())
    evaluated = training.evaluate(pruned_path)
    assert evaluated == {name: pytest.approx(metrics[name]) for name in evaluated}
    assert evaluated["accuracy"] == pytest.approx(pruned["after"]["accuracy"])


@pytest.mark.slow
def test_a_pruned_run_can_be_pruned_until_no_attention_is_left(pruned_path):
    again = prune(pruned_path, keep=0)
    recipe = load_recipe(Path(again["out"], "recipe.json"))
    assert len(recipe.attention.pruned) == 3
    assert not actors_of(trained_network(again["out"])[2])
    assert training.evaluate(again["out"])["accuracy"] == pytest.approx(again["after"]["accuracy"])
    with pytest.raises(InputError, match="Expected a network with attention.*was pruned"):
        prune(again["out"])


class Stopped(keras.callbacks.Callback):
    """Ctrl-C after an epoch has been stored."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_fine_tuning_goes_on(run, tmp_path):
    out = tmp_path / "tuned"
    with pytest.raises(KeyboardInterrupt):
        prune(run, keep=2, epochs=2, out=out, callbacks=[Stopped()])
    assert (out / "pruning.json").is_file() and not (out / "metrics.json").exists()
    with pytest.raises(InputError, match="was left with. Received: others than .*keep=2, epochs=2"):
        prune(run, keep=1, epochs=2, out=out)
    note = (out / "pruning.json").read_bytes()
    (out / "pruning.json").write_bytes(note[:-9])
    with pytest.raises(InputError, match="the note of an interrupted pruning.*pruning.json"):
        prune(run, keep=2, epochs=2, out=out)
    (out / "pruning.json").write_bytes(note)
    tuned = prune(run, keep=2, epochs=2, out=out)
    assert {path.name for path in out.iterdir()} == FILES | {
        "checkpoints",
        "tensorboard",
        "start.keras",
    }
    assert [row["epoch"] for row in read_history(out / "history.csv")] == [1, 2]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["pruning"] == tuned and tuned.after["accuracy"] == metrics["accuracy"]
    recipe = load_recipe(out / "recipe.json")
    assert recipe.schedule.epochs == 2 and recipe.schedule.decay == "cosine"
    assert recipe.optim.learning_rate == pytest.approx(0.0002) and len(recipe.attention.pruned) == 1
    start = keras.saving.load_model(out / "start.keras")
    end = keras.saving.load_model(out / "model.keras")
    moved = [np.abs(a - b).max() for a, b in zip(start.get_weights(), end.get_weights(), strict=True)]
    assert 0 < max(moved) < 1


@pytest.mark.slow
def test_the_recipe_replays_a_fine_tuning(run, tmp_path):
    tuned = prune(run, keep=1, epochs=2, out=tmp_path / "tuned")
    recipe = load_recipe(tmp_path / "tuned" / "recipe.json")
    replayed = training.train(recipe, tmp_path / "again")
    for name in ("accuracy", "cross_entropy"):
        assert replayed[name] == pytest.approx(tuned.after[name])


@pytest.mark.slow
def test_half_precision_is_pruned_in_its_own(run, tmp_path):
    """Weights are float32 whatever the network computes in: the fold is as exact as ever."""
    half = tmp_path / "half"
    half.mkdir()
    for name, content in contents(run).items():
        (half / name).write_bytes(content)
    recipe = load_recipe(run / "recipe.json").replace({"run.precision": "mixed_bfloat16"})
    (half / "recipe.json").write_text(recipe.to_json())
    smaller = prune(half, keep=0)
    assert smaller.cost["value"] < 0.1 and smaller.after["milliseconds"] > 0
    network = trained_network(smaller.out)[2]
    assert network.get_layer("conv3_1_2_bn").compute_dtype == "bfloat16"
    exact = trained_network(smaller.out, precision="float32")[2]
    whole = trained_network(half, precision="float32")[2]
    images = tf.random.stateless_normal((8, *whole.input_shape[1:]), [1, 2])
    static = whole.get_layer("conv3_1_2_bn").gamma / exact.get_layer("conv3_1_2_bn").gamma
    assert np.all(static > 1)  # A gate below 1 is in it.
    assert np.abs(network(images)["logits"] - exact(images)["logits"]).max() < 0.1


@pytest.mark.slow
def test_every_verb_takes_a_pruned_run(pruned_path, pruned, tmp_path):
    def printed(*arguments):
        done = ended(*COMMAND, *arguments, "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    accuracy = pytest.approx(pruned["after"]["accuracy"])
    assert printed("evaluate", pruned_path)["accuracy"] == accuracy
    exported = printed("export", pruned_path, "--out", "served")
    assert exported["multiply_adds"] == pruned["after"]["multiply_adds"]
    assert exported["accuracy"] == accuracy
    kept = [module for module, decision in pruned["modules"].items() if decision["done"] == "kept"]
    assert list(printed("audit", pruned_path, "--out", "audited")["modules"]) == kept
    assert list(printed("prune", pruned_path, "--keep", "0", "--out", "less")["modules"]) == kept


def test_nothing_to_prune_is_no_error(run, tmp_path):
    done = command("prune", run, "--threshold", "-100", "--out", tmp_path / "new")
    assert done.returncode == 0 and done.stdout.count(" kept ") == 3
    assert "Nothing to prune; nothing was written. A --threshold above" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Next: dreal-tf audit ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RUN", "--threshold", "0.1", "--keep", "1"), "Expected a threshold or a number to keep."),
        (("RUN", "--keep", "-1"), "Expected a number of modules to keep. Received: keep=-1."),
        (("RUN", "--keep", "4", "--out", "NEW"), "Expected at most 3 modules to keep"),
        (("RUN", "--threshold", "nan"), "Expected a threshold in nats."),
        (("RUN", "--epochs", "-1"), "Expected epochs of fine-tuning. Received: epochs=-1."),
        (("RUN", "--images", "1"), "Expected at least 2 images"),
        (("RUN", "--out", "RUN"), "Expected a new folder for the pruned run."),
        (("FILE",), "Expected the folder of a run."),
        (("UNFINISHED",), "Expected a finished run."),
        (("WEIGHTLESS",), "Expected a run with trained weights."),
        (("PLAIN",), "Expected a network with attention."),
    ],
)
def test_wrong_input_ends_with_two_and_a_cure(run, tmp_path, arguments, message):
    paths = {"RUN": run, "FILE": tmp_path / "nothing", "NEW": tmp_path / "new"}
    for name, files in {
        "UNFINISHED": ("recipe.json", "model.keras"),
        "WEIGHTLESS": ("recipe.json", "metrics.json"),
        "PLAIN": ("metrics.json", "model.keras"),
    }.items():
        paths[name] = tmp_path / name.lower()
        paths[name].mkdir()
        for file in files:
            (paths[name] / file).write_bytes((run / file).read_bytes())
    plain = load_recipe(run / "recipe.json").replace({"attention.kind": "none", "dreal.enabled": False})
    (paths["PLAIN"] / "recipe.json").write_text(plain.to_json())
    before = sorted(tmp_path.rglob("*")), sorted(run.parent.iterdir())
    done = command("prune", *(paths.get(word, word) for word in arguments))
    assert done.returncode == 2 and message in done.stderr and not done.stdout
    assert "Traceback" not in done.stderr
    assert (sorted(tmp_path.rglob("*")), sorted(run.parent.iterdir())) == before


SMALL = Recipe().replace({"backbone.depth": 8, "backbone.width": 0.25, "attention.reduction": 2})


def recipe_without(recipe, *blocks):
    all_gone = (*(recipe.attention.pruned or ()), *blocks)
    network = build_network(recipe.replace({"attention.pruned": all_gone}), (8, 8, 3), 5)
    return pruned_recipe(recipe, PruningPlan(blocks, {}, 100, network))


def test_blocks_add_up_and_old_weights_are_no_start():
    recipe = SMALL.replace({"attention.pruned": "conv4_1", "run.start": "before.keras"})
    made = recipe_without(recipe, "conv2_1")
    assert made.attention.pruned == ("conv4_1", "conv2_1") and made.run.start is None
    assert made.replace({"attention.pruned": "conv4_1", "run.start": "before.keras"}) == recipe


@pytest.mark.parametrize(
    ("stages", "blocks", "enabled"),
    [
        (None, ("conv2_1", "conv3_1"), True),
        (None, ("conv2_1", "conv3_1", "conv4_1"), False),
        ("conv3", ("conv2_1",), True),
        ("conv3", ("conv3_1",), False),
    ],
)
def test_the_method_stays_while_there_is_a_module_it_teaches(stages, blocks, enabled):
    recipe = SMALL.replace({"dreal.stages": stages} if stages else {})
    assert recipe_without(recipe, *blocks).dreal.enabled == enabled
    assert not recipe_without(recipe.replace({"dreal.enabled": False}), *blocks).dreal.enabled


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({"schedule.decay": "steps", "schedule.milestones": (0.2, 0.5, 0.9)}, 0.4 * 0.1**3),
        ({"schedule.decay": "steps", "schedule.factor": 0.5}, 0.1),
        ({"schedule.decay": "cosine"}, 0.004),
        ({"schedule.decay": "constant"}, 0.4),
    ],
)
def test_fine_tuning_begins_where_the_rate_ended(changes, rate):
    recipe = SMALL.replace({"optim.learning_rate": 0.4, "schedule.warmup_epochs": 2} | changes)
    tuned = fine_tuning(recipe, 3, "/runs/small/start.keras")
    assert tuned.optim.learning_rate == pytest.approx(rate)
    schedule = tuned.schedule
    assert (schedule.epochs, schedule.decay, schedule.warmup_epochs) == (3, "cosine", 0)
    assert tuned.run.start == "/runs/small/start.keras"
    same = ("name", "data", "augment", "backbone", "attention", "dreal")
    assert all(getattr(tuned, part) == getattr(recipe, part) for part in same)


@pytest.mark.parametrize(("start", "epochs", "expected"), [(3, 1, 1), (3, 2, 2), (3, 5, 3), (1, 1, 1)])
def test_the_method_starts_before_a_short_fine_tuning_ends(start, epochs, expected):
    recipe = SMALL.replace({"dreal.start_epoch": start, "schedule.epochs": 8})
    assert fine_tuning(recipe, epochs, "start.keras").dreal.start_epoch == expected
