"""Exports, loaded where this package cannot be imported."""

import functools
import json
import re
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_process import REPOSITORY
from support import small_data

import dreal_tf
from dreal_tf import CBAM, DREAL, SqueezeExcite, residual_network
from dreal_tf.data.arrays import from_arrays
from dreal_tf.deployment import export as exporting
from dreal_tf.deployment import exported_model
from dreal_tf.deployment.export import (
    BOUNDS,
    _calibration_images,
    baseline_network,
    bounds_of,
    compare_embeddings,
    compare_probabilities,
)
from dreal_tf.errors import InputError, RunError
from dreal_tf.layers import ACTORS
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.builder import build
from dreal_tf.training.recipe_files import load_recipe

SHAPE, CLASSES = (8, 8, 3), 4


def network_of(kind=SqueezeExcite):
    arguments = {"reduction": 2} if kind in (SqueezeExcite, CBAM) else {}
    network = residual_network(SHAPE, CLASSES, depth=8, width=0.5, attention=kind(**arguments))
    for variable in network.variables:  # Averages and biases of a trained network are not 0.
        noise = np.random.default_rng(len(variable.path)).normal(size=variable.shape)
        variable.assign(variable + 0.1 * np.abs(noise))
    return network


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (60, *SHAPE), "uint8")
    pair = images, np.arange(60) % CLASSES
    names = ["one", "two", "three", "four"]
    return from_arrays(pair, pair, names, mean=127.5, deviation=60.0, batch_size=16)


def own_answers(network, data, images):
    plain = DREAL(network).network
    return tf.nn.softmax(plain(data.preprocessing(images), training=False)).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, data):
    """A function from format and precision to a network, its export's folder and figures; each made once."""

    @functools.cache
    def make(format, precision):
        network, folder = network_of(), tmp_path_factory.mktemp(format)
        options = dict(format=format, precision=precision, data=data, beside=network_of())
        figures = dreal_tf.export(DREAL(network), folder / "exported", **options)
        return network, folder / "exported", figures

    return make


@pytest.mark.parametrize(
    "format, precision",
    [
        ("saved_model", "float32"),
        ("litert", "float32"),
        pytest.param("litert", "float16", marks=pytest.mark.slow),
        ("litert", "int8"),
        ("onnx", "float32"),
    ],
)
def test_an_export_answers_as_the_network(exported, data, format, precision):
    if format == "onnx":
        pytest.importorskip("tf2onnx", reason="the extra 'onnx' is not installed")
    network, path, figures = exported(format, precision)
    images = np.random.default_rng(1).integers(0, 256, (7, *SHAPE), "uint8")
    np.testing.assert_allclose(
        exported_model.load(path)(images),
        own_answers(network, data, images),
        atol=0.1 if precision == "int8" else 2e-3,
    )
    assert figures["images"] == 60 and json.loads((path / "export.json").read_text())["agreement"]
    assert (
        figures["variables"] == figures["beside"]["variables"] == len(DREAL(network).network.variables)
    )
    assert figures["multiply_adds"] == figures["beside"]["multiply_adds"] > 0
    assert list(path.parent.iterdir()) == [path]


def test_a_saved_model_takes_images_of_any_size_and_names_classes(exported, data):
    network, path, _ = exported("saved_model", "float32")
    images = np.random.default_rng(1).integers(0, 256, (5, 13, 11, 3), "uint8")
    served = tf.saved_model.load(str(path))
    answer = served.signatures["serving_default"](images=tf.constant(images))
    expected = own_answers(network, data, images)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    names = [data.class_names[label] for label in expected.argmax(1)]
    assert [name.decode() for name in answer["class_name"].numpy()] == names
    assert answer["class_index"].numpy().tolist() == expected.argmax(1).tolist()
    raw = served.signatures["raw"](images=data.preprocessing(images))["probabilities"]
    np.testing.assert_allclose(raw, expected, atol=1e-5)
    assert len(served.variables) == len(DREAL(network).network.variables)  # No critic among them.


@pytest.mark.parametrize("format", ["saved_model", "litert"])
def test_without_data_it_takes_what_the_network_takes(tmp_path, format):
    images = keras.Input(SHAPE)
    hidden = keras.layers.GlobalAveragePooling2D()(SqueezeExcite(1)(images))
    network = keras.Model(images, keras.layers.Dense(CLASSES, "softmax")(hidden))
    dreal_tf.export(network, tmp_path / "raw", format=format)
    inputs, _ = small_data(6, SHAPE, CLASSES)
    answers = exported_model.load(tmp_path / "raw")(np.float32(inputs))
    np.testing.assert_allclose(answers, network(inputs), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ACTORS)
