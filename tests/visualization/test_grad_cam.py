"""Grad-CAM against NumPy, on networks of any shape; pictures with known boxes, and how maps point at them."""

import io
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_process import PREPARED
from keras import ops
from PIL import Image
from support import small_network

from dreal_tf import residual_network
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS, ExpectationMaximization, SqueezeExcite
from dreal_tf.visualization.attention_maps import recorded_actions
from dreal_tf.visualization.grad_cam import (
    Composed,
    GradCam,
    coverage_of_box,
    energy_in_box,
    grad_cam,
    grid_pictures,
    object_masks,
    pasted_pictures,
    peak_in_box,
    pointing_game,
    with_image_shape,
)

RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.normal(size=(5, 6, 8, 2)).astype("float32")
LABELS = np.int32([0, 2, 1, 1, 0])
CLASSES = 3


def layers():
    """The layers of a small convolutional network."""
    keras.utils.set_random_seed(5)
    return [
        keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="first"),
        keras.layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="last"),
        keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool"),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES, name="logits"),
    ]


def chained(parts, shape=IMAGES.shape[1:], dtype=None):
    inputs = outputs = keras.Input(shape, dtype=dtype)
    for part in parts:
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


# By hand -------------------------------------------------------------------------------------------

# Channels: the pixel and twice the pixel less 2, not below 0. Logits: means over places times V.
HAND_IMAGE = np.float32([[1, 2], [3, 0]]).reshape(1, 2, 2, 1)
#   F_1 = 1 2 / 3 0     F_2 = 0 2 / 4 0
V = np.float32([[4, -4], [8, 4]])


def hand_network():
    network = chained(
        [
            keras.layers.Conv2D(2, 1, activation="relu", name="map"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ],
        (2, 2, 1),
    )
    network.layers[1].set_weights([np.float32([[[[1, 2]]]]), np.float32([0, -2])])
    network.layers[3].set_weights([V, np.zeros(2, "float32")])
    return network


def test_grad_cam_by_hand():
    """Gradients are V / 4 at every place: weights 1 and 2 for label 0, -1 and 1 for label 1."""
    maps = grad_cam(hand_network(), np.repeat(HAND_IMAGE, 2, axis=0), [0, 1])
    np.testing.assert_allclose(maps[0], [[1, 2 + 4], [3 + 8, 0]], rtol=1e-6)
    np.testing.assert_allclose(maps[1], [[0, -2 + 2], [-3 + 4, 0]], atol=1e-6)


def test_grad_cam_plus_plus_by_hand():
    """Sums over places: 6 and 6. Label 0, channel 1: g = 1, a = 1 / (2 + 1·6), weight 4 · 1/8 = 1/2;
    channel 2: g = 2, a = 1 / (2 + 2·6), weight 4 · 2/14 = 4/7. Label 1: 0, and 1/2 (g = 1)."""
    maps = grad_cam(hand_network(), np.repeat(HAND_IMAGE, 2, axis=0), [0, 1], plus_plus=True)
    expected = [[1 / 2, 2 / 2 + 8 / 7], [3 / 2 + 16 / 7, 0]]
    np.testing.assert_allclose(maps[0], expected, rtol=1e-6)
    np.testing.assert_allclose(maps[1], [[0, 1], [2, 0]], rtol=1e-6)


# Against NumPy and finite differences --------------------------------------------------------------


def differences(scores, map_, size=1e-4):
    """First derivatives with respect to every entry of a map, by central differences."""
    steps = size * np.eye(map_.size).reshape(-1, *map_.shape)
    return ((scores(map_ + steps) - scores(map_ - steps)) / (2 * size)).reshape(map_.shape)


def independent(map_, scores, plus_plus):
    """The published formulas, place by place; Grad-CAM++ by the derivatives of the exponential."""
    gradient = differences(scores, map_)
    height, width, channels = map_.shape
    total = np.zeros((height, width))
    for k in range(channels):
        weight = gradient[..., k].mean()
        if plus_plus:
            weight, exponential = 0.0, np.exp(scores(map_[None])[0])
            for i, j in np.ndindex(height, width):
                first, second, third = (exponential * gradient[i, j, k] ** power for power in (1, 2, 3))
                below = 2 * second + map_[..., k].sum() * third
                weight += (second / below if below else 0.0) * max(first, 0.0)
        total += weight * map_[..., k]
    return np.maximum(total, 0.0)


@pytest.mark.parametrize("plus_plus", [False, True])
@pytest.mark.parametrize("name", ["first", "last"])
def test_against_finite_differences(name, plus_plus):
    network = chained(layers())
    exact = [type(part).from_config(part.get_config() | {"dtype": "float64"}) for part in layers()]
    chained(exact, dtype="float64").set_weights(network.get_weights())
    before = [part.name for part in exact].index(name) + 1
    maps = grad_cam(network, IMAGES, LABELS, layer=name, plus_plus=plus_plus)
    for image, label, of_image in zip(IMAGES, LABELS, maps, strict=True):

        def logits(rest, hidden):
            for part in rest:
                hidden = part(hidden)
            return hidden.numpy()

        map_ = logits(exact[:before], np.float64(image[None]))[0]

        def scores(maps, label=label):
            return logits(exact[before:], maps)[:, label]

        expected = independent(map_, scores, plus_plus)
        scale = np.exp(scores(map_[None])[0]) if plus_plus else 1.0
        np.testing.assert_allclose(of_image * scale, expected, rtol=2e-4, atol=1e-6)
    assert maps.max() > 0


# Nested --------------------------------------------------------------------------------------------


class Subclassed(keras.Model):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, images):
        for part in self.parts:
            images = part(images)
        return images


