"""Plugins: files of a user's own that define backbones, attention, data, critics and reference actions."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import called
from fresh_process import COMMAND, ended
from support import targets_of

from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.layers import intervene
from dreal_tf.method.formulas import per_example_score
from dreal_tf.training import plugins
from dreal_tf.training.builder import build, build_data
from dreal_tf.training.plugins import load_plugins, loaded_plugins, plugin

PLUGIN = '''
import keras
import numpy as np

import dreal_tf
import dreal_tf.method.critics


def network(image_shape, classes, width=8):
    """Two convolutions, each with a gate made of its map."""
    maps = images = keras.Input(image_shape)
    for stage in (2, 3):
        convolution = keras.layers.Conv2D(width, 3, 2, "same", activation="relu", name=f"conv{stage}_1")
        maps = convolution(maps)
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(maps)
        gate = keras.layers.Dense(width, activation="sigmoid", name=f"gate{stage}")(gate)
        maps = keras.layers.Multiply(name=f"conv{stage}_1_se_excite")([maps, gate])
    return keras.Model(images, maps, name="mine")


def data(section):
    """Images whose brightness tells their class."""
    labels = np.arange(80) % 4
    images = np.full((80, 16, 16, 3), 10, "uint8") + 60 * labels[:, None, None, None].astype("uint8")
    return {"train": (images, labels), "test": (images, labels), "class_names": list("abcd"),
            "mean": 100.0, "deviation": 60.0}


class Plain(dreal_tf.AttentionActor):
    """An actor that passes on what it does not know."""

    attention, suffixes, kinds = "plain", ("plain",), ("channel",)

    def __init__(self, reduction=2, **kwargs):
        super().__init__(**kwargs)  # Plain
        self.reduction = reduction

    def build(self, shape):
        self.gate = keras.layers.Dense(shape[-1], activation="sigmoid")
        self.gate.build((None, 1, 1, shape[-1]))

    def propose(self, state, index=0, training=None):
        return self.gate(keras.ops.mean(state, axis=(1, 2), keepdims=True))


class Wide(dreal_tf.SqueezeExcite):
    pass


@keras.saving.register_keras_serializable("mine")
class Slow(dreal_tf.method.critics.PaperCritic):
    """The critic of the paper, with a field of its own."""

    def __init__(self, units=64, grid=4, patience=1, **kwargs):
        super().__init__(units, grid, **kwargs)
        self.patience = patience

    def get_config(self):
        return super().get_config() | {"patience": self.patience}


def zero(actor, action, index):
    """No attention at all."""
    return 0 * action


def broken(section):
    return 3


def ends(section):
    raise SystemExit(0)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A loaded plugin, forgotten after the test."""
    monkeypatch.setattr(plugins, "_files", {})
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    load_plugins([path])
    yield path
    del sys.modules["mine"]


def recipe_of(**changes):
    small = {"backbone.name": "mine:network", "data.name": "mine:data", "data.batch_size": 16}
    small |= {"schedule.epochs": 1, "optim.weight_decay": 0.2, "run.deterministic": False}
    return Recipe().replace(small | {path.replace("__", "."): value for path, value in changes.items()})


@pytest.mark.parametrize(
    ("changes", "modules"),
    [
        ({}, ["conv2_1_se_excite/gate", "conv3_1_se_excite/gate"]),
        ({"attention__gates": "conv3*"}, ["conv3_1_se_excite/gate"]),
        ({"attention__insert_after": "conv*_1"}, ["conv2_1/se", "conv3_1/se"]),
        (
            {"attention__kind": "mine:Wide", "attention__insert_after": "conv3_1"}
            | {"attention__arguments": {"reduction": 2}},
            ["conv3_1/se"],
        ),
    ],
)
def test_attention_of_a_plugins_network_is_found_or_inserted(mine, changes, modules):
    model, data, _ = build(recipe_of(**changes))
    assert model.trajectory.modules == modules
    assert data.image_shape == (16, 16, 3) and data.sizes["test"] == 80
    assert model.network.output_shape == (None, 4)  # Logits on the map that the network ends in.