@pytest.mark.parametrize("format", ["saved_model", "litert", "onnx"])
def test_every_kind_can_be_shipped(tmp_path, data, kind, format):
    figures = dreal_tf.export(DREAL(network_of(ACTORS[kind])), tmp_path / "e", format=format, data=data)
    assert figures["largest_difference"] < 1e-4


def test_outside_this_package_cannot_be_imported(exported, tmp_path):
    _, path, _ = exported("litert", "float32")
    np.save(tmp_path / "images.npy", np.zeros((2, *SHAPE), "float32"))
    job = {"paths": [str(path)], "images": str(tmp_path / "images.npy")}
    job |= {"outputs": str(tmp_path / "outputs.npy"), "batch": 2, "rounds": 1}
    code = (
        f"import runpy, sys\nrunpy.run_path({exported_model.__file__!r}, run_name='__main__')\n"
        "print([name for name in sys.modules if name.startswith('dreal_tf.')])\nimport dreal_tf"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(job) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.splitlines()[-1] == "[]"
    assert process.stderr.splitlines()[-1].startswith("ModuleNotFoundError")


def test_what_differs_is_not_kept(tmp_path, data, monkeypatch):
    def another(served, folder, *rest):
        for variable in served.network.trainable_variables:
            variable.assign(variable * 0.0)
        write(served, folder, *rest)

    write = exporting.write
    monkeypatch.setattr("dreal_tf.deployment.export.write", another)
    with pytest.raises(RunError, match="Received: a difference of"):
        dreal_tf.export(DREAL(network_of()), tmp_path / "exported", data=data)
    assert not list(tmp_path.iterdir())


def test_figures_by_hand():
    own = np.float32([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    near = own + np.float32([[0.03, -0.03]])
    figures = compare_probabilities(near, own, np.int32([0, 1, 0, 1]), BOUNDS["float16"])
    assert figures["largest_difference"] == pytest.approx(0.03, abs=1e-6)
    assert (figures["agreement"], figures["accuracy"], figures["network_accuracy"]) == (1.0, 0.5, 0.5)
    for wrong in (near, own * np.float32(np.nan), own[:, ::-1]):
        with pytest.raises(RunError, match="Expected an export within"):
            compare_probabilities(wrong, own, None, BOUNDS["float32"])


def changed(images, count):
    """Probabilities of images, and the same with another likeliest class for some, hardly another value."""
    own = np.tile(np.float32([[0.501, 0.499]]), (images, 1))
    exported = own.copy()
    exported[:count] = 0.499, 0.501
    return exported, own


def test_the_agreement_is_the_fraction_of_images_with_the_same_class():
    assert compare_probabilities(*changed(200, 10), None, BOUNDS["int8"])["agreement"] == 0.95
    # Wilson's interval of 5 % is 2.7 to 9.0 %.
    with pytest.raises(
        RunError, match=r"10 of 200 images .* \(5.0 %, 95 % interval 2.7 to 9.0\); .* 1 %"
    ):
        compare_probabilities(*changed(200, 10), None, BOUNDS["float16"])


def test_few_images_are_warned_of_and_refused_only_if_the_whole_interval_exceeds_the_bound():
    labels, bounds = np.zeros(362, int), bounds_of("int8", 0.01)
    with pytest.warns(UserWarning) as caught:
        figures = compare_probabilities(*changed(362, 4), labels, bounds)
    assert figures["accuracy"] == pytest.approx(358 / 362)
    first, second = (str(warning.message) for warning in caught)
    assert "4 of 362 images" in first and "(1.1 %, 95 % interval 0.4 to 2.8); the bound is 1 %" in first
    assert "an accuracy 1.1 points lower" in second
    with pytest.raises(RunError, match="16 of 362 images"):
        compare_probabilities(*changed(362, 16), labels, bounds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # None has changed: nothing to warn of, however few there are.
        compare_probabilities(*changed(3, 0), np.zeros(3, int), BOUNDS["float32"])


@pytest.mark.parametrize("tolerance", [-0.1, 1, float("nan")])
def test_a_tolerance_is_a_fraction(tmp_path, tolerance):
    with pytest.raises(InputError, match="Expected a tolerance from 0 to below 1"):
        dreal_tf.export(DREAL(network_of()), tmp_path / "exported", tolerance=tolerance)
    assert not list(tmp_path.iterdir())


def test_one_row_far_off_among_many_is_not_kept():
    own = np.tile(np.float32([[0.9, 0.1]]), (1000, 1))
    exported = own.copy()
    exported[7] = 0.4, 0.6
    for precision in ("float32", "float16"):
        with pytest.raises(RunError, match="a difference of 0.5"):
            compare_probabilities(exported, own, None, BOUNDS[precision])


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_accuracy_three_points_lower_is_not_kept(precision):
    bounds = BOUNDS[precision]._replace(changed=0.05, difference=0.05)
    with pytest.raises(RunError, match="an accuracy 3.0 points lower"):
        compare_probabilities(*changed(1000, 30), np.zeros(1000, int), bounds)


@pytest.mark.parametrize(
    ("precision", "length"),
    # The coordinates of the last two are within 0.05: only their length is wrong.
    [("float32", 1.4), ("float32", 0.7), ("float16", 1.4), ("float16", 1.2), ("float16", 0.85)],
)
def test_embeddings_of_another_length_are_not_kept(precision, length):
    own = np.random.default_rng(0).normal(size=(20, 512)).astype("float32")
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    assert compare_embeddings(own, own, BOUNDS[precision])["largest_difference"] == 0
    with pytest.raises(RunError, match="embeddings of unit length"):
        compare_embeddings(length * own, own, BOUNDS[precision])


def test_int8_chooses_its_ranges_by_validation_images():
    def shaded(low, high):
        images = np.random.default_rng(low).integers(low, high, (40, 8, 8, 1), "uint8")
        return images, np.arange(40) % 2

    data = from_arrays(
        shaded(0, 50), shaded(200, 250), ["a", "b"], validation=shaded(100, 150), batch_size=8
    )
    calibration = _calibration_images(data)
    assert calibration.shape == (40, 8, 8, 1) and calibration.min() >= 100 and calibration.max() < 150


def unsupported():
    images = keras.Input(SHAPE)
    turned = keras.layers.Lambda(lambda x: tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64))))(
        images
    )
    return keras.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(turned)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(format="coreml"), "Expected an export format, one of: litert, onnx, saved_model."),
        (dict(precision="int4"), "Expected a precision, one of"),
        (dict(precision="int8"), "Expected precision 'float32' for the format 'saved_model'."),
        (dict(format="litert", precision="int8"), "Expected images that determine the ranges"),
        (dict(out="."), "Expected a new folder to export to."),
    ],
)
def test_wrong_input_is_met_at_the_door(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        dreal_tf.export(**{"model": DREAL(network_of()), "out": "exported"} | arguments)
    assert not list(tmp_path.iterdir())


def test_an_operation_that_the_format_lacks_is_named(tmp_path):
    with pytest.raises(InputError, match="Expected a network of operations that 'litert' has.*FFT"):
        dreal_tf.export(unsupported(), tmp_path / "exported", format="litert")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "PACKAGES", {"onnx": ("no_such_package",)})
    with pytest.raises(
        InputError, match=r"no no_such_package. Install them with `pip install 'dreal-tf\[onnx\]'`"
    ):
        dreal_tf.export(DREAL(network_of()), tmp_path / "exported", format="onnx")


