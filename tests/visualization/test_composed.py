"""Pictures with a known box, and the scores of maps on them."""

import io
import zipfile

import keras
import numpy as np
import pytest
from fresh_process import PREPARED
from PIL import Image

from dreal_tf import residual_network
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS
from dreal_tf.visualization.grad_cam import (
    Composed,
    coverage_of_box,
    energy_in_box,
    grad_cam,
    grid_pictures,
    object_masks,
    pasted_pictures,
    pointing_game,
    with_image_shape,
)

RANDOM = np.random.default_rng(0)
# An image is its number everywhere, so that a picture tells what it was made of.
NUMBERED = np.broadcast_to(np.arange(40.0)[:, None, None, None], (40, 4, 6, 3))
LABELS = np.arange(40) % 5


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
    maps, box = RANDOM.random((3, 4, 6)), np.tile([0.3, 0.1, 0.9, 0.55], (3, 1))
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
    composed = grid_pictures(NUMBERED, LABELS, count=30, cells=cells, seed=1)
    assert composed.images.shape == (30, 4 * cells, 6 * cells, 3)
    cells_seen = set()
    for number, label in enumerate(composed.labels):
        cell, (top, left, *_) = in_box(composed, number)
        assert cell.shape == (4, 6, 3) and np.ptp(cell) == 0
        assert LABELS[int(cell[0, 0, 0])] == label
        numbers = composed.images[number, ::4, ::6, 0].ravel().astype(int)
        assert len(set(numbers)) == cells**2 and (LABELS[numbers] == label).sum() == 1
        cells_seen.add((top, left))
    assert len(cells_seen) > cells and set(composed.labels) == set(range(5))
    again = grid_pictures(NUMBERED, LABELS, count=30, cells=cells, seed=1)
    np.testing.assert_array_equal(again.images, composed.images)


def test_a_grid_of_few_images_repeats_them_and_one_of_a_single_class_is_refused():
    two = grid_pictures(NUMBERED[:2], LABELS[:2], count=4)
    assert two.images.shape == (4, 8, 12, 3)
    with pytest.raises(InputError, match="at least two classes. Received: 1 images of 1"):
        grid_pictures(NUMBERED[:1], LABELS[:1], count=1)


def test_pasted_objects_lie_in_their_box_and_leave_the_rest_alone():
    backgrounds = RANDOM.random((8, 9, 11, 3)).astype("float32")
    masks = np.zeros((8, 4, 6), bool)
    masks[:, 1:3, 2:6] = True
    masks[:, 1, 2] = False
    objects = NUMBERED[1:9] + 5
    composed = pasted_pictures(objects, LABELS[1:9], backgrounds, masks)
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
        pasted_pictures(backgrounds, LABELS[:8], objects)


def test_blur_takes_the_detail_of_backgrounds_not_of_objects():
    backgrounds = RANDOM.random((3, 32, 32, 3)).astype("float32")
    composed = pasted_pictures(NUMBERED[:3], LABELS[:3], backgrounds, blur=2.0)
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
    image = RANDOM.normal(size=(2, 8, 8, 3)).astype("float32")
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