def nestings(parts):
    body, head = parts[:2], parts[2:]
    as_layer = chained(body)
    inputs = keras.Input(IMAGES.shape[1:])
    return {
        "sequential of models": keras.Sequential([chained(body), keras.Sequential(head)]),
        "model as a layer": keras.Model(inputs, chained(head, (3, 4, 5))(as_layer(inputs))),
        "twice nested": keras.Sequential([chained([chained(body), *parts[2:3]]), *parts[3:]]),
        "subclassed": Subclassed(parts),
        "subclassed inside": chained([Subclassed(body), *head]),
    }


@pytest.mark.parametrize("plus_plus", [False, True])
@pytest.mark.parametrize("name", nestings(layers()))
def test_nested_networks_give_the_maps_of_the_flat_one(name, plus_plus):
    parts = layers()
    flat = GradCam(chained(parts), plus_plus=plus_plus)
    nested = GradCam(nestings(parts)[name], plus_plus=plus_plus)
    np.testing.assert_allclose(nested(IMAGES, LABELS), flat(IMAGES, LABELS), rtol=1e-6)
    assert nested.layer_name == flat.layer_name == "last"
    first = GradCam(nestings(parts)[name], layer=parts[0], plus_plus=plus_plus)
    assert first(IMAGES, LABELS).shape == (5, 6, 8) and first.layer_name == "first"


# Ends of a network ---------------------------------------------------------------------------------


def ends(parts):
    """Networks that end in a softmax of the same logits."""
    body, dense = parts[:-1], parts[-1]
    fused = keras.layers.Dense(CLASSES, activation="softmax")
    return {
        "fused": (chained([*body, fused]), fused),
        "layer": (chained([*parts, keras.layers.Softmax()]), dense),
        "activation": (chained([*parts, keras.layers.Activation("softmax")]), dense),
        "operation": (chained([*parts, ops.softmax]), dense),
        "nested": (keras.Sequential([chained(body), keras.Sequential([fused])]), fused),
    }


@pytest.mark.parametrize("name", ends(layers()))
def test_a_softmax_at_the_end_changes_nothing(name):
    parts = layers()
    expected = grad_cam(chained(parts), IMAGES, LABELS)
    network, dense = ends(parts)[name]
    dense.set_weights(parts[-1].get_weights())
    np.testing.assert_allclose(network(IMAGES).numpy().sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(grad_cam(network, IMAGES, LABELS), expected, rtol=1e-5, atol=1e-7)


def test_a_softmax_inside_is_not_taken_for_the_end():
    inside = [keras.layers.Softmax(axis=-1), *layers()]
    network = chained(inside)
    flat = chained(inside[1:])
    softened = ops.softmax(IMAGES).numpy()
    expected = grad_cam(flat, softened, LABELS)
    np.testing.assert_allclose(grad_cam(network, IMAGES, LABELS), expected, rtol=1e-5, atol=1e-7)


def test_a_hidden_softmax_is_refused():
    hidden = Subclassed([keras.layers.Lambda(ops.softmax)])
    with pytest.raises(InputError, match="Expected logits.*Received: probabilities.*End the network"):
        grad_cam(chained([*layers(), hidden]), IMAGES, LABELS)


# Our networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attention", "last"),
    [(SqueezeExcite(4), "conv4_1_relu"), (ExpectationMaximization(4), "conv4_1_emanet")],
    ids=["in the branch", "after the stage"],
)
def test_the_default_layer_of_our_networks_is_the_last_stages_output(attention, last):
    network = residual_network((16, 16, 3), 4, depth=8, attention=attention)
    plain = keras.Model(network.input, network.output["logits"])
    images = RANDOM.normal(size=(2, 16, 16, 3)).astype("float32")
    cam = GradCam(network)
    maps = cam(images, [1, 3])
    assert cam.layer_name == last and maps.shape == (2, 4, 4)
    np.testing.assert_allclose(grad_cam(plain, images, [1, 3]), maps, rtol=1e-5, atol=1e-8)


