"""Cued recognition: composed pictures against the small ones that they are made of."""

import numpy as np
import pytest

from dreal_tf import Recipe
from dreal_tf.data.built_in import digits
from dreal_tf.data.cued import cued, framed_boxes
from dreal_tf.data.splits import sample_examples
from dreal_tf.errors import InputError
from dreal_tf.training.builder import build_data


def raw(splits, split):
    """Images and labels of a source, as stored."""
    return map(
        np.concatenate, zip(*splits.sources[split].ordered(100).as_numpy_iterator(), strict=True)
    )


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_image_is_framed_once_at_each_place_beside_others_of_its_split(split):
    plain, composed = digits(batch_size=8, seed=3), cued(batch_size=8, seed=3)
    (images, labels), (pictures, names) = raw(plain, split), raw(composed, split)
    count = len(images)
    assert pictures.shape == (4 * count, 24, 24, 1) and (names == np.tile(labels, 4)).all()
    cells = [pictures[:, top : top + 12, left : left + 12] for top in (0, 12) for left in (0, 12)]
    known = {image.tobytes() for image in images}
    for framed in range(4):
        rows = slice(framed * count, (framed + 1) * count)
        for position, cell in enumerate(cells):
            inner, ring = cell[rows, 2:-2, 2:-2], cell[rows].copy()
            ring[:, 1:-1, 1:-1] = position == framed
            assert (ring == (position == framed)).all()  # 1 along the edge of the framed one, else 0.
            assert (cell[rows, 1, 1:-1] == 0).all() and (cell[rows, 1:-1, -2] == 0).all()
            assert {image.tobytes() for image in inner} <= known
            if position == framed:
                assert (inner == images).all()


def test_boxes_are_those_of_the_frames_whatever_the_scale():
    composed = cued(batch_size=8)
    pictures, _ = raw(composed, "test")
    position = np.repeat(np.arange(4), len(pictures) // 4)
    expected = np.stack([position // 2, position % 2, position // 2 + 1, position % 2 + 1], axis=1) / 2
    assert (framed_boxes(pictures) == expected).all()
    assert (composed.boxes_of(3.0 * pictures - 7.0) == expected).all()


def test_pictures_beside_the_framed_one_do_not_follow_from_it():
    pictures, _labels = raw(cued(batch_size=8), "train")
    count = len(pictures) // 4
    beside = pictures[:count, :12, 12:]  # The framed one is at the top left.
    framed = pictures[:count, 2:10, 2:10]
    same = (beside[:, 2:10, 2:10] == framed).all(axis=(1, 2, 3)).mean()
    assert same < 0.01 and len({image.tobytes() for image in beside}) > count / 2


def test_the_test_pictures_are_the_same_for_every_seed_and_the_recipe_chooses_tiles(tmp_path):
    one, other = (sample_examples(cued(batch_size=8, seed=seed), 2000)[1] for seed in (0, 1))
    assert (np.sort(one) == np.sort(other)).all() and len(one) == 1440
    first, second = (raw(cued(batch_size=8, seed=seed), "test") for seed in (0, 1))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    few = build_data(
        Recipe().replace({"data.name": "cued", "data.image_size": 4, "data.train_limit": 100})
    )
    assert few.sizes["train"] == 400 and few.image_shape == (16, 16, 1)
    recipe = Recipe().replace({"data.name": "cued", "data.tiles": "fashion_mnist"})
    with pytest.raises(InputError, match="Fashion-MNIST's file"):
        build_data(recipe.reading(str(tmp_path)))
