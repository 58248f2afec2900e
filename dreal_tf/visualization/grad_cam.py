"""Grad-CAM of networks of any shape, and the pointing game that tests whether a map is right."""

import contextlib
import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage

from dreal_tf.errors import InputError, check_at_least_one, unknown_name
from dreal_tf.visualization.attention_maps import batches_of, specs_of


class Call(NamedTuple):
    """One part of a network that ran.

    Attributes:
        operation: `keras.layers.Layer`, or another operation of a functional network.
        output: tensor or structure of them.
        logits: tensor, the input of its softmax; None if it has none.
    """

    operation: object
    output: object
    logits: object


@contextlib.contextmanager
def observed(network, watch=lambda output: None):
    """Notes the output of every part of a network that runs inside the context.

    Parts are layers and other operations; those of a network inside the network come before it. Nothing
    is rewired, because the graphs of nested networks are not connected. Kept by hand for that reason:
    libraries for Grad-CAM cut the graph in two.

    Args:
        network: `keras.Model` of any kind.
        watch: callable that is shown each part's output at once, before anything reads it.
    Returns:
        Context of a list of `Call`, which grows in the order in which parts run.
    Example:
        >>> head = keras.Sequential([keras.layers.Flatten(), keras.layers.Softmax(name="end")])
        >>> network = keras.Sequential([keras.layers.ReLU(), head])
        >>> with observed(network) as calls:
        ...     probabilities = network(np.float32([[-1.0, 1.0]]))
        >>> calls[2].operation.name, calls[2].logits.numpy().tolist()
        ('end', [[0.0, 1.0]])
    """
    calls = []
    with contextlib.ExitStack() as undone:
        for operation in {id(part): part for part in parts_of(network)}.values():
            undone.enter_context(_noted(operation, calls, watch))
        yield calls


def parts_of(network):
    """Yields the parts of a network, those of networks inside it first.

    Args:
        network: `keras.Model`.
    """
    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.Model):
            yield from parts_of(operation)
        yield operation


@contextlib.contextmanager
def _noted(operation, calls, watch):
    own_call, read = operation.call, []

    @functools.wraps(own_call)
    def call(*args, **kwargs):
        read.clear()
        output = own_call(*args, **kwargs)
        watch(output)
        if type(operation).__name__ == "Softmax":  # Keras's layer, and its operation.
            read.append(args[0] if args else next(iter(kwargs.values())))
        calls.append(Call(operation, output, read[0] if read else None))
        return output

    operation.call = call
    activation = getattr(operation, "activation", None)
    ends_in_softmax = activation is keras.activations.softmax
    if ends_in_softmax:

        def noting(logits, **kwargs):
            read.append(logits)
            return activation(logits, **kwargs)

        operation.activation = noting
    try:
        yield
    finally:
        del operation.call
        if ends_in_softmax:
            operation.activation = activation


def grad_cam(network, images, labels, layer=None, plus_plus=False, batch_size=64):
    """Maps of the evidence for each image's label, at the resolution of a layer.

    Args:
        network, layer, plus_plus, batch_size: see `GradCam`, which is made once for many calls.
        images, labels: see `GradCam`.
    Returns:
        Float32 array (n, height, width), of at least 0.
    Raises:
        InputError: see `GradCam`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> grad_cam(network, np.random.rand(3, 8, 8, 1), [0, 1, 2]).shape
        (3, 2, 2)
    """
    return GradCam(network, layer, plus_plus, batch_size)(images, labels)