def test_frozen_weights_and_small_batches_change_nothing():
    network = small_network()
    images = RANDOM.normal(size=(5, 6, 6, 2)).astype("float32")
    expected = grad_cam(network, images, LABELS)
    network.trainable = False
    for batch_size in (1, 2):
        maps = grad_cam(network, images, LABELS, batch_size=batch_size)
        np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-7)


def test_a_network_is_traced_once_for_all_batches():
    class Counting(Subclassed):
        traced = 0

        def call(self, images):
            type(self).traced += 1
            return super().call(images)

    network = Counting(layers())
    network(IMAGES)  # Builds it.
    Counting.traced = 0
    cam = GradCam(network, batch_size=2)
    for _ in range(2):
        cam(IMAGES, LABELS)  # 2, 2 and 1.
    assert Counting.traced == 1


def test_half_precision_gives_float32_maps_close_to_the_full_ones():
    full = residual_network((16, 16, 3), 4, depth=8)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = residual_network((16, 16, 3), 4, depth=8)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    images = RANDOM.normal(size=(4, 16, 16, 3)).astype("float32")
    one, other = (grad_cam(network, images, [0, 1, 2, 3]) for network in (full, half))
    assert other.dtype == np.float32
    np.testing.assert_allclose(other, one, atol=0.05 * one.max())


def test_the_network_is_left_as_it_was():
    parts = layers()
    network = keras.Sequential([chained(parts[:-1]), keras.layers.Dense(3, activation="softmax")])
    before = network.predict(IMAGES, verbose=0)
    grad_cam(network, IMAGES, LABELS)
    with pytest.raises(InputError):
        grad_cam(network, IMAGES, LABELS, layer="lats")
    everything = [*network.layers, *parts[:-1]]
    assert not [part.name for part in everything if "call" in vars(part)]
    assert network.layers[-1].activation is keras.activations.softmax
    np.testing.assert_array_equal(network.predict(IMAGES, verbose=0), before)


# Refusals ------------------------------------------------------------------------------------------


def refused(network, match, images=IMAGES, labels=LABELS, **options):
    with pytest.raises(InputError, match=match):
        grad_cam(network, images, labels, **options)


def test_what_cannot_be_mapped_is_refused_with_a_reason():
    network = chained(layers())
    refused(network, "one of: first, last, pool. Received: 'lats'. Did you mean 'last'", layer="lats")
    refused(network, "labels from 0 to 2. Received: labels from 0 to 3", labels=[0, 1, 2, 3, 0])
    refused(network, "one label for each image", labels=[0, 1])
    shared = keras.layers.Conv2D(2, 3, padding="same", name="shared")
    twice = chained([shared, shared, *layers()[2:]])
    refused(twice, "runs once. Received: 'shared', which 2 calls", layer="shared")
    flat = chained([keras.layers.Flatten(), keras.layers.Dense(3)])
    refused(flat, "a map of more than one place. Received: 2 layers")
    maps_only = chained(layers()[:2])
    refused(maps_only, r"Received: \(None, 3, 4, 5\)")


def test_a_layer_beside_the_way_to_the_logits_is_refused():
    images = keras.Input(IMAGES.shape[1:])
    logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(images))
    aside = keras.layers.Conv2D(1, 1, name="aside")(images)
    network = keras.Model(images, {"logits": logits, "states": aside})
    refused(network, "that the logits depend on. Received: 'aside'", layer="aside")