def test_a_plugins_critic_and_reference_action_train_and_are_saved(mine, tmp_path):
    changes = {
        "dreal__critic": "mine:Slow",
        "dreal__arguments": {"patience": 3},
        "dreal__critic_units": 8,
    }
    recipe = recipe_of(attention__gates="conv3*", dreal__reference_action="mine:zero", **changes)
    assert Recipe.from_json(recipe.to_json()) == recipe
    model, data, callbacks = build(recipe)
    assert (type(model.critic).__name__, model.critic.patience, model.critic.units) == ("Slow", 3, 8)
    images, labels = next(iter(data.train))
    plan = model.reward_estimator.sample_plan(targets_of(labels), 1.0, seed=(0, 1))
    outputs = model.trajectory_network(images)
    samples = model.reward_estimator.estimate(images, targets_of(labels), outputs, plan)

    def nothing(actor, index, state, action):
        return 0 * action

    with intervene(nothing):
        ablated = per_example_score(labels, model.trajectory_network(images)["logits"], True)
    whole = per_example_score(labels, outputs["logits"], True)
    expected = tf.gather(whole - ablated, samples.images)  # The only module is in every image.
    np.testing.assert_allclose(samples.difference, expected, atol=1e-5)
    model.fit(data.train, validation_data=data.validation, epochs=1, callbacks=callbacks, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.critic.patience == 3 and loaded.settings.reference_action is sys.modules["mine"].zero


def test_kernels_of_a_plugins_network_decay(mine):
    """Half of the decay times the squares of all kernels, which the network itself does not ask for."""
    network = build(recipe_of())[0].trajectory_network
    kernels = [np.asarray(v) for v in network.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 2 + 2 + 1  # Convolutions, gates and logits.
    expected = 0.1 * sum(np.sum(kernel.astype(np.float64) ** 2) for kernel in kernels)
    np.testing.assert_allclose(sum(map(float, network.losses)), expected, rtol=1e-5)


def test_without_attention_a_plugins_network_is_the_baseline(mine):
    model, _, _ = build(recipe_of(attention__kind="none"))
    assert model.critic is None and model.network.output_shape == (None, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backbone__name": "mine:netwrok"},
            "Expected a backbone of the plugin 'mine'.*Did you mean 'network'",
        ),
        (
            {"backbone__name": "nowhere:network"},
            "no module 'nowhere'. Give its file with --plugin nowhere.py",
        ),
        ({"backbone__arguments": {"widht": 3}}, "its constructor says: .*widht"),
        ({"attention__stages": "conv3"}, "attention.stages=None with backbone.name='mine:network'"),
        ({"attention__gates": "no_such"}, "no_such"),
        ({"attention__kind": "mine:network"}, "Expected a subclass of dreal_tf.AttentionActor"),
        ({"data__name": "mine:broken"}, "to return a dict with train, test .* Received: int"),
        ({"dreal__critic": "mine:Wide"}, "subclass of dreal_tf.method.critics.Critic.*'mine:Wide'"),
        ({"dreal__reference_action": "mine:np"}, "a function .actor, action, index.*'mine:np'"),
        ({"data__name": "mine:ends"}, "a data set of a plugin that runs.*'mine:ends'.*SystemExit: 0"),
        ({"data__name": "mine:Wide"}, "a data set of a plugin that runs.*TypeError"),
    ],
)
def test_what_a_plugin_does_not_define_is_refused(mine, changes, message):
    with pytest.raises(InputError, match=message):
        build(recipe_of(**changes))


def test_gates_belong_to_backbones_of_other_origin():
    with pytest.raises(InputError, match="attention.gates=None with backbone.name='resnet'"):
        build(Recipe().shrunk().replace({"attention.gates": "a*"}))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.py", None, "Expected a Python file as a plugin"),
        ("notes.txt", "x = 1", "Expected a Python file as a plugin"),
        ("json.py", "x = 1", "'json' is taken"),
        ("two-words.py", "x = 1", "is taken or not an identifier"),
        ("ends.py", "1 / 0", "ends in ZeroDivisionError: division by zero"),
        ("ends.py", "raise SystemExit(0)", "ends in SystemExit: 0"),
        ("ends.py", "print('out')\ndef ends():\n    ends()\nends()", "ends in RecursionError"),
        ("x" * 300 + ".py", None, "Expected a Python file as a plugin"),
        ("a\0b.py", None, "Expected a Python file as a plugin"),
    ],
)
def test_a_file_that_is_no_plugin_is_refused(tmp_path, monkeypatch, capsys, name, text, message):
    monkeypatch.setattr(plugins, "_files", {})
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_plugins([tmp_path / name])
    assert not loaded_plugins() and "ends" not in sys.modules
    assert not capsys.readouterr().out  # Standard output is for results.


