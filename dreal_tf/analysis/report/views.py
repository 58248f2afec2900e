"""What a report shows of images: the images themselves, maps over them, and how well maps point."""

from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError
from dreal_tf.modules import stage_name
from dreal_tf.visualization.attention_maps import module_maps
from dreal_tf.visualization.composed import Composed, grid_pictures, pointing_game
from dreal_tf.visualization.grad_cam import GradCam
from dreal_tf.visualization.heatmaps import chosen_images


def images_at(data, positions):
    """Some images of a data set, in the order asked for.

    Args:
        data: tf.data.Dataset of (images, labels), batched.
        positions: int array (n,), each at most once.
    Returns:
        Array (n, height, width, channels).
    Example:
        >>> data = tf.data.Dataset.from_tensor_slices((np.arange(9.0), np.arange(9))).batch(4)
        >>> images_at(data, np.array([7, 2])).tolist()
        [7.0, 2.0]
    """
    positions = np.asarray(positions)
    found, start = {}, 0
    for images, _ in data.as_numpy_iterator():
        here = positions[(positions >= start) & (positions < start + len(images))]
        found |= {int(position): images[position - start] for position in here}
        start += len(images)
        if len(found) == len(positions):
            break
    return np.stack([found[int(position)] for position in positions])


SHOWN = 12  # Images, for Grad-CAM.
SHOWN_OWN = 6  # Images, for the modules' own maps.
COMPOSED, BYTES = 200, 2**28  # Composed pictures, and what they may take.
CAMS = {"Grad-CAM": False, "Grad-CAM++": True}


class Views(NamedTuple):
    """What a network's maps are on the shown images.

    Attributes:
        cams: dict by "Grad-CAM" and "Grad-CAM++" of float arrays (images, rows, columns), of the label.
        layer: str, the layer whose map they are of.
        own: dict by module of float arrays (some of the images, rows, columns), the module's own
            attention over places; the last module of each kind in every stage.
        pointing: dict by the same names of `dreal_tf.visualize.Pointing`, on the composed pictures;
            empty where the network takes images of one size alone.
    """

    cams: dict
    layer: str
    own: dict
    pointing: dict


class Shown(NamedTuple):
    """The images that are shown.

    Attributes:
        positions: int array (n,), in the order of the test split.
        inputs: float array (n, height, width, channels), as networks take them.
        pixels: float array of the same shape, from 0 to 1, as people do.
        labels: int array (n,).
        composed: `dreal_tf.visualize.Composed`, pictures of four test images each.
    """

    positions: np.ndarray
    inputs: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray
    composed: Composed


def shown_images(data, labels, drawn, seed):
    """Draws the images to show: see `dreal_tf.visualize.chosen_images`.

    Args:
        data: `dreal_tf.data.Splits`.
        labels: int array, of the test split in its order.
        drawn: pair of arrays, test images and their labels, that pictures are composed of.
        seed: int.
    Returns:
        `Shown`.
    """
    positions = chosen_images(labels, min(SHOWN, len(labels)), seed)
    inputs = images_at(data.test, positions)
    images, of_images = drawn
    most = BYTES // (4 * images[0].nbytes)
    composed = grid_pictures(images, of_images, max(1, min(COMPOSED, len(images), most)), seed=seed)
    return Shown(positions, inputs, as_seen(data, inputs), labels[positions], composed)


def as_seen(data, inputs):
    """What networks take, as people see it: float64, from 0 to 1, same shape."""
    return data.preprocessing.pixels(inputs).numpy() / 255.0


def views_of(network, shown):
    """The maps of a network on the shown images.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
        shown: `Shown`.
    Returns:
        `Views`.
    """
    cams, layer = {}, None
    for name, plus_plus in CAMS.items():
        cam = GradCam(network, plus_plus=plus_plus)
        cams[name] = cam(shown.inputs, shown.labels)
        layer = cam.layer_name
    own = module_maps(network, shown.inputs[own_places(shown)])
    last = {module: own[module] for module in last_of_stages(own)}
    return Views(cams, layer, last, _pointing(network, shown))


def last_of_stages(modules):
    """The last module of each kind in every stage.

    Args:
        modules: iterable of str, in depth order.
    Returns:
        List of str.
    Example:
        >>> last_of_stages(["conv2_1/se", "conv2_2/se", "conv3_1/se"])
        ['conv2_2/se', 'conv3_1/se']
    """
    return list({(stage_name(m), m.partition("/")[2]): m for m in modules}.values())


def _pointing(network, shown):
    try:
        return {name: pointing_game(network, shown.composed, plus_plus=p) for name, p in CAMS.items()}
    except InputError:  # Some attention is made for one size of map: the section says so.
        return {}


def own_places(shown):
    """Which of the shown images the modules' own maps are drawn of: evenly spread.

    Args:
        shown: `Shown`.
    Returns:
        Int array, positions among the shown images.
    """
    count = len(shown.labels)
    return np.unique(np.linspace(0, count - 1, min(SHOWN_OWN, count)).round().astype(int))