# Networks of others --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "last"),
    [("ResNet50", "conv5_block3_out"), ("VGG16", "block5_pool"), ("DenseNet121", "relu")],
)
def test_kerass_applications_against_a_network_cut_in_two(make, last):
    """Each ends in a pooling and a dense softmax; its map is the input of the pooling."""
    network = getattr(keras.applications, make)(weights=None, input_shape=(96, 96, 3), classes=4)
    images = RANDOM.normal(size=(2, 96, 96, 3)).astype("float32")
    cam = GradCam(network)
    maps = cam(images, [3, 1])
    assert cam.layer_name == last and maps.shape == (2, 3, 3)
    parts = network.layers
    after = parts[[part.name for part in parts].index(last) + 1 :]
    map_ = tf.constant(keras.Model(network.inputs[0], network.get_layer(last).output)(images))
    after[-1].activation = keras.activations.linear
    with tf.GradientTape() as tape:
        tape.watch(map_)
        hidden = map_
        for part in after:
            hidden = part(hidden)
        score = hidden[0, 3] + hidden[1, 1]
    weights = np.mean(tape.gradient(score, map_), axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * map_.numpy()).sum(axis=-1), 0)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6 * expected.max())


CHANCE = np.random.default_rng(0)
# An image is its number everywhere, so that a picture tells what it was made of.
NUMBERED = np.broadcast_to(np.arange(40.0)[:, None, None, None], (40, 4, 6, 3))
NUMBERED_LABELS = np.arange(40) % 5


# Measures ------------------------------------------------------------------------------------------


def test_energy_and_coverage_by_hand():
    """The box is the left half, and a quarter of the column beside it: 2.5 of 4 columns, 2 rows."""
    map_ = [[4, 0, 2, 0], [1, 1, 0, 8]]
    box = [0.0, 0.0, 1.0, 2.25 / 4]
    assert energy_in_box([map_], [box])[0] == pytest.approx((4 + 0 + 0.25 * 2 + 1 + 1) / 16)
    # Half of the maximum is 4: reached by one place in the box, of 2 · 2.25.
    assert coverage_of_box([map_], [box])[0] == pytest.approx(1 / 4.5)
    assert coverage_of_box([map_], [box], level=0.125)[0] == pytest.approx(3.25 / 4.5)


def test_energy_and_coverage_do_not_depend_on_the_maps_resolution_or_scale():
    maps, box = CHANCE.random((3, 4, 6)), np.tile([0.3, 0.1, 0.9, 0.55], (3, 1))
    finer = 7 * np.repeat(np.repeat(maps, 3, axis=1), 2, axis=2)
    for measure in (energy_in_box, coverage_of_box):
        np.testing.assert_allclose(measure(finer, box), measure(maps, box))


def test_even_maps_have_the_boxs_share_and_empty_ones_none():
    boxes = [[0, 0, 0.5, 0.5], [0, 0.5, 1, 1]]
    even = np.ones((2, 3, 5))
    np.testing.assert_allclose(energy_in_box(even, boxes), [0.25, 0.5])
    np.testing.assert_allclose(coverage_of_box(even, boxes), 1.0)
    assert np.isnan(energy_in_box(0 * even, boxes)).all()
    assert (coverage_of_box(0 * even, boxes) == 0).all()


def test_a_map_in_its_box_alone_scores_1_and_beside_it_0():
    inside = np.zeros((1, 4, 4))
    inside[0, 2:, :2] = 1.0
    assert (
        energy_in_box(inside, [[0.5, 0, 1, 0.5]])[0] == coverage_of_box(inside, [[0.5, 0, 1, 0.5]])[0]
    )
    assert energy_in_box(inside, [[0.5, 0, 1, 0.5]])[0] == 1.0
    assert energy_in_box(inside, [[0, 0, 0.5, 1]])[0] == 0.0


# Pictures ------------------------------------------------------------------------------------------


def in_box(composed, number):
    _, height, width, _ = composed.images.shape
    sides = height, width, height, width
    top, left, bottom, right = (composed.boxes[number] * sides).round().astype(int)
    return composed.images[number, top:bottom, left:right], (top, left, bottom, right)


@pytest.mark.parametrize("cells", [2, 3])
def test_a_grid_holds_the_labels_image_in_its_box_and_others_elsewhere(cells):
    composed = grid_pictures(NUMBERED, NUMBERED_LABELS, count=30, cells=cells, seed=1)
    assert composed.images.shape == (30, 4 * cells, 6 * cells, 3)
    cells_seen = set()
    for number, label in enumerate(composed.labels):
        cell, (top, left, *_) = in_box(composed, number)
        assert cell.shape == (4, 6, 3) and np.ptp(cell) == 0
        assert NUMBERED_LABELS[int(cell[0, 0, 0])] == label
        numbers = composed.images[number, ::4, ::6, 0].ravel().astype(int)
        assert len(set(numbers)) == cells**2 and (NUMBERED_LABELS[numbers] == label).sum() == 1
        cells_seen.add((top, left))
    assert len(cells_seen) > cells and set(composed.labels) == set(range(5))
    again = grid_pictures(NUMBERED, NUMBERED_LABELS, count=30, cells=cells, seed=1)
    np.testing.assert_array_equal(again.images, composed.images)