class GradCam:
    """Makes Grad-CAM maps of one network: relu of the sum over channels k of w_k F_k.

    F is the output of a layer and g the gradient of the label's logit with respect to it. Grad-CAM:
    w_k is the mean of g over places. Grad-CAM++: w_k = Σ_places a relu(g) with
    a = g² / (2 g² + g³ Σ_places F_k), its general form for a score that is the exponential of
    the logit, but without the common factor exp(logit) of an image's weights, which overflows and only
    scales the map.

    By default the layer is the last to run that gives a map (batch, height, width, channels) of
    more than one place: of a residual network, its last stage's output. Networks inside the network
    count too. If the network ends in a softmax, the logits are the input of the softmax.

    Args:
        network: `keras.Model` of any kind that gives logits or probabilities (batch, classes), or a
            dict that holds `logits`.
        layer: str or Keras layer, the map to use; None for the default.
        plus_plus: bool. Grad-CAM++.
        batch_size: int >= 1. Images at a time.
    Call arguments:
        images: float array (n, height, width, channels), as the network takes them; a list or dict of
            arrays if it has several inputs.
        labels: int array (n,).
    Returns:
        Float32 array (n, height, width), of at least 0, at the resolution of the layer's map;
        `dreal_tf.visualization.heatmaps.stretched` brings it to that of the image.
    Raises:
        InputError: at the first call, if there is no such map, or no logits can be had.
    Attributes:
        layer_name: str, the layer whose map was used; None before the first call.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> cam = GradCam(network, plus_plus=True)
        >>> cam(np.random.rand(3, 8, 8, 1), [0, 1, 2]).shape, cam.layer_name
        ((3, 2, 2), 'conv4_1_relu')
    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM", ICCV 2017, arXiv
    1610.02391, equations 1-2; Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++", WACV
    2018, arXiv 1710.11063, equations 5, 10 and 19. Departs from it in: nothing but the factor above
    (the code of Grad-CAM++ also brings a's sum to 1, which its paper does not).
    """

    def __init__(self, network, layer=None, plus_plus=False, batch_size=64):
        self.network = network
        self.layer = layer
        self.weigh = weights_plus_plus if plus_plus else weights
        self.batch_size = batch_size
        self.layer_name = None
        self._traced = {}

    def __call__(self, images, labels):
        return self.with_logits(images, labels)[0]

    def with_logits(self, images, labels):
        """The maps, and the logits of the images.

        Args:
            images, labels: as of a call.
        Returns:
            The maps, and a float32 array (n, classes).
        """
        images, labels = tf.nest.map_structure(np.asarray, images), np.asarray(labels, np.int32)
        shapes = [part.shape for part in tf.nest.flatten(images)]
        if any(labels.shape != shape[:1] for shape in shapes) or not len(labels):
            raise InputError(
                "Expected one label for each image. Received: images of shape "
                f"{', '.join(map(str, shapes))}, labels of shape {labels.shape}. Give as many of both."
            )
        traced, classes = self._for_images(specs_of(images))
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                f"Expected labels from 0 to {classes - 1}. Received: labels from {labels.min()} to "
                f"{labels.max()}. Give the network images of its own classes."
            )
        batches, start = [], 0
        for batch in batches_of(images, self.batch_size):
            end = start + len(tf.nest.flatten(batch)[0])
            maps, logits = (part.numpy() for part in traced(batch, labels[start:end]))
            _check_logits(logits)
            batches.append((maps, logits))
            start = end
        return tuple(map(np.concatenate, zip(*batches, strict=True)))

    def _for_images(self, of_images):
        """The traced function for images of a shape, and the number of classes."""
        shape = str(of_images)
        if shape not in self._traced:
            specs = of_images, tf.TensorSpec((None,), tf.int32)
            # Nothing branches on tensors; converted, errors would come as other ones.
            traced = tf.function(self._maps, input_signature=specs, autograph=False)
            classes = traced.get_concrete_function().structured_outputs[1].shape[-1]
            self._traced[shape] = traced, classes
        return self._traced[shape]

    def _maps(self, images, labels):
        # The activations are watched, not the weights, so that frozen networks have maps too.
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(output):
                map_ = _map_in(output)
                if map_ is not None:
                    tape.watch(map_)

            with observed(self.network, watch) as calls:
                output = self.network(images, training=False)
            scores = tf.cast(_logits(output, calls), tf.float32)
            score = tf.reduce_sum(scores * tf.one_hot(labels, scores.shape[-1]))
        chosen = _chosen(calls, self.layer)
        self.layer_name = chosen.operation.name
        map_ = _map_in(chosen.output)
        gradient = tape.gradient(score, map_)
        if gradient is None:
            raise InputError(
                "Expected a layer that the logits depend on. Received: "
                f"{self.layer_name!r}. Choose another one."
            )
        map_, gradient = tf.cast(map_, tf.float32), tf.cast(gradient, tf.float32)
        of_channels = self.weigh(map_, gradient)
        return tf.nn.relu(tf.einsum("bhwc,bc->bhw", map_, of_channels)), scores


def weights(map_, gradient):
    """Grad-CAM's weight of each channel.

    Args:
        map_: float tensor (batch, height, width, channels).
        gradient: float tensor of the same shape, of the score.
    Returns:
        Float tensor (batch, channels).
    Example:
        >>> gradient = np.float32([1, 2, 3, 6]).reshape(1, 2, 2, 1)
        >>> weights(np.ones((1, 2, 2, 1)), gradient).numpy().tolist()
        [[3.0]]
    """
    return tf.reduce_mean(gradient, axis=[1, 2])