def test_half_precision_is_refused_with_the_cure(tmp_path):
    with pytest.raises(InputError, match="Expected a network in float32.*bfloat16"):
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            network = network_of()
        finally:
            keras.config.set_dtype_policy(policy)
        dreal_tf.export(DREAL(network), tmp_path / "exported")


def test_a_network_of_any_size_needs_data_that_says_one(tmp_path, data):
    network = residual_network((None, None, 3), CLASSES, depth=8, width=0.5)
    with pytest.raises(InputError, match="Expected a network of one image size"):
        dreal_tf.export(network, tmp_path / "exported")
    figures = dreal_tf.export(network, tmp_path / "exported", data=data)
    assert figures["images"] == 60


def test_a_request_as_the_documentation_sends_it(tmp_path):
    """TensorFlow Serving stacks the instances of a request into the signature's one input."""
    shades = np.uint8(np.arange(40) * 6).reshape(40, 1, 1, 1) * np.ones((1, 8, 8, 1), "uint8")
    pair = shades, np.arange(40) % 2
    data = from_arrays(pair, pair, ["even", "odd"], mean=127.5, deviation=60.0, batch_size=4)
    dreal_tf.export(residual_network((8, 8, 1), 2, depth=8), tmp_path / "served", data=data)
    page = (REPOSITORY / "docs" / "export.md").read_text()
    request = json.loads(re.search(r"curl -d '(.*?)'", page)[1])
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    (source,) = served.structured_input_signature[1].values()
    answer = served(images=tf.constant(request["instances"], source.dtype))
    assert answer["class_name"].shape == (1,)


def test_the_baseline_beside_has_the_weights_of_the_run():
    recipe = load_recipe("digits_resnet8_se", smoke=True)
    model, data, _ = build(recipe)
    taught = model.trajectory_network
    beside = baseline_network(recipe, data, taught)
    images, _ = next(iter(data.test))
    answers = plain_network(beside)(images), plain_network(taught)(images)
    np.testing.assert_array_equal(*answers)  # Random weights would give others.
