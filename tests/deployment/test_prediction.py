"""A run, its file, its exports and its evaluation give the same probabilities of images of any size."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

import dreal_tf
from dreal_tf.deployment.export import export
from dreal_tf.deployment.prediction import load_predictor, predict
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.builder import build_data
from dreal_tf.training.train import train
from dreal_tf.training.trained_run import trained_network

PHOTO = Image.fromarray(load_sample_image("flower.jpg"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on pictures of many sizes and types, and its folder of them."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for label, name in enumerate(("flat", "sharp")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(20):
            left, top = random.integers(0, 300), random.integers(0, 200)
            width, height = random.integers(20, 300, 2)
            image = PHOTO.crop((left, top, left + width, top + height))
            image = image if label else image.filter(ImageFilter.GaussianBlur(4))
            kind = ("JPEG", "PNG", "WEBP", "GIF", "BMP")[number % 5]
            options = {}
            if kind == "JPEG":
                exif = Image.Exif()
                exif[0x0112] = int(random.integers(1, 9))
                options = {"exif": exif}
            file = io.BytesIO()
            image.save(file, kind, **options)
            (folder / "photos" / name / f"{number:02}.{kind.lower()}").write_bytes(file.getvalue())
    recipe = dreal_tf.load_recipe("digits_resnet8_se", smoke=True).replace(
        {
            "data.name": "folder",
            "data.folder": str(folder / "photos"),
            "data.image_size": 32,
            "data.batch_size": 8,
            "data.validation_fraction": 0.2,
        }
    )
    train(recipe, folder / "run")
    return folder / "run"


def probabilities(target, photos, classes=("flat", "sharp")):
    predicted = predict(load_predictor(target), [photos], top=2)
    assert not predicted.skipped
    return np.array([[dict(one.classes)[name] for name in classes] for one in predicted.predictions])


@pytest.mark.parametrize("format", ["keras", "saved_model", "litert", "onnx"])
def test_predictions_agree(run, tmp_path, format):
    photos = run.parent / "photos"
    expected = probabilities(run, photos)
    if format == "keras":
        target = run / "model.keras"
    else:
        if format == "onnx" and importlib.util.find_spec("onnxruntime") is None:
            pytest.skip("the extra 'onnx' is not installed")
        _, data, network = trained_network(run)
        target = tmp_path / "exported"
        export(network, target, format, data=data)
    np.testing.assert_allclose(probabilities(target, photos), expected, atol=1e-5)


def test_evaluation_sees_what_prediction_sees(run):
    recipe, data, network = trained_network(run)
    plain = plain_network(network)
    tested = [row.path for row in data.files.rows if row.split == "test"]
    logits = np.concatenate([plain(images, training=False) for images, _ in data.test])
    exponentials = np.exp(np.float64(logits) - logits.max(axis=1, keepdims=True))
    of_test = exponentials / exponentials.sum(axis=1, keepdims=True)
    photos = run.parent / "photos"
    predicted = predict(load_predictor(run), [photos / path for path in tested], top=2)
    given = [[dict(one.classes)[name] for name in data.class_names] for one in predicted.predictions]
    np.testing.assert_allclose(given, of_test, atol=1e-5)
    assert build_data(recipe).class_names == data.class_names
