"""Pictures whose evidence lies in a known box, and how well a map finds it. [ours]"""

from typing import NamedTuple

import keras
import numpy as np
from scipy import ndimage

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.visualization.grad_cam import GradCam


class Composed(NamedTuple):
    """Pictures with a known box.

    Attributes:
        images: float32 array (n, height, width, channels).
        labels: int array (n,), of the content of the box.
        boxes: float array (n, 4): top, left, bottom and right of the box, as fractions of the
            picture's height and width.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


class Pointing(NamedTuple):
    """How a network's maps lie on composed pictures.

    Attributes:
        energy: float array (n,), see `energy_in_box`: more of it is more correct.
        coverage: float array (n,), see `coverage_of_box`: more of it, at no less energy, is more
            complete.
        maps: float32 array (n, rows, columns).
        layer_name: str, the layer that the maps are of.
    """

    energy: np.ndarray
    coverage: np.ndarray
    maps: np.ndarray
    layer_name: str


def pointing_game(network, composed, layer=None, plus_plus=False):
    """Whether a network's Grad-CAM finds the label's cell or object in composed pictures.

    Args:
        network: functional or sequential `keras.Model`, of any image size: it is wired anew, with the
            same weights, for pictures of this one.
        composed: `Composed`, in the values that the network takes. The same pictures for two
            networks make their scores pairs.
        layer, plus_plus: see `GradCam`.
    Returns:
        `Pointing`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> pictures = grid_pictures(np.random.rand(40, 8, 8, 1), np.arange(40) % 10, count=5)
        >>> pointing_game(network, pictures).energy.shape
        (5,)
    Source: Böhle, Fritz, Schiele, "Convolutional Dynamic Alignment Networks for Interpretable
    Classifications", CVPR 2021, arXiv 2104.00032, section 4.2: a grid of images of the network's own
    size, of which one has the label, scored by the share of the positive map in its cell.
    """
    cam = GradCam(with_image_shape(network, composed.images.shape[1:]), layer, plus_plus)
    maps = cam(composed.images, composed.labels)
    energy, coverage = (measure(maps, composed.boxes) for measure in (energy_in_box, coverage_of_box))
    return Pointing(energy, coverage, maps, cam.layer_name)


def grid_pictures(images, labels, count, cells=2, seed=0):
    """Grids of images; one has the picture's label, the others have other labels than that.

    Args:
        images: float array (n, height, width, channels), of one size.
        labels: int array (n,), of at least two classes.
        count: int >= 1. How many pictures.
        cells: int >= 2. Images along a side.
        seed: int.
    Returns:
        `Composed`, with pictures (count, cells · height, cells · width, channels). Labels are drawn
        from all classes alike, then an image of the class, its cell, and the others, without
        repetition within a picture where there are enough of them.
    Raises:
        InputError: if there are fewer than two classes.
    Example:
        >>> pictures = grid_pictures(np.random.rand(40, 8, 8, 3), np.arange(40) % 10, count=5)
        >>> pictures.images.shape
        (5, 16, 16, 3)
    """
    check_at_least_one(count=count, cells=cells - 1)
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(
            f"Expected images of at least two classes. Received: {len(images)} images of "
            f"{len(classes)}. Give more of the test split."
        )
    random = np.random.default_rng(seed)
    pictures, chosen, boxes = [], [], []
    for _ in range(count):
        label = random.choice(classes)
        own, others = (np.flatnonzero(there) for there in (labels == label, labels != label))
        positions = random.choice(others, cells**2, replace=len(others) < cells**2)
        cell = random.integers(cells**2)
        positions[cell] = random.choice(own)
        rows = [np.concatenate(images[row], axis=1) for row in positions.reshape(cells, cells)]
        pictures.append(np.concatenate(rows, axis=0))
        chosen.append(label)
        top, left = divmod(cell, cells)
        boxes.append(np.array([top, left, top + 1, left + 1]) / cells)
    return Composed(np.array(pictures), np.array(chosen), np.array(boxes))


def pasted_pictures(objects, labels, backgrounds, masks=None, blur=0.0, seed=0):
    """Objects somewhere on larger backgrounds.

    Args:
        objects: float array (n, height, width, channels).
        labels: int array (n,), of the objects.
        backgrounds: float array (n, rows, columns, channels), in neither direction smaller.
        masks: bool array (n, height, width), what of each object's image is the object; None: all of
            it. The box is the least that holds the mask.
        blur: float >= 0. Deviation of a Gaussian that takes the detail from the backgrounds (pixels).
        seed: int, of the places.
    Returns:
        `Composed`.
    Raises:
        InputError: if an object does not fit on its background.
    Example:
        >>> pasted = pasted_pictures(np.ones((2, 4, 4, 3)), [3, 5], np.zeros((2, 16, 16, 3)))
        >>> float(pasted.images.sum())
        96.0
    """
    objects = np.asarray(objects, np.float32)
    pictures = np.array(backgrounds, np.float32)
    room = np.array(pictures.shape[1:3]) - objects.shape[1:3]
    if len(objects) != len(pictures) or room.min() < 0:
        raise InputError(
            "Expected a background for each object, and at least as large. Received: objects of shape "
            f"{objects.shape}, backgrounds of shape {pictures.shape}. Scale one or the other."
        )
    if blur:
        pictures = ndimage.gaussian_filter(pictures, (0, blur, blur, 0))
    if masks is None:
        masks = np.ones(objects.shape[:3], bool)
    random = np.random.default_rng(seed)
    sides, boxes = np.array(pictures.shape[1:3]), []
    for picture, thing, mask in zip(pictures, objects, masks, strict=True):
        corner = random.integers(0, room + 1)
        window = tuple(slice(low, low + size) for low, size in zip(corner, mask.shape, strict=True))
        picture[window][mask] = thing[mask]
        inside = np.argwhere(mask)
        low, high = corner + inside.min(axis=0), corner + inside.max(axis=0) + 1
        boxes.append(np.concatenate([low / sides, high / sides]))
    return Composed(pictures, np.asarray(labels), np.array(boxes))


def object_masks(images, threshold=0.2):
    """What is not background in images of single objects on black.

    Args:
        images: float array (n, height, width, channels), from 0 to 1.
        threshold: float. What is brighter in any channel may be the object; the ground of COIL-100
            reaches 0.2.
    Returns:
        Bool array (n, height, width): the largest connected region, its holes filled.
    Example:
        >>> image = np.zeros((1, 5, 5, 3))
        >>> image[0, 1:4, 1:4], image[0, 2, 2], image[0, 0, 4] = 1, 0, 1
        >>> int(object_masks(image).sum())
        9
    """
    masks = []
    for bright in np.asarray(images).max(axis=-1) > threshold:
        regions, _ = ndimage.label(bright)
        sizes = np.bincount(regions.ravel())
        sizes[0] = 0
        masks.append(ndimage.binary_fill_holes(bright & (regions == sizes.argmax())))
    return np.array(masks)


def energy_in_box(maps, boxes):
    """The fraction of each map that lies in its box: how correct it is.

    Args:
        maps: float array (n, rows, columns), of at least 0 and of any resolution: a place that a box
            cuts counts by the area inside.
        boxes: float array (n, 4), see `Composed`.
    Returns:
        Float array (n,), from 0 to 1; nan for a map that is 0 everywhere. For an even map it is the
        area of the box as a fraction of the picture's.
    Example:
        >>> float(energy_in_box([[[3, 0], [1, 0]]], [[0.0, 0.0, 0.5, 0.5]])[0])
        0.75
    Source: Wang et al., "Score-CAM", CVPR Workshops 2020, arXiv 1910.01279, section 4.3, the
    energy-based pointing game.
    """
    maps = np.asarray(maps, np.float64)
    total = maps.sum(axis=(1, 2))
    inside = (maps * _covered(maps, boxes)).sum(axis=(1, 2))
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def coverage_of_box(maps, boxes, level=0.5):
    """The fraction of each box where its map is high: how complete it is.

    A map that is high everywhere covers any box: read it beside `energy_in_box`.

    Args:
        maps, boxes: see `energy_in_box`.
        level: float in (0, 1]. The map is high from this fraction of its maximum on. [ours]
    Returns:
        Float array (n,), from 0 to 1; 0 for a map that is 0 everywhere.
    Example:
        >>> float(coverage_of_box([[[4, 1], [2, 0]]], [[0.0, 0.0, 1.0, 1.0]])[0])
        0.5
    """
    maps = np.asarray(maps, np.float64)
    most = maps.max(axis=(1, 2), keepdims=True)
    high = (maps >= level * most) & (most > 0)
    covered = _covered(maps, boxes)
    return (high * covered).sum(axis=(1, 2)) / covered.sum(axis=(1, 2))


def with_image_shape(network, image_shape):
    """The same network, weights included, for images of another size.

    Args:
        network: functional or sequential `keras.Model` whose layers take any size, such as a
            convolutional one that ends in a mean over places.
        image_shape: tuple (height, width, channels).
    Returns:
        `keras.Model` that shares the layers of `network`, or `network` itself if the size is its own.
    Raises:
        InputError: if a layer does not take that size.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> with_image_shape(network, (16, 24, 1)).input.shape
        (None, 16, 24, 1)
    """
    if tuple(network.inputs[0].shape[1:]) == tuple(image_shape):
        return network
    images = keras.Input(image_shape, dtype=network.inputs[0].dtype)
    try:
        return keras.models.clone_model(network, images, clone_function=lambda layer: layer)
    except ValueError as error:
        raise InputError(
            f"Expected a network that takes images of any size. Received: {network.name!r}, made for "
            f"{tuple(network.inputs[0].shape[1:])}, and images of {tuple(image_shape)} ({error}). Compose "
            "pictures of the network's own size."
        ) from error


def _covered(maps, boxes):
    """(n, rows, columns): the fraction of each cell's area that lies in the map's box."""
    boxes = np.asarray(boxes, np.float64)
    fractions = []
    for axis in (0, 1):
        cells = maps.shape[1 + axis]
        low, high = boxes[:, axis, None] * cells, boxes[:, axis + 2, None] * cells
        starts = np.arange(cells)
        fractions.append(np.clip(np.minimum(high, starts + 1) - np.maximum(low, starts), 0.0, None))
    return fractions[0][:, :, None] * fractions[1][:, None, :]
