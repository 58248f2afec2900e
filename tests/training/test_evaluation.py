"""Attention compared with objects that are known."""

import keras
import numpy as np
import pytest

import dreal_tf
from dreal_tf.data.cued import cued
from dreal_tf.data.splits import sample_examples
from dreal_tf.layers import SqueezeExcite
from dreal_tf.training.evaluation import evaluate_splits, pointing


@keras.saving.register_keras_serializable("tests")
class Brightness(dreal_tf.AttentionActor):
    """Attends to what is bright."""

    attention, suffixes, kinds = "bright", ("bright",), ("spatial",)

    def propose(self, state, index=0, training=None):
        return keras.ops.sigmoid(4 * keras.ops.mean(state, axis=-1, keepdims=True))


def network_of(*actors):
    maps = images = keras.Input((24, 24, 1))
    for actor in actors:
        maps = actor(maps)
    maps = keras.layers.Conv2D(4, 3)(maps)
    return keras.Model(images, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(maps)))


def test_energy_and_peaks_are_those_of_the_framed_quarter():
    data = cued(batch_size=64)
    scores = pointing(network_of(Brightness(name="conv2_1_bright")), data, images=200)
    images, _ = sample_examples(data, 200)
    maps = 1 / (1 + np.exp(-4 * images[..., 0].astype("float64")))
    energy, peaks = [], []
    for image, map_ in zip(images[..., 0], maps, strict=True):
        # The brightest corner pixel is the frame's.
        top, left = max(((r, c) for r in (0, 12) for c in (0, 12)), key=lambda corner: image[corner])
        quarter = map_[top : top + 12, left : left + 12]
        energy.append(quarter.sum() / map_.sum())
        highest = map_ > map_.max() - 1e-6
        peaks.append(highest[top : top + 12, left : left + 12].sum() / highest.sum())
    assert scores == {
        "pointing/conv2_1/bright": pytest.approx(np.mean(peaks), abs=1e-4),
        "energy/conv2_1/bright": pytest.approx(np.mean(energy), abs=1e-4),
    }
    assert np.mean(energy) > 0.3 and np.mean(peaks) > 0.5  # An even map has 0.25.


def test_metrics_point_only_where_objects_are_known_and_attention_has_a_map():
    data = cued(batch_size=64)
    data = data._replace(test=data.test.take(2))
    network = dreal_tf.DREAL(
        network_of(Brightness(name="conv2_1_bright"), SqueezeExcite(1, name="conv3_1_se"))
    )
    known = evaluate_splits(network.trajectory_network, data)
    assert {name for name in known if "bright" in name} == {
        f"{quantity}/conv2_1/bright" for quantity in ("reward", "gain", "pointing", "energy")
    }
    assert {name for name in known if "/se" in name} == {"reward/conv3_1/se", "gain/conv3_1/se"}
    unknown = evaluate_splits(network.trajectory_network, data._replace(boxes_of=None))
    assert unknown == {
        name: value for name, value in known.items() if not name.startswith(("pointing", "energy"))
    }
