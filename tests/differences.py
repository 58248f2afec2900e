"""Gradients of layers against central differences of a formula in NumPy and float64."""

import numpy as np
import tensorflow as tf

STEP = 1e-6
ENTRIES = 20  # At most so many entries of each array.
TOLERANCES = {"float32": dict(rtol=2e-4, atol=2e-5), "float64": dict(rtol=1e-6, atol=1e-8)}
NOTHING = 1e-4  # If every slope of an array is below this, the formula does not depend on it.


def slopes(function, points, name, entries):
    """How a number changes with some entries of one array.

    Args:
        function: makes a float of a dict like `points`, whose arrays it may write to.
        points: dict of float64 arrays.
        name: str, the array in `points` that is moved; the others and `points` itself stay.
        entries: ints, positions in the flattened array.
    Returns:
        Float64 array (entries,).
    """
    ends = np.zeros((2, len(entries)))
    for end, sign in enumerate((1, -1)):
        for position, entry in enumerate(entries):
            moved = {key: np.array(point) for key, point in points.items()}
            moved[name].flat[entry] += sign * STEP
            ends[end, position] = function(moved)
    return (ends[0] - ends[1]) / (2 * STEP)


def named(layer, variables):
    """Variables of a built layer by their path inside it, such as "query/kernel"."""
    return {v.path.removeprefix(f"{layer.name}/"): v for v in variables}


def weights_of(layer):
    """All weights of a built layer by path, in float64; the kernel of a 1×1 convolution as a matrix."""
    weights = {name: np.float64(v) for name, v in named(layer, layer.weights).items()}
    return {
        name: w[0, 0] if w.ndim == 4 and w.shape[:2] == (1, 1) else w for name, w in weights.items()
    }


def check_gradients(layer, formula, state, silent=(), training=None):
    """Compares gradients of a random weighting of a layer's map with those of the formula.

    Also fails if a trainable variable gets no gradient, or if the formula does not depend on it,
    so that its gradient would prove nothing.

    Args:
        layer: a built layer; differentiated in the precision that it computes in.
        formula: makes the refined map, in float64, of a dict with `state` and `weights_of(layer)`.
        state: float array (batch, height, width, channels).
        silent: names of the arrays that the map does not depend on.
        training: passed on to the layer.
    """
    random, weights = np.random.default_rng(3), weights_of(layer)
    inputs = tf.constant(state, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        refined = layer(inputs, training=training)
        probe = random.normal(size=refined.shape).astype(layer.compute_dtype)
        value = tf.reduce_sum(probe * refined)
    variables = named(layer, layer.trainable_variables)
    sources = {"state": inputs} | {name: variable.value for name, variable in variables.items()}
    gradients = tape.gradient(value, sources)
    points = weights | {"state": np.float64(inputs)}

    def weighted_sum(points):
        return np.sum(np.float64(probe) * formula(points))

    for name, gradient in gradients.items():
        assert gradient is not None and tf.size(gradient) == points[name].size, name
        chosen = random.permutation(points[name].size)[:ENTRIES]
        expected = slopes(weighted_sum, points, name, chosen)
        ours = np.ravel(gradient)[chosen]
        np.testing.assert_allclose(ours, expected, **TOLERANCES[layer.compute_dtype], err_msg=name)
        assert (np.abs(expected).max() < NOTHING) == (name in silent), name