def test_a_grid_of_few_images_repeats_them_and_one_of_a_single_class_is_refused():
    two = grid_pictures(NUMBERED[:2], NUMBERED_LABELS[:2], count=4)
    assert two.images.shape == (4, 8, 12, 3)
    with pytest.raises(InputError, match="at least two classes. Received: 1 images of 1"):
        grid_pictures(NUMBERED[:1], NUMBERED_LABELS[:1], count=1)


def test_pasted_objects_lie_in_their_box_and_leave_the_rest_alone():
    backgrounds = CHANCE.random((8, 9, 11, 3)).astype("float32")
    masks = np.zeros((8, 4, 6), bool)
    masks[:, 1:3, 2:6] = True
    masks[:, 1, 2] = False
    objects = NUMBERED[1:9] + 5
    composed = pasted_pictures(objects, NUMBERED_LABELS[1:9], backgrounds, masks)
    for number in range(8):
        box, (top, left, bottom, right) = in_box(composed, number)
        assert box.shape == (2, 4, 3)
        np.testing.assert_array_equal(box[masks[number, 1:3, 2:6]], objects[number, 0, 0, 0])
        assert box[0, 0, 0] == backgrounds[number, top, left, 0]
        outside = np.ones((9, 11), bool)
        outside[top:bottom, left:right] = False
        np.testing.assert_array_equal(composed.images[number][outside], backgrounds[number][outside])
    assert len({tuple(box) for box in composed.boxes}) > 1
    with pytest.raises(InputError, match="a background for each object, and at least as large"):
        pasted_pictures(backgrounds, NUMBERED_LABELS[:8], objects)


def test_blur_takes_the_detail_of_backgrounds_not_of_objects():
    backgrounds = CHANCE.random((3, 32, 32, 3)).astype("float32")
    composed = pasted_pictures(NUMBERED[:3], NUMBERED_LABELS[:3], backgrounds, blur=2.0)
    for number in range(3):
        box, _ = in_box(composed, number)
        np.testing.assert_array_equal(box, NUMBERED[number])
        far = composed.images[number][composed.images[number] != number]
        assert far.std() < 0.3 * backgrounds[number].std()


@pytest.mark.skipif(not PREPARED.is_dir(), reason=f"no {PREPARED}")
def test_the_objects_of_coil_are_cut_out_of_their_black_ground():
    archive = zipfile.ZipFile(PREPARED.parent / "instance" / "coil100_market.zip")
    names = [name for name in archive.namelist() if "/query/" in name][:6]
    opened = [Image.open(io.BytesIO(archive.read(name))) for name in names]
    images = np.stack([np.asarray(image) for image in opened]) / 255
    masks = object_masks(images)
    assert ((masks.mean(axis=(1, 2)) > 0.05) & (masks.mean(axis=(1, 2)) < 0.9)).all()
    for image, mask in zip(images, masks, strict=True):
        assert image[~mask].mean() < 0.15 and image[mask].mean() > 0.25
        assert not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    composed = pasted_pictures(images, range(6), np.ones((6, 256, 256, 3)), masks)
    areas = np.prod(composed.boxes[:, 2:] - composed.boxes[:, :2], axis=1)
    assert (areas <= 0.25).all()
    for picture, mask in zip(composed.images, masks, strict=True):
        assert (picture < 1).any(axis=-1).sum() == pytest.approx(mask.sum(), rel=0.02)


# Networks ------------------------------------------------------------------------------------------


# Queries on half of the places, and tables made for the size, stand for all.
TYPICAL = [k if k in ("aa", "non_local") else pytest.param(k, marks=pytest.mark.slow) for k in ACTORS]