def weights_plus_plus(map_, gradient):
    """Grad-CAM++'s weight of each channel, but for the image's factor exp(logit).

    Args:
        map_, gradient: see `weights`.
    Returns:
        Float tensor (batch, channels).
    Example:
        >>> map_, gradient = np.float32([0, 1]).reshape(1, 1, 2, 1), np.float32([2, -1])
        >>> weights_plus_plus(map_, gradient.reshape(1, 1, 2, 1)).numpy().tolist()  # 2 / (2 + 2 · 1)
        [[0.5]]
    """
    rising = tf.nn.relu(gradient)
    # g² / (2 g² + g³ Σ F), divided through by g², which underflows.
    below = 2.0 + rising * tf.reduce_sum(map_, axis=[1, 2], keepdims=True)
    return tf.reduce_sum(tf.math.divide_no_nan(rising, below), axis=[1, 2])


def _map_in(output):
    """The map (batch, height, width, channels) that a part gave, alone or first of several."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    floating = tf.is_tensor(first) and first.dtype.is_floating
    return first if floating and first.shape.rank == 4 else None


def _chosen(calls, layer):
    """The call whose map is used."""
    with_maps = [call for call in calls if _map_in(call.output) is not None]
    if layer is None:
        wide = [call for call in _single(with_maps) if _map_in(call.output).shape[1:3] != (1, 1)]
        if not wide:
            raise InputError(
                "Expected a network with a layer that gives a map of more than one place. Received: "
                f"{len(calls)} layers, none of which does. Give larger images, or a convolutional "
                "network."
            )
        return wide[-1]
    matching = [call for call in with_maps if layer in (call.operation, call.operation.name)]
    if not matching:
        name = layer if isinstance(layer, str) else layer.name
        raise unknown_name("layer with a map", name, {call.operation.name for call in with_maps})
    if len(matching) > 1:
        raise InputError(
            f"Expected a layer that runs once. Received: {matching[0].operation.name!r}, which "
            f"{len(matching)} calls of the network answer to. Choose another, or give the layer itself."
        )
    return matching[0]


def _single(calls):
    """Calls of parts, without those of whole networks."""
    return [call for call in calls if not isinstance(call.operation, keras.Model)]


def _logits(output, calls):
    if isinstance(output, dict) and "logits" in output:
        return output["logits"]
    if not tf.is_tensor(output) or output.shape.rank != 2 or output.shape[1] is None:
        raise InputError(
            "Expected a network that gives logits (batch, classes), or a dict that holds `logits`. "
            f"Received: {tf.nest.map_structure(lambda part: tuple(part.shape), output)}. Give the "
            "network of one classification."
        )
    last = _single(calls)[-1]
    return output if last.logits is None else last.logits


def _check_logits(scores):
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3):
        raise InputError(
            "Expected logits, or a softmax that is the network's last layer, whose logits can be read. "
            "Received: probabilities from a layer that hides them. End the network in logits, or in "
            "keras.layers.Softmax."
        )


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
        composed: `Composed`, in the values that the network takes. Give two networks the
            same pictures to compare them picture by picture.
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
        masks: bool array (n, height, width), the object in each image; None: the whole image. The box is
            the smallest that holds the mask.
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
    """The objects in images of single objects on a black background.

    Args:
        images: float array (n, height, width, channels), from 0 to 1.
        threshold: float. Pixels brighter than this in any channel may belong to the object; the
            background of COIL-100 reaches 0.2.
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


def peak_in_box(maps, boxes):
    """Whether the maximum of each map lies in its box.

    Args:
        maps, boxes: see `energy_in_box`.
    Returns:
        Float array (n,): 1 or 0; if several places are the maximum, or a box cuts one, the fraction inside.
    Example:
        >>> peak_in_box([[[3, 0], [1, 3]]], [[0.0, 0.0, 0.5, 0.5]]).tolist()
        [0.5]
    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, arXiv 1608.00507,
        the pointing game.
    """
    maps = np.asarray(maps, np.float64)
    return energy_in_box(maps == maps.max(axis=(1, 2), keepdims=True), boxes)


def coverage_of_box(maps, boxes, level=0.5):
    """The fraction of each box where its map is high: how complete it is.

    A map that is high everywhere covers any box, so read the coverage beside `energy_in_box`.

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
    if len(network.inputs) > 1:
        raise InputError(
            f"Expected a network of images alone. Received: {network.name!r}, which has "
            f"{len(network.inputs)} inputs. Take Grad-CAM of pictures of your own instead."
        )
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
