"""The figures in TensorBoard: there, in time, and without a trace in the network."""

import io

import keras
import numpy as np
import pytest
from PIL import Image
from support import ACTORS, compiled, small_data, small_network
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dreal_tf import residual_network
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.layers import SqueezeExcite
from dreal_tf.training.callbacks import HistoryFile, read_history
from dreal_tf.training.tensorboard import TensorBoardFigures

IMAGES, LABELS = small_data(24, (6, 6, 3))
PREPARED = preprocessing_of((6, 6, 3), 0.5, 0.5, "whole", ["cat", "dog", "ship"], top=1.0)
ALWAYS = 1e9


def fitted(folder, fraction=ALWAYS, attention=None):
    model = compiled(small_network(attention, image_shape=(6, 6, 3)))
    history = HistoryFile(folder / "history.csv")
    figures = TensorBoardFigures(folder, IMAGES, LABELS, PREPARED, fraction, history)
    model.fit(
        IMAGES,
        LABELS,
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[history, figures],
    )
    return model, figures


def pictures(folder):
    """PNG files by tag and step."""
    events = EventAccumulator(str(folder / "figures"), size_guidance={"tensors": 0}).Reload()
    return {
        # Width, height, and the file.
        tag: {event.step: event.tensor_proto.string_val[2] for event in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


@pytest.fixture(scope="module")
def short_of_time(tmp_path_factory):
    """A folder, a model and its figures, for which there was too little time but at the end."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("short")
    return folder, *fitted(folder, fraction=1e-9)


def test_every_epoch_where_time_allows_and_each_kind_of_module_its_figure(tmp_path):
    fitted(tmp_path, attention=[ACTORS["channel"], ACTORS["spatial"]])
    files_of = pictures(tmp_path)
    assert set(files_of) == {
        "Grad-CAM",
        "channel attention",
        "attention over the image",
        "critique and reward",
    }
    for files in files_of.values():
        assert list(files) == [0, 1]
        first, last = (np.asarray(Image.open(io.BytesIO(file))) for file in files.values())
        assert first.std() > 10 and first.shape[1] > 400
        assert (first != last).any()  # The network has learnt.


def test_where_time_is_short_once_at_the_end(short_of_time):
    folder, _, figures = short_of_time
    files_of = {tag: list(files) for tag, files in pictures(folder).items()}
    assert files_of == {"Grad-CAM": [1], "channel attention": [1], "critique and reward": [1]}
    assert len(figures.seconds) == 1


def test_without_attention_or_method_grad_cam_is_drawn_alone(tmp_path):
    model = compiled(residual_network((6, 6, 3), 3, depth=8), critic=None)
    figures = TensorBoardFigures(tmp_path, IMAGES, np.eye(3)[LABELS], PREPARED, ALWAYS)
    model.fit(IMAGES, LABELS, verbose=0, callbacks=[figures])
    assert list(pictures(tmp_path)) == ["Grad-CAM"]


def test_drawing_changes_nothing_in_the_network_or_its_training(tmp_path):
    weights = []
    for fraction in (ALWAYS, None):
        keras.utils.set_random_seed(0)
        model = compiled(small_network(SqueezeExcite(2), image_shape=(6, 6, 3), dropout=0.2))
        callbacks = (
            [TensorBoardFigures(tmp_path, IMAGES, LABELS, PREPARED, fraction)] if fraction else []
        )
        model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
        weights.append([v.numpy() for v in model.network.variables + model.critic.variables])
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_figures_say_what_the_network_takes_images_for(short_of_time):
    _, model, figures = short_of_time
    (axes, _) = figures.figures()["Grad-CAM"].axes
    texts = [text.get_text() for text in axes.texts]
    given = model.network.predict(figures.shown, verbose=0).argmax(axis=1)
    names = np.array(PREPARED.class_names)
    for label, answer in zip(figures.labels, given, strict=True):
        assert f"{'✓' if label == answer else '✗'} {names[answer]}" in texts
    assert len(axes.images) == 12 and {"cat", "dog", "ship"} <= set(texts)
    first = np.asarray(axes.images[0].get_array())[0, 0]
    np.testing.assert_allclose(
        first, np.round(255 * np.clip(figures.shown[0, 0, 0] * 0.5 + 0.5, 0, 1)) / 255
    )


def test_the_curves_are_those_of_the_history(short_of_time):
    folder, _, figures = short_of_time
    axes = figures.figures()["critique and reward"].axes[0]
    rows = read_history(folder / "history.csv")
    curves = {line.get_label(): line.get_xydata() for line in axes.lines}
    for label, name in (("critique Q", "critique"), ("reward R", "reward")):
        expected = [(row["epoch"], row[f"{name}/conv2_1/se"]) for row in rows]
        np.testing.assert_allclose(curves[label], expected)


@pytest.mark.slow
def test_replicas_are_drawn_too(tmp_path, two_replicas):
    with two_replicas.scope():
        model = compiled(small_network(image_shape=(6, 6, 3)))
    figures = TensorBoardFigures(tmp_path, IMAGES, LABELS, PREPARED, ALWAYS)
    model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0, callbacks=[figures])
    assert list(pictures(tmp_path)["Grad-CAM"]) == [0, 1]