@pytest.mark.parametrize("kind", TYPICAL)
def test_a_network_takes_larger_pictures_with_the_same_layers(kind):
    network = residual_network((8, 8, 3), 4, depth=8, attention=ACTORS[kind]())
    image = CHANCE.normal(size=(2, 8, 8, 3)).astype("float32")
    before = network.predict(image, verbose=0)["logits"]
    larger = with_image_shape(network, (16, 16, 3))
    assert {id(v) for v in larger.variables} == {id(v) for v in network.variables}
    grids = np.tile(image, (1, 2, 2, 1))
    assert grad_cam(larger, grids, [0, 1]).shape == (2, 4, 4)
    np.testing.assert_array_equal(network.predict(image, verbose=0)["logits"], before)
    back = with_image_shape(larger, (8, 8, 3)).predict(image, verbose=0)["logits"]
    np.testing.assert_allclose(back, before, rtol=1e-5, atol=1e-6)
    assert with_image_shape(network, (8, 8, 3)) is network


def test_a_network_of_one_size_is_refused_with_a_reason():
    images = keras.Input((8, 8, 3))
    network = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(images)), name="flat")
    with pytest.raises(InputError, match=r"any size. Received: 'flat', made for \(8, 8, 3\)"):
        with_image_shape(network, (16, 16, 3))


def test_a_network_that_sees_colour_points_at_the_cell_of_its_colour():
    """Logits: twice the means of red, green and blue. A label's map is then its channel."""
    images = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(3, 1, use_bias=False, name="maps")(images)
    logits = keras.layers.Dense(3, use_bias=False)(keras.layers.GlobalAveragePooling2D()(maps))
    network = keras.Model(images, logits)
    network.set_weights([np.eye(3).reshape(1, 1, 3, 3), 2 * np.eye(3)])
    coloured = np.zeros((6, 8, 8, 3), "float32")
    for number in range(6):
        coloured[number, :, :, number % 3] = 1.0
    pointing = pointing_game(network, grid_pictures(coloured, np.arange(6) % 3, count=9))
    assert (
        (pointing.energy == 1).all()
        and (pointing.coverage == 1).all()
        and pointing.layer_name == "maps"
    )
    wrong = grid_pictures(coloured, np.arange(6) % 3, count=9)
    wrong = Composed(wrong.images, wrong.labels, 1 - wrong.boxes[:, [2, 3, 0, 1]])  # Opposite corners.
    assert (pointing_game(network, wrong, plus_plus=True).energy == 0).all()


def test_a_network_with_two_inputs_has_maps_and_actions():
    """At the second input's neutral value, 1, the maps are those of a network of the first alone."""
    keras.utils.set_random_seed(0)
    images, factors = keras.Input(IMAGES.shape[1:], name="images"), keras.Input((4,), name="factors")
    maps = keras.layers.Conv2D(4, 3, padding="same", name="conv")(images)
    maps = SqueezeExcite(2, name="conv1_1_se")(maps)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    head = keras.layers.Dense(CLASSES)
    single = keras.Model(images, head(pooled))
    double = keras.Model([images, factors], head(keras.layers.Multiply()([pooled, factors])))
    inputs = [IMAGES, np.ones((5, 4), "float32")]
    expected = grad_cam(single, IMAGES, LABELS)
    for given in (inputs, dict(zip(("images", "factors"), inputs, strict=True))):
        np.testing.assert_allclose(grad_cam(double, given, LABELS, batch_size=2), expected, rtol=1e-5)
    actions = recorded_actions(double, inputs)["conv1_1/se"].action
    np.testing.assert_allclose(
        actions, recorded_actions(single, IMAGES)["conv1_1/se"].action, rtol=1e-6
    )
    with pytest.raises(InputError, match="one label for each image.*\\(5, 6, 8, 2\\), \\(4, 4\\)"):
        grad_cam(double, [IMAGES, inputs[1][:4]], LABELS)
    with pytest.raises(InputError, match="a network of images alone.*2 inputs"):
        with_image_shape(double, (12, 16, 2))


def test_the_peak_lies_inside_outside_or_on_the_edge():
    corner, box = np.eye(4)[[0]][None] * np.eye(4)[[0]].T[None], [[0.0, 0.0, 0.5, 0.5]]
    assert peak_in_box(corner, box).tolist() == [1.0]
    assert peak_in_box(corner, [[0.5, 0.0, 1.0, 0.5]]).tolist() == [0.0]
    assert peak_in_box(corner, [[0.0, 0.125, 1.0, 1.0]]).tolist() == [0.5]  # It cuts the place in half.
    assert peak_in_box(np.full((1, 4, 4), -2.0), box).tolist() == [0.25]  # All places are the maximum.
