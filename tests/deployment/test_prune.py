"""Which modules go, by values written by hand and of known networks; and runs without them: new runs like any other."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import command
from fresh_process import COMMAND, ended
from support import log_softmax, randomized

from dreal_tf import Recipe, load_recipe, prune
from dreal_tf.analysis.audited_network import calibration_images
from dreal_tf.analysis.inputs import unvaried
from dreal_tf.data.arrays import from_arrays
from dreal_tf.deployment.prune import (
    PruningPlan,
    chosen_actors,
    fine_tuning,
    jointly_removable,
    plan_pruning,
    pruned_recipe,
)
from dreal_tf.deployment.pruning_rule import Rule
from dreal_tf.errors import InputError
from dreal_tf.layers import CBAM, NonLocal, SqueezeExcite, StandAloneAttention, intervene
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import actors_of, residual_network
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
    assert before["accuracy"] == old["accuracy"] and before["loss"] == old["loss"]


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
    for name in ("accuracy", "loss"):
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


SHAPE, CLASSES = (8, 8, 3), 5


def network_of(attention):
    network = residual_network(SHAPE, CLASSES, depth=8, width=0.5, attention=attention)
    for number, actor in enumerate(actors_of(network)):
        randomized(actor, number, scale=4.0)
    return network


def images_of(seed, count=96):
    """Each of a colour of its own, so that actions differ from image to image."""
    random = np.random.default_rng(seed)
    colours = random.normal(size=(count, 1, 1, SHAPE[-1]))
    return (colours + 0.3 * random.normal(size=(count, *SHAPE))).astype("float32")


def answers(network, images, actions):
    """Log probabilities (n, classes) where the named modules emit these."""

    def decide(actor, index, state, action):
        given = actions.get(actor.modules()[index])
        return action if given is None else 0 * action + given

    with intervene(decide):
        return log_softmax(network(images)["logits"])


def data_for(network, *others):
    """Data whose labels are the answers for which the network beats itself under other actions."""
    pairs = []
    for seed in range(3):
        images = images_of(seed)
        own = answers(network, images, {})
        gains = [own - answers(network, images, actions) for actions in others] or [own]
        pairs.append((images, np.argmax(np.min(gains, axis=0), axis=1).astype("int32")))
    names = [f"class {label}" for label in range(CLASSES)]
    return from_arrays(pairs[0], pairs[1], names, validation=pairs[2], batch_size=32)


@pytest.fixture(scope="module")
def planned():
    """A network whose second module says the same of every image, its data, and the plan for it."""
    keras.utils.set_random_seed(0)
    network = network_of(SqueezeExcite(2))
    excite = network.get_layer("conv3_1_se").excite
    excite.kernel.assign(0 * excite.kernel)
    static = static_actions(network, images_of(seed=0))
    data = data_for(network, *({m: static[m]} for m in ("conv2_1/se", "conv4_1/se")))
    return network, data, plan_pruning(network, data, Rule())


def test_a_constant_module_goes_and_what_helps_stays(planned):
    plan = planned[2]
    assert plan.blocks == ("conv3_1",) and plan.images == 96
    assert plan.modules["conv3_1/se"] == {
        "done": "folded",
        "reason": "its static action is in conv3_1_2_bn now",
        **dict.fromkeys(("value", "low", "high"), 0.0),
    }
    for module in ("conv2_1/se", "conv4_1/se"):
        decision = plan.modules[module]
        assert decision["done"] == "kept" and decision["low"] > 0
        assert decision["reason"] == "known to be worth more than 0 nats"
    assert abs(plan.cost["value"]) < 1e-6  # Folding changes nothing but rounding.
    assert [actor.name for actor in actors_of(plan.network)] == ["conv2_1_se", "conv4_1_se"]


def test_validation_images_judge_and_no_others_whatever_form_their_labels_have(planned):
    network, data, plan = planned
    wrong = data.test.map(lambda images, labels: (images, (labels + 1) % CLASSES))
    rows = data.validation.map(lambda images, labels: (images, tf.one_hot(labels, CLASSES)))
    other = data._replace(test=wrong, validation=rows, soft_labels=True)
    assert plan_pruning(network, other, Rule()).modules == plan.modules


def test_the_network_left_is_the_one_with_static_actions(planned):
    network, data, _ = planned
    plan = plan_pruning(network, data, Rule(keep=1))
    static = static_actions(network, calibration_images(data))
    gone = [module for module, decision in plan.modules.items() if decision["done"] == "folded"]
    images = images_of(seed=9, count=16)
    expected = answers(network, images, {module: static[module] for module in gone})
    log_p = log_softmax(plan.network(images)["logits"])
    np.testing.assert_allclose(log_p, expected, atol=1e-5)
    assert len(gone) == 2 and plan.cost["low"] > 0


def test_of_two_gates_in_a_layer_the_one_over_places_is_judged_by_its_mean():
    network = network_of(CBAM(2, kernel_size=3))
    data = data_for(network, static_actions(network, images_of(seed=0)))
    plan = plan_pruning(network, data, Rule(1e6))
    assert plan.blocks == ("conv2_1", "conv3_1", "conv4_1")
    reasons = {decision["reason"] for decision in plan.modules.values()}
    assert "its static action, averaged over positions, is in conv2_1_2_bn now" in reasons
    assert plan.cost["value"] > 0 and not actors_of(plan.network)


def test_a_module_that_is_worth_nothing_but_is_needed_stays():
    """Its attention is the same for every image, yet without it the network would be another."""
    network = network_of(NonLocal())
    for actor in actors_of(network):
        for embedding in (actor.theta, actor.phi):
            for weight in embedding.weights:
                weight.assign(0 * weight)
    data = data_for(network, *({module: 0.0} for module in network.output["actions"]))
    plan = plan_pruning(network, data, Rule())
    assert not plan.blocks and plan.network is None and plan.cost is None
    for decision in plan.modules.values():
        assert decision["value"] == 0 and decision["done"] == "kept"
        assert decision["reason"].startswith(
            "earns nothing, but its state unchanged in its stead costs "
        )
    plan = plan_pruning(network, data, Rule(keep=0))
    assert len(plan.blocks) == 2 and plan.modules["conv3_1/non_local"]["done"] == "removed"


def test_what_nothing_can_replace_stays_whatever_the_rule():
    network = network_of(StandAloneAttention())
    plan = plan_pruning(network, data_for(network), Rule(keep=0))
    assert not plan.blocks
    for decision in plan.modules.values():
        assert decision["done"] == "kept" and decision["reason"].startswith("nothing can replace it")


def test_a_network_without_attention_and_too_many_to_keep_are_refused(planned):
    network, data, _ = planned
    with pytest.raises(InputError, match="Expected a network with attention"):
        plan_pruning(residual_network(SHAPE, CLASSES, depth=8), data, Rule())
    with pytest.raises(
        InputError, match="Expected at most 3 modules to keep.* Received: keep=4. Lower"
    ):
        plan_pruning(network, data, Rule(keep=4))


def value(mean, spread=0.1):
    return {"value": mean, "low": mean - spread, "high": mean + spread}


SE_VALUES = {"conv2_1/se": value(0.5), "conv3_1/se": value(0.05), "conv4_1/se": value(-0.3)}
SE_ACTORS = {module.replace("/", "_"): (module,) for module in SE_VALUES}
CBAM_VALUES = {
    "conv2_1/cbam_channel": value(0.0),
    "conv2_1/cbam_spatial": value(0.4),
    "conv3_1/cbam_channel": value(0.05),
    "conv3_1/cbam_spatial": value(-0.2),
}
CBAM_ACTORS = {
    f"{block}_cbam": (f"{block}/cbam_channel", f"{block}/cbam_spatial")
    for block in ("conv2_1", "conv3_1")
}


def test_what_is_not_known_to_be_worth_more_than_the_threshold_goes():
    going, kept = chosen_actors(SE_ACTORS, SE_VALUES, Rule())
    assert going == ["conv3_1_se", "conv4_1_se"]  # One may earn something, one does harm.
    assert kept == {"conv2_1/se": "known to be worth more than 0 nats"}


def test_an_interval_that_ends_on_the_threshold_is_not_above_it():
    exact = {"conv2_1/se": {"value": 0.0, "low": 0.0, "high": 0.0}}
    assert chosen_actors({"conv2_1_se": ("conv2_1/se",)}, exact, Rule())[0] == ["conv2_1_se"]
    assert not chosen_actors({"conv2_1_se": ("conv2_1/se",)}, exact, Rule(-1e-9))[0]


@pytest.mark.parametrize(("threshold", "count"), [(-0.5, 0), (-0.4, 1), (0.39, 2), (0.41, 3)])
def test_a_threshold_moves_the_line(threshold, count):
    assert len(chosen_actors(SE_ACTORS, SE_VALUES, Rule(threshold))[0]) == count


@pytest.mark.parametrize("keep", range(4))
def test_a_number_to_keep_keeps_those_worth_most(keep):
    going, kept = chosen_actors(SE_ACTORS, SE_VALUES, Rule(keep=keep))
    ranked = ["conv2_1/se", "conv3_1/se", "conv4_1/se"]
    assert set(kept) == set(ranked[:keep])
    assert going == [module.replace("/", "_") for module in ranked[keep:]]
    assert all(reason == f"of the {keep} of greatest value" for reason in kept.values())


def test_a_layer_of_two_steps_goes_whole_or_not_at_all():
    going, kept = chosen_actors(CBAM_ACTORS, CBAM_VALUES, Rule())
    assert going == ["conv3_1_cbam"] and set(kept) == {"conv2_1/cbam_channel", "conv2_1/cbam_spatial"}
    assert kept["conv2_1/cbam_spatial"] == "known to be worth more than 0 nats"
    assert "whole or not at all, and conv2_1/cbam_spatial stays" in kept["conv2_1/cbam_channel"]
    assert chosen_actors(CBAM_ACTORS, CBAM_VALUES, Rule(keep=1))[0] == ["conv3_1_cbam"]
    assert chosen_actors(CBAM_ACTORS, CBAM_VALUES, Rule(keep=2))[0] == []  # One of each layer.


def test_together_they_may_cost_no_more_than_one():
    values = {"a": 0.03, "b": 0.01, "c": 0.02}
    groups = []

    def cost_of(names):
        groups.append(tuple(names))
        return value(0.08 * len(names))

    going, stay = jointly_removable(["a", "b", "c"], values, cost_of, Rule())
    assert groups == [("a", "b", "c"), ("b", "c"), ("b",)]
    assert going == ["b"] and list(stay) == ["a", "c"]
    assert stay["c"].endswith("with others that go it costs 0.1600 [0.0600, 0.2600] nats")


def test_nothing_objects_to_a_number_to_keep():
    assert jointly_removable(["a"], {"a": 9.0}, lambda names: value(9.0), Rule(keep=0)) == (["a"], {})
    assert jointly_removable([], {}, None, Rule()) == ([], {})