def test_of_two_files_with_one_name_the_first_counts(mine, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.py").write_text("network = None")
    load_plugins([tmp_path / "old" / "mine.py", tmp_path / "gone" / "mine.py"])
    assert callable(plugin("mine:network", "backbone")) and loaded_plugins() == (str(mine),)


def test_a_run_knows_its_plugins(tmp_path, monkeypatch):
    """Trained by the command with `--plugin`; evaluated without, in a fresh process."""
    monkeypatch.setattr(plugins, "_files", {})
    (tmp_path / "mine.py").write_text(PLUGIN)
    sets = ["backbone.name=mine:network", "data.name=mine:data", "schedule.epochs=2", "run.figures=0"]
    sets += ["data.batch_size=16", "augment.crop_padding=0", "attention.gates=*_se_excite"]
    options = [part for text in sets for part in ("--set", text)]
    train = ["train", "digits_resnet8_se", "--plugin", "mine.py", "--out", "run", *options]
    process = called(*train, folder=tmp_path)
    del sys.modules["mine"]
    plugins._files.clear()
    assert process.returncode == 0, process.stderr[-2000:]
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["run"]["plugins"] == [str((tmp_path / "mine.py").resolve())]
    process = ended(*COMMAND, "evaluate", "run", "--json", folder=tmp_path)
    assert process.returncode == 0, process.stderr[-2000:]
    metrics = json.loads(process.stdout)
    kept = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["accuracy"] == kept["accuracy"] and "reward/conv2_1_se_excite/gate" in metrics
    (tmp_path / "mine.py").rename(tmp_path / "moved.py")
    process = called("evaluate", "run", folder=tmp_path)
    assert process.returncode == 2 and "Expected a Python file as a plugin" in process.stderr


def test_data_of_a_plugin_may_hold_its_own_validation_images(mine):
    mine_data = sys.modules["mine"].data(None)
    own = mine_data | {"validation": (mine_data["test"][0][:8], mine_data["test"][1][:8])}
    sys.modules["mine"].own = lambda section: own
    assert build_data(recipe_of(data__name="mine:own")).sizes["validation"] == 8


def test_a_plugin_may_import_a_file_beside_it(tmp_path):
    (tmp_path / "sizes_beside.py").write_text("WIDTH = 8\n")
    (tmp_path / "plugin_with_sizes.py").write_text("import sizes_beside\nwidth = sizes_beside.WIDTH\n")
    load_plugins([tmp_path / "plugin_with_sizes.py"])
    assert plugin("plugin_with_sizes:width", "number") == 8


def test_an_actor_that_takes_no_regularizer_is_built_without_weight_decay(mine, caplog):
    other = build(recipe_of(attention__kind="mine:Plain", attention__insert_after="conv3_1"))[0].network
    assert other.get_layer("conv3_1_plain").losses and not caplog.text  # All its kernels decay.
    ours = {"backbone__name": "resnet", "backbone__depth": 8, "backbone__width": 0.25}
    model, _, _ = build(recipe_of(attention__kind="mine:Plain", **ours))
    assert (
        "mine:Plain takes no kernel_regularizer: optim.weight_decay does not apply to it."
        in caplog.text
    )
    actor = model.network.get_layer("conv3_1_plain")
    assert not actor.losses and model.network.losses  # Other layers have theirs.


def test_an_actor_that_its_arguments_do_not_fit_is_named_with_the_line(mine):
    changes = {"attention__kind": "mine:Plain", "attention__insert_after": "conv3_1"}
    line = 1 + PLUGIN[: PLUGIN.index("super().__init__(**kwargs)  # Plain")].count("\n")
    with pytest.raises(
        InputError,
        match=rf"an attention module that runs.*'mine:Plain'.*redction.*line {line} of mine.py",
    ):
        build(recipe_of(**changes, attention__arguments={"redction": 2}))
