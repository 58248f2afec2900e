"""Summaries and dQ/dA of pairwise actions, for every meaning of an axis, against loops."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from graphs import largest_tensor
from support import randomized

from dreal_tf.method.critics import ComparativeCritic, PaperCritic
from dreal_tf.method.critics.action_gradients import action_gradient_head
from dreal_tf.method.critics.comparative import advantage
from dreal_tf.method.critics.meta_critic import summarize, summary_width
from dreal_tf.method.types import PrivilegedInputs
from dreal_tf.modules import ModuleOutput, ModuleSpec

CHANNELS, UNITS, GRID, WIDTH = 3, 4, 3, 5
HEADS, MEMBERS, SIDE = 2, 5, 3
SIZES = [(5, 7), (4, 2), (1, 1)]
FORMS = {
    "non-local": ("places", "places"),
    "non-local, halved": ("places", "halved"),
    "A² gather": ("members", "places"),
    "A² distribute": ("places", "members"),
    "AA": ("heads", "places", "places"),
    "SASA": ("heads", "places", "window"),
    "DANet channel": ("members", "members"),
    "CCNet": ("rows", "columns", "cross"),
    "CCNet with heads": ("heads", "rows", "columns", "cross"),
    "rows, columns, members": ("rows", "columns", "members"),
}


def spec_of(form, height=None, width=None, module="conv2_1/pair"):
    """A step of a form; what depends on a size that is not given is None."""
    known = None not in (height, width)
    lengths = {
        "heads": HEADS,
        "members": MEMBERS,
        "window": SIDE**2,
        "rows": height,
        "columns": width,
        "places": height * width if known else None,
        "halved": ((height + 1) // 2) * ((width + 1) // 2) if known else None,
        "cross": height + width if known else None,
    }
    shape = tuple(lengths[axis] for axis in FORMS[form])
    return ModuleSpec(module, "conv2", "pairwise", (height, width, CHANNELS), shape, FORMS[form])


def valid_keys(form, height, width):
    """1 where a query can attend to a key, one entry of the action after the other."""
    valid = np.ones(spec_of(form, height, width).action_shape)
    if "cross" in FORMS[form]:
        for row, column in product(range(height), range(width)):
            valid[..., row, column, row] = 0
    return valid


def random_inputs(form, height, width, images=2, seed=0):
    """A state and an action whose rows sum to 1, with sharp rows among them; NumPy."""
    random = np.random.default_rng(seed)
    state = random.normal(size=(images, height, width, CHANNELS)).astype("float32")
    valid = valid_keys(form, height, width)
    action = valid * np.exp(2 * random.normal(size=(images, *valid.shape)))
    return state, (action / action.sum(axis=-1, keepdims=True)).astype("float32")


def traced(function, *shapes):
    """The function as one graph for inputs of any size."""
    signature = [tf.TensorSpec((None, *shape)) for shape in shapes]
    return tf.function(function, input_signature=signature)


# Summaries.


def pooled(plane, grid):
    """Means over equal areas: pixels are cut into as many pieces as there are cells."""
    height, width = plane.shape
    pieces = np.repeat(np.repeat(plane, grid, axis=0), grid, axis=1)
    return pieces.reshape(grid, height, grid, width).mean(axis=(1, 3)).ravel()


def cells_by_hand(values, role, height, width):
    if role == "members":
        return np.repeat(values, GRID**2).reshape(GRID**2, -1).mean(axis=1)
    halves = ((height + 1) // 2, (width + 1) // 2)
    sides = {"places": (height, width), "halved": halves, "window": (SIDE, SIDE)}[role]
    return pooled(np.reshape(values, sides), GRID)


def summary_by_hand(form, state, action):
    """One image: each pair of a query and a key is looked at by itself, in each head."""
    height, width = state.shape[:2]
    axes = FORMS[form]
    planes = np.asarray(action if axes[0] == "heads" else action[None], np.float64)
    queries = planes.shape[1:-1]
    count = np.prod(queries)
    cross = axes[-1] == "cross"
    received = np.zeros((height, width) if cross else planes.shape[-1])
    entropy = np.zeros(queries)
    for plane in planes:
        for query in np.ndindex(*queries):
            for key, weight in enumerate(plane[query]):
                position = key
                if cross:
                    position = (key, query[1]) if key < height else (query[0], key - height)
                received[position] += weight / count / len(planes)
                if weight > 0:
                    entropy[query] -= weight * np.log(weight) / len(planes)
    of_queries = "members" if axes[-2] == "members" else "places"
    of_keys = "places" if cross else axes[-1]
    return np.concatenate(
        [
            cells_by_hand(received, of_keys, height, width),
            cells_by_hand(entropy, of_queries, height, width),
            np.float64(state).mean(axis=(0, 1)),
        ]
    )


@pytest.mark.parametrize("known", [True, False], ids=["known sizes", "unknown sizes"])
@pytest.mark.parametrize("form", FORMS)
def test_a_summary_is_the_one_of_loops_at_any_size(form, known):
    unknown = spec_of(form)

    def of_any_size(state, action):
        summary = summarize(unknown, state, action, GRID)
        assert summary.shape[1] == summary_width(unknown, GRID)
        return summary

    read = traced(of_any_size, unknown.state_shape, unknown.action_shape)
    for height, width in SIZES:
        state, action = random_inputs(form, height, width)
        spec = spec_of(form, height, width)
        summary = summarize(spec, state, action, GRID) if known else read(state, action)
        expected = [summary_by_hand(form, *image) for image in zip(state, action, strict=True)]
        np.testing.assert_allclose(summary, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_summary_without_the_action_is_the_average_of_the_state(form):
    state, _ = random_inputs(form, 5, 7)
    spec = spec_of(form, 5, 7)
    summary = summarize(spec, state, None, GRID)
    np.testing.assert_allclose(summary, state.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert summary.shape[1] == summary_width(spec, GRID, with_action=False)


# Action gradients.


def head_of(spec, trained=True):
    head = action_gradient_head(spec, UNITS, name="direction")
    head.build((None, WIDTH))
    return randomized(head) if trained else head


def halved_by_hand(state):
    height, width = state.shape[:2]
    return [
        state[row : row + 2, column : column + 2].mean(axis=(0, 1))
        for row, column in product(range(0, height, 2), range(0, width, 2))
    ]


def vectors_by_hand(layer, role, state):
    if role in ("members", "window"):
        return np.float64(layer.embedding)
    dense = getattr(layer, "dense", layer)
    positions = halved_by_hand(state) if role == "halved" else state.reshape(-1, CHANNELS)
    return np.float64(positions) @ np.float64(dense.kernel) + np.float64(dense.bias)


def direction_by_hand(head, form, features, state, shape):
    """One image, entry by entry of the action."""
    height, width = state.shape[:2]
    axes = FORMS[form]
    cross, headed, on_grid = axes[-1] == "cross", axes[0] == "heads", "rows" in axes
    queries = vectors_by_hand(head.queries, "places" if on_grid else axes[-2], state)
    keys = vectors_by_hand(head.keys, "places" if cross else axes[-1], state)
    sought = (np.float64(features) @ np.float64(head.query.kernel)).reshape(-1, UNITS)
    direction = np.zeros(shape)
    for entry in np.ndindex(*shape):
        key, of_head = entry[-1], sought[entry[0] if headed else 0]
        query = entry[-2]
        if on_grid:
            row, column = entry[-3:-1]
            query = row * width + column
        if cross:
            if key == row:
                continue
            key = key * width + column if key < height else row * width + key - height
        direction[entry] = np.sum(queries[query] * of_head * keys[key])
    return direction / np.sqrt(len(queries))


@pytest.mark.parametrize("known", [True, False], ids=["known sizes", "unknown sizes"])
@pytest.mark.parametrize("form", FORMS)
def test_a_direction_is_the_one_of_loops_at_any_size(form, known):
    unknown = spec_of(form)
    head = head_of(unknown)
    advise = traced(head, (WIDTH,), unknown.state_shape, unknown.action_shape)
    features = np.random.default_rng(1).normal(size=(2, WIDTH)).astype("float32")
    for height, width in SIZES:
        state, action = random_inputs(form, height, width)
        if known:
            head = head_of(spec_of(form, height, width))
        direction = (head if known else advise)(features, state, action)
        expected = [
            direction_by_hand(head, form, *image, action.shape[1:])
            for image in zip(features, state, strict=True)
        ]
        assert direction.shape == action.shape and direction.dtype == tf.float32
        np.testing.assert_allclose(direction, expected, rtol=1e-4, atol=1e-5)
        if (height, width) != (1, 1):
            assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_a_direction_is_linear_in_what_is_known_of_the_image_and_nothing_at_first(form):
    state, action = random_inputs(form, 5, 4)
    spec = spec_of(form, 5, 4)
    one, other = np.random.default_rng(1).normal(size=(2, 2, WIDTH)).astype("float32")
    assert not np.any(head_of(spec, trained=False)(one, state, action))
    head = head_of(spec)
    apart = 2 * head(one, state, action) - head(other, state, action)
    np.testing.assert_allclose(head(2 * one - other, state, action), apart, rtol=1e-4, atol=1e-5)
    assert not np.any(head(0 * one, state, action))


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_of_a_direction_can_learn(form):
    state, action = random_inputs(form, 5, 4)
    head = head_of(spec_of(form, 5, 4))
    random = np.random.default_rng(1)
    features = random.normal(size=(2, WIDTH)).astype("float32")
    along = random.normal(size=action.shape).astype("float32")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(along * head(features, state, action))
    for variable, gradient in zip(
        head.trainable_variables, tape.gradient(total, head.trainable_variables), strict=True
    ):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-4, variable.path


# Advantages.


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_of_an_advantage_is_its_direction(form):
    state, action = random_inputs(form, 5, 4)
    spec, action = spec_of(form, 5, 4), tf.constant(action)
    direction = head_of(spec)(np.ones((2, WIDTH), "float32"), state, action)
    with tf.GradientTape() as tape:
        tape.watch(action)
        gained = advantage("pairwise", action, direction, spec.axes)
    np.testing.assert_array_equal(tape.gradient(gained, action), direction)


@pytest.mark.parametrize("form", FORMS)
def test_an_advantage_is_over_attention_to_all_keys_that_there_are(form):
    """Whatever is said of a key that cannot be attended to, as true gradients do say."""
    _, action = random_inputs(form, 5, 4)
    valid = valid_keys(form, 5, 4)
    direction = np.random.default_rng(1).normal(size=action.shape).astype("float32")
    even = np.broadcast_to(valid / valid.sum(axis=-1, keepdims=True), action.shape)
    expected = np.sum((direction * (np.float64(action) - even)).reshape(2, -1), axis=1)
    assert np.abs(expected).min() > 0.1
    gained = advantage("pairwise", action, direction, FORMS[form])
    np.testing.assert_allclose(gained, expected, rtol=1e-4, atol=1e-4)
    nothing = advantage("pairwise", np.float32(even), direction, FORMS[form])
    np.testing.assert_allclose(nothing, 0, atol=1e-5)


# Whole critics.


REFUSED = "rows places, rows columns, places cross, places places places, places heads, places, "


@pytest.mark.parametrize("axes", REFUSED.split(", "))
def test_axes_that_critics_do_not_know_are_refused(axes):
    axes = tuple(axes.split())
    spec = ModuleSpec("conv2_1/pair", "conv2", "pairwise", (4, 4, 3), (4,) * len(axes), axes)
    for critic in (PaperCritic(units=UNITS), ComparativeCritic(units=UNITS)):
        with pytest.raises(ValueError, match=r"Expected a pairwise action with the axes .*Received"):
            critic.build([spec], classes=3)


@pytest.mark.parametrize("kind", [PaperCritic, ComparativeCritic])
def test_a_critic_of_every_form_judges_images_of_any_size(kind):
    """All in one stage, as the steps of A² and DANet are."""
    critic = kind(units=UNITS, grid=GRID)
    specs = [spec_of(form, module=f"conv2_{number}/pair") for number, form in enumerate(FORMS)]
    critic.build(specs, classes=3)
    randomized(critic)
    shapes = [shape for spec in specs for shape in (spec.state_shape, spec.action_shape)]

    def judge(errors, *flat):
        steps = [ModuleOutput(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        return critic(steps, PrivilegedInputs(None, errors)).critiques

    judge = traced(judge, (3,), *shapes)
    errors = np.float32([[1, -0.5, -0.5], [-0.2, 0.3, -0.1]])
    for height, width in SIZES:
        flat = [part for form in FORMS for part in random_inputs(form, height, width)]
        critiques = judge(errors, *flat).numpy()
        assert critiques.shape == (2, len(FORMS)) and np.isfinite(critiques).all()
        alone = judge(errors[1:], *[part[1:] for part in flat])
        np.testing.assert_allclose(alone[0], critiques[1], rtol=1e-4, atol=1e-5)


def largest_of(form, kind, side):
    """Entries of the largest tensor in the graph of a critic and its gradients, for one image."""
    critic = kind(units=UNITS, grid=GRID)
    spec = spec_of(form, side, side)
    critic.build([spec], classes=3)

    def learn(errors, state, action):
        with tf.GradientTape() as tape:
            tape.watch(action)
            total = tf.reduce_sum(
                critic([ModuleOutput(state, action)], PrivilegedInputs(None, errors)).critiques
            )
        return tape.gradient(total, [action, *critic.trainable_variables])

    return largest_tensor(learn, (1, 3), (1, *spec.state_shape), (1, *spec.action_shape))


@pytest.mark.parametrize("kind", [PaperCritic, ComparativeCritic])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_larger_than_the_action(form, kind):
    """No tensor holds all pairs of positions for a window or a cross."""
    side = 64
    entries = int(np.prod(spec_of(form, side, side).action_shape))
    features = side**2 * max(HEADS * UNITS, GRID**2)  # For each position.
    assert largest_of(form, kind, side) <= max(entries, features)
    if form in ("SASA", "CCNet", "CCNet with heads"):
        assert max(entries, features) < side**4 / 15
    if form == "non-local":
        assert largest_of(form, kind, side) == side**4
