"""Which networks and data can be audited, and what is said of the others."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import command
from foreign_networks import FOREIGN, images_and_labels, with_random_weights
from planted import Helping, planted_data, planted_network
from support import (
    ACTORS,
    all_modules_of,
    compiled,
    log_softmax,
    small_data,
    small_network,
    targets_of,
    with_estimator,
)

from dreal_tf import attach, audit, find_gates, load_recipe, residual_network
from dreal_tf.analysis.audit import measure_differences, module_costs
from dreal_tf.cli.audit import value_lines
from dreal_tf.data.arrays import from_arrays
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS as BUILT_IN
from dreal_tf.layers import intervene
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.attaching import AttachedNetwork, remove
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.train import train


@pytest.fixture(scope="module")
def data():
    pairs = [small_data(count, seed=seed) for count, seed in ((60, 0), (40, 1))]
    return from_arrays(*pairs, class_names=["a", "b", "c"], batch_size=16)


def test_a_nested_network_gives_what_the_flat_one_gives(data):
    network = plain_network(small_network(blocks=3))
    images = keras.Input((6, 6, 2))
    last = network.layers[-1]
    body = keras.Model(network.input, last.input, name="body")
    nested = keras.Model(images, keras.Sequential([last], name="head")(body(images)), name="nested")
    flat, deep = audit(network, 40, data), audit(nested, 40, data)
    assert list(deep["modules"]) == ["conv2_1/se", "conv3_1/se", "conv4_1/se"]
    for module, both in flat["modules"].items():
        for baseline in ("mean", "static"):
            assert deep["modules"][module][baseline] == pytest.approx(both[baseline], abs=1e-6)
            assert abs(both[baseline]["value"]) > 1e-6


@pytest.mark.parametrize("form", ACTORS)
def test_every_kind_of_action_is_worth_what_the_rewards_meter_measures(form):
    network, trajectory, reward_estimator = with_estimator(ACTORS[form])
    images, labels = small_data(10)
    plain, groups = plain_network(network), [(module,) for module in trajectory.modules]
    static = static_actions(plain, images)
    measured = measure_differences(
        plain, [(images[:7], labels[:7]), (images[7:], labels[7:])], static, groups
    )
    samples = reward_estimator.estimate_all(
        images, targets_of(labels), network(images), all_modules_of(10)
    )
    expected = np.reshape(samples.difference, (len(groups), 10)).T
    np.testing.assert_allclose(measured.differences["mean"], expected, atol=1e-5)
    np.testing.assert_array_equal(measured.correct, np.asarray(samples.correct)[:10])
    assert np.abs(measured.differences["static"]).max() > 1e-5


def test_every_use_of_a_layer_is_a_module_of_its_own():
    images = keras.Input((2, 2, 2))
    gate = Helping(name="gate_helps")
    second = keras.layers.Dense(2, kernel_initializer=keras.initializers.Identity(3.0))(gate(images))
    hidden = keras.layers.GlobalAveragePooling2D()(gate(second))
    network = keras.Model(images, hidden)
    pictures = np.random.default_rng(0).normal(0, 2, (12, 2, 2, 2)).astype("float32")
    labels = np.arange(12) % 2
    static = static_actions(network, pictures)
    groups = [("gate/helps",), ("gate/helps@2",), ("gate/helps", "gate/helps@2")]
    measured = measure_differences(network, [(pictures, labels)], static, groups)

    def log_p(first, again):
        state = np.float64(pictures)
        for ablated, scale in ((first, 3.0), (again, 1.0)):
            action = np.where(np.abs(state).mean(axis=(1, 2), keepdims=True) < 2, 0.9, 0.1)
            action = action.mean(axis=3, keepdims=True) if ablated else action
            state = scale * state * action
        rows = state.mean(axis=(1, 2))
        return rows[np.arange(12), labels] - np.log(np.exp(rows).sum(axis=1))

    expected = [
        log_p(False, False) - log_p(*arm) for arm in ((True, False), (False, True), (True, True))
    ]
    np.testing.assert_allclose(measured.differences["mean"], np.stack(expected, axis=1), atol=1e-5)


def test_all_networks_of_ours_are_taken(data):
    network = small_network()
    plain, auxiliary, whole = (
        audit(n, 10, data) for n in (plain_network(network), network, compiled(network))
    )
    assert plain == auxiliary == whole and len(plain["modules"]) == 2


def test_foreign_attention_is_valued_once_it_is_attached():
    make, gates, module, _ = FOREIGN["squeeze and excitation"]
    network, ablated = with_random_weights(make()), make(flat=True)
    ablated.set_weights(network.get_weights())
    images, labels = images_and_labels()
    pair = np.tile(images, (4, 1, 1, 1)), np.tile(labels, 4)
    data = from_arrays(pair, (images, labels), ["a", "b", "c"], batch_size=8)
    result = audit(attach(network, gates), len(images), data)
    rows = np.arange(len(images))
    log_p, without = (log_softmax(n(images))[rows, labels] for n in (network, ablated))
    assert list(result["modules"]) == [module] and list(result["stages"]) == ["stage1"]
    assert result["modules"][module]["stage"] == "stage1"
    assert result["modules"][module]["mean"]["value"] == pytest.approx(
        (log_p - without).mean(), abs=1e-5
    )
    assert abs((log_p - without).mean()) > 1e-3


def test_training_is_not_touched(data):
    network = small_network(dropout=0.5)
    before = [variable.numpy() for variable in network.variables]
    assert audit(network, 10, data) == audit(network, 10, data)
    for old, variable in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


def headed(activation, actor=True):
    images = keras.Input((6, 6, 2))
    hidden = Helping(name="gate_helps")(images) if actor else images
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(images, keras.layers.Dense(3, activation=activation)(hidden), name="headed")


def trained_by(loss):
    network = headed(None)
    network.compile(loss=loss)
    return network


def mapped(activation=None):
    """A network to a map of two numbers, with attention in it."""
    images = keras.Input((6, 6, 2))
    hidden = Helping(name="gate_helps")(images)
    return keras.Model(images, keras.layers.Conv2D(2, 1, activation=activation)(hidden), name="mapped")


class Subclassed(keras.Model):
    def call(self, images):
        return keras.ops.mean(images, axis=(1, 2))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: headed(None, actor=False), "network with attention.*'headed', in which.*finds none"),
        (
            lambda: headed("sigmoid"),
            "Expected logits, or a softmax.*from 0 to 1 from 'headed'.*sigmoid",
        ),
        (lambda: trained_by("mse"), "Expected a loss over classes that exclude each other"),
        (
            mapped,
            "row of logits or probabilities for each, or the loss.*'mapped' with an output",
        ),
        (Subclassed, "functional network from images to one output.*Subclassed.*keras.Model"),
        (planted_network, r"images of shape \(2, 2, 6\).*Received: images of shape \(6, 6, 2\)"),
        (
            lambda: plain_network(small_network(classes=4)),
            "data of 4 classes.*Received: data of 3 classes. Give the data.*--data RECIPE",
        ),
    ],
)
def test_what_cannot_be_audited_is_refused_with_a_reason(data, network, message):
    with pytest.raises(InputError, match=message):
        audit(network(), 10, data)


def test_answers_that_are_no_numbers_are_no_result(data):
    network = small_network()
    network.get_layer("logits").bias.assign([np.nan, 0, 0])
    with pytest.raises(InputError, match="Expected finite weights. Received: nan in .*logits/bias"):
        audit(network, 10, data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": None}, "Expected the data that the network was trained on. Received: data=None"),
        ({"images": 1}, "at least 2 images.*Received: images=1"),
        (
            {"data": "digits_resnet8_sse"},
            "Expected a recipe.*Received: 'digits_resnet8_sse'. Did you mean",
        ),
    ],
)
def test_wrong_arguments_are_refused(data, arguments, message):
    with pytest.raises(InputError, match=message):
        audit(small_network(), **({"data": data} | arguments))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "Expected a run or a .keras file. Received:.*which does not exist"),
        (lambda path: path.write_text("x"), "network that Keras can load.*Received:.*cannot be read"),
    ],
)
def test_files_without_a_network_are_refused(tmp_path, make, message):
    make(tmp_path / "network.keras")
    with pytest.raises(InputError, match=message):
        audit(tmp_path / "network.keras", data="digits_resnet8_se")


def test_a_file_is_audited_as_the_network_in_it(tmp_path):
    data = planted_data(test=64)
    network = planted_network()
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert audit(again, 64, data) == audit(network, 64, data)


# Data as `fit` takes it, and other tasks ------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.parts = images, labels

    def __len__(self):
        return 3

    def __getitem__(self, number):
        return tuple(part[number * 14 : (number + 1) * 14] for part in self.parts)


FORMS = {
    "arrays": lambda images, labels: (images, labels),
    "a list with weights": lambda images, labels: [images, labels[:, None], np.ones(40)],
    "one-hot": lambda images, labels: (images, np.eye(3)[labels]),
    "tf.data": lambda images, labels: tf.data.Dataset.from_tensor_slices((images, labels)).batch(16),
    "a sequence": Batches,
}


@pytest.mark.parametrize("form", FORMS)
def test_data_may_come_as_fit_takes_it(form):
    images, labels = small_data(40, seed=1)
    network = plain_network(small_network())
    splits = from_arrays(small_data(60), (images, labels), class_names=["0", "1", "2"], batch_size=16)
    ours, expected = audit(network, data=FORMS[form](images, labels)), audit(network, data=splits)
    assert ours["images"] == 40 and ours["accuracy"] == expected["accuracy"]
    for module, both in expected["modules"].items():
        assert ours["modules"][module]["mean"] == pytest.approx(both["mean"], abs=1e-6)
    assert ours["class_images"] == expected["class_images"]


def several_labels():
    labels = np.random.default_rng(3).integers(0, 2, (20, 3)).astype("float32")
    return headed("sigmoid"), labels, "binary_crossentropy", "nats"


def numbers():
    return headed(None), np.random.default_rng(3).normal(size=(20, 3)), keras.losses.Huber(), "loss"


def map_of_classes():
    labels = np.random.default_rng(3).integers(0, 2, (20, 6, 6))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return mapped(), labels, loss, "nats"


@pytest.mark.parametrize("compiled_with", [True, False])
@pytest.mark.parametrize("task", [several_labels, numbers, map_of_classes])
def test_in_other_tasks_the_value_is_the_rise_of_the_loss(task, compiled_with):
    network, labels, loss, unit = task()
    images = np.random.default_rng(2).normal(0, 2, (20, 6, 6, 2)).astype("float32")
    if compiled_with:
        network.compile(loss=loss)
    result = audit(network, data=(images, labels), loss=None if compiled_with else loss)

    def mean_action(actor, index, state, action):
        return actor.reference_action(action, "mean", index)

    whole = keras.losses.get(loss)
    losses = [float(np.mean(whole(labels, network(images))))]
    with intervene(mean_action):
        losses.append(float(np.mean(whole(labels, network(images)))))
    value = result["modules"]["gate/helps"]["mean"]
    assert (
        value["value"] == pytest.approx(losses[1] - losses[0], abs=1e-5) and abs(value["value"]) > 1e-3
    )
    assert result["unit"] == unit and result["accuracy"] is None and value["p_value"] is None
    assert (result["log_p"] is None) == (unit == "loss") and result["classes"] == {}
    if unit == "nats":
        assert result["log_p"] == pytest.approx(-losses[0], abs=1e-5)
    else:
        assert result["tolerance"] == pytest.approx(1e-3 * losses[0], rel=1e-4)
    named = {"loss": "huber", "nats": result["loss"] + " without it (nats)"}[unit]
    assert result["loss"] in (
        "binary_crossentropy",
        "huber",
        "huber_loss",
        "sparse_categorical_crossentropy",
    )
    assert result.figure().axes[0].get_xlabel().startswith("value: rise of ") and named in (
        result.figure().axes[0].get_xlabel()
    )
    assert len(result.to_pandas()) == 6 and value_lines(result)[1].split()[-1] == "images"


def test_attention_of_other_origin_is_found_or_named():
    images, labels = images_and_labels()
    network = with_random_weights(FOREIGN["squeeze and excitation"][0]())
    data, names = (images, labels), find_gates(network)
    result = audit(network, data=data)
    assert len(result["modules"]) == len(names) >= 1
    assert audit(network, data=data, gates=[gate.name for gate in names]) == result
    with pytest.raises(InputError, match="Did you mean 'block1_se_excite'"):
        audit(network, data=data, gates="block1_se_exite")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            (np.zeros((4, 6, 6, 2)), np.zeros(3)),
            "as many labels as images. Received: 3 labels for 4 images",
        ),
        ((np.zeros((4, 6, 6, 2)),), "as many labels as images. Received: no labels"),
        ((np.zeros((4, 6, 6, 1)), np.zeros(4)), r"images of shape \(6, 6, 2\).*shape \(6, 6, 1\)"),
        ((np.zeros((4, 6, 6, 2)), np.full(4, 3)), "labels from 0 to 2.*shape .4,., such as 3"),
        ((np.zeros((1, 6, 6, 2)), np.zeros(1)), "at least 2 images.*Received: images=1"),
        ({"x": 1}, r"Expected \(images, labels\), a batched.*Received: {'x': 1}. Convert it"),
        (tf.data.Dataset.range(0), "Expected data with images. Received: an empty data set"),
        (
            tf.data.Dataset.from_tensor_slices((np.zeros((4, 6, 6, 2), "float32"), [0, 1, 0, 1])),
            "Expected batches of images and labels. Received: single examples.",
        ),
        (
            tf.data.Dataset.from_tensors(np.zeros((4, 6, 6, 2), "float32")),
            "Expected batches of images and labels. Received: no labels.",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        audit(headed(None), data=data)


def test_labels_that_do_not_fit_the_loss_are_refused():
    images = np.zeros((4, 6, 6, 2), "float32")
    with pytest.raises(InputError, match=r"labels that the loss compares.*\(None, 3\).*\(None, 5\)"):
        audit(headed("sigmoid"), data=(images, np.zeros((4, 5))), loss="binary_crossentropy")


@pytest.mark.parametrize("gates", [(), ("--gates", "block1_se_excite")])
def test_the_command_takes_any_file_and_a_folder_of_classes(tmp_path, gates):
    network = with_random_weights(FOREIGN["squeeze and excitation"][0]())
    network.save(tmp_path / "mine.keras")
    pictures = np.random.default_rng(0).integers(0, 256, (12, *network.input_shape[1:]), "uint8")
    for number, picture in enumerate(pictures):
        name = tmp_path / "photos" / f"class{number % network.output_shape[-1]}" / f"{number}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(name, picture, scale=False)
    done = command("audit", "mine.keras", "--data", "photos", *gates, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    labels = np.arange(12) % network.output_shape[-1]
    expected = audit(network, data=(pictures, labels), gates=list(gates[1:]) or None)
    assert result["modules"].keys() == expected["modules"].keys()
    for module, both in expected["modules"].items():
        assert result["modules"][module]["mean"]["value"] == pytest.approx(
            both["mean"]["value"], abs=1e-5
        )


def test_a_run_names_the_data_of_a_file_and_of_a_network(tmp_path):
    recipe = load_recipe("digits_resnet8_se", smoke=True)
    train(recipe, tmp_path / "run")
    shutil.copy(tmp_path / "run" / "model.keras", tmp_path / "mine.keras")
    own, network = audit(tmp_path / "run"), keras.saving.load_model(tmp_path / "mine.keras")
    for target in (tmp_path / "mine.keras", network):
        assert audit(target, data=tmp_path / "run")["modules"] == own["modules"]


def test_a_folder_of_classes_says_nothing_of_the_images_of_a_run(tmp_path):
    train(load_recipe("digits_resnet8_se", smoke=True), tmp_path / "run")
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="a recipe or a run as the data of a run.*photos"):
        audit(tmp_path / "run", data=tmp_path / "photos")


def test_a_network_that_does_not_look_is_named_so():
    network = plain_network(small_network())
    network.layers[-1].kernel.assign(0 * network.layers[-1].kernel)
    result = audit(network, data=small_data(40))
    assert result["notes"][-1].startswith("The network predicts nearly the same for every image")
    assert not audit(plain_network(small_network()), data=small_data(40))["notes"]


def test_a_loss_that_keras_does_not_know_is_refused():
    with pytest.raises(
        InputError, match="Expected a loss as `compile` takes it. Received: loss='hubble'"
    ):
        audit(headed(None), data=(np.zeros((4, 6, 6, 2)), np.zeros((4, 3))), loss="hubble")


@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_layer_costs_what_the_network_without_it_saves(kind):
    options = {"depth": 8, "width": 0.5}
    attentive = plain_network(residual_network((8, 8, 3), 5, attention=BUILT_IN[kind](), **options))
    whole, costs = module_costs(attentive, (8, 8, 3))
    if kind in ("aa", "sasa"):  # They are the block's convolution, too.
        assert all(cost == {"parameters": None, "multiply_adds": None} for cost in costs.values())
        return
    bare, _ = module_costs(plain_network(residual_network((8, 8, 3), 5, **options)), (8, 8, 3))
    layers = {module.split("/")[0]: cost for module, cost in costs.items()}
    assert len(layers) == 3 or kind in ("non_local", "a2", "danet", "ccnet", "emanet")
    for quantity, cost in whole.items():
        assert cost - bare[quantity] == sum(layer[quantity] for layer in layers.values())
    assert whole["parameters"] > bare["parameters"]


def test_gates_of_other_origin_have_costs_too():
    network = FOREIGN["squeeze and excitation"][0]()
    gates = [gate.name for gate in find_gates(network)]
    attached = AttachedNetwork(network, gates)
    one_output = keras.Model(attached.input, attached.output["logits"])
    whole, costs = module_costs(one_output, network.input_shape[1:])
    smaller = remove(network, gates)
    bare, _ = module_costs(smaller, network.input_shape[1:])
    for quantity, saved in whole.items():
        assert saved - bare[quantity] == sum(cost[quantity] for cost in costs.values()) > 0
