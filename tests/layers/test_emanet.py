import keras
import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, named, weights_of

from dreal_tf.layers.emanet import ExpectationMaximization
from dreal_tf.method.rewards import DeferredUpdates

CHANNELS, BASES = 4, 5
SHAPES = [(2, 5, 7, CHANNELS), (1, 3, 4, CHANNELS), (1, 1, 1, CHANNELS), (2, 3, 1, CHANNELS)]
MEASURED = ("norm/moving_mean", "norm/moving_variance")


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def filled(layer, seed=1):
    """Every weight at random, the BatchNorm's too, and bases whose length is not 1."""
    random = np.random.default_rng(seed)
    for weight in layer.weights:
        away_from_zero = "variance" in weight.name or "gamma" in weight.name
        draw = (
            random.uniform(0.5, 2, weight.shape) if away_from_zero else random.normal(size=weight.shape)
        )
        weight.assign(draw)
    return layer


def made(shape=(None, None, None, CHANNELS), **settings):
    layer = ExpectationMaximization(BASES, **settings)
    layer.build(shape)
    return filled(layer)


def rows_by_hand(state, weights):
    rows = np.float64(state).reshape(len(state), -1, CHANNELS)
    return rows @ weights["project/kernel"] + weights["project/bias"]


def e_step(positions, bases):
    answers = np.zeros((len(positions), bases.shape[1]))
    for position, features in enumerate(positions):
        similar = np.array([features @ bases[:, base] for base in range(bases.shape[1])])
        powers = np.exp(similar - similar.max())
        answers[position] = powers / powers.sum()
    return answers


def m_step(positions, answers):
    bases = []
    for base in range(answers.shape[1]):
        weights = answers[:, base] / (1e-6 + answers[:, base].sum())
        mean = sum(weights[position] * positions[position] for position in range(len(positions)))
        bases.append(mean / (1e-6 + np.sqrt((mean**2).sum())))
    return np.array(bases).T


def em_by_hand(state, weights, iterations=3):
    """For each image: the bases that the last E-step reads, its responsibilities, the last bases."""
    before, actions, after = [], [], []
    for positions in rows_by_hand(state, weights):
        bases = weights["shared_bases"]
        for _ in range(iterations):
            previous, answers = bases, e_step(positions, bases)
            bases = m_step(positions, answers)
        before.append(previous)
        actions.append(answers)
        after.append(bases)
    return np.array(before), np.array(actions), np.array(after)


def map_by_hand(state, weights, action, bases, training=False):
    mixed = np.array([z @ mu.T for z, mu in zip(action, bases, strict=True)]).reshape(state.shape)
    branch = np.maximum(mixed, 0) @ weights["restore/kernel"]
    mean, variance = (weights[name] for name in MEASURED)
    if training:
        mean, variance = branch.mean(axis=(0, 1, 2)), branch.var(axis=(0, 1, 2))
    normal = (branch - mean) / np.sqrt(variance + 1e-5)
    return state + normal * weights["norm/gamma"] + weights["norm/beta"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("training", [False, True])
def test_action_and_map_follow_the_paper(shape, iterations, training):
    layer, state = made(iterations=iterations), normal(shape)
    weights = weights_of(layer)
    refined, action = layer(state, return_action=True, training=training)
    _, expected_action, bases = em_by_hand(state, weights, iterations)
    expected = map_by_hand(state, weights, expected_action, bases, training)
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-5)


def test_a_replaced_action_rebuilds_the_map_from_the_layers_own_bases():
    layer, state = made(), normal(SHAPES[0])
    weights = weights_of(layer)
    _, own, bases = em_by_hand(state, weights)
    other = np.random.default_rng(2).dirichlet(np.ones(BASES), size=own.shape[:2])
    refined = layer(state, action=other, training=True)
    expected = map_by_hand(state, weights, other, bases, training=True)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-5)
    moved = 0.9 * weights["shared_bases"] + 0.1 * bases.mean(axis=0)
    np.testing.assert_allclose(layer.shared_bases, moved, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_zeros_pass_an_image_through_to_the_bit(training):
    layer, state = made(), normal(SHAPES[0])
    action = np.array(layer(state, propose_only=0))
    action[0] = 0
    refined = np.array(layer(state, action=action, training=training))
    np.testing.assert_array_equal(refined[0], state[0])
    assert np.abs(refined[1] - state[1]).max() > 0.1


@pytest.mark.parametrize("training", [False, True])
def test_gradients_pass_the_last_e_step_and_nothing_before_it(training):
    """Against the formula with the bases held: those of the last E-step and those of the map."""
    layer, state = made(), normal((2, 3, 3, CHANNELS))
    weights = weights_of(layer)
    before, _, after = em_by_hand(state, weights)

    def formula(points):
        rows = rows_by_hand(points["state"], points)
        action = np.array([e_step(positions, mu) for positions, mu in zip(rows, before, strict=True)])
        return map_by_hand(points["state"], points, action, after, training)

    check_gradients(layer, formula, state, training=training)
    with tf.GradientTape() as tape:
        tape.watch(layer.shared_bases.value)
        value = tf.reduce_sum(layer(state, training=training) ** 2)
    assert tape.gradient(value, layer.shared_bases.value) is None


def test_a_gradient_of_the_action_reaches_the_first_convolution_alone():
    layer, state = made(), normal(SHAPES[0])
    direction = normal((2, 35, BASES), seed=6)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(direction * layer(state, propose_only=0, training=True))
    gradients = tape.gradient(value, named(layer, layer.trainable_variables))
    for name, gradient in gradients.items():
        if name.startswith("project"):
            assert np.abs(gradient).max() > 0.01, name
        else:
            assert gradient is None, name


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_training_step_moves_the_bases_by_the_formula(momentum):
    layer, state = made(momentum=momentum), normal(SHAPES[0])
    before = weights_of(layer)
    layer(state, training=True)
    mean = em_by_hand(state, before)[2].mean(axis=0)
    expected = momentum * before["shared_bases"] + (1 - momentum) * mean
    np.testing.assert_allclose(layer.shared_bases, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - before["shared_bases"]).max() > 0.05


def test_nothing_else_moves_the_bases():
    layer, state = made(), normal(SHAPES[0])
    before = layer.shared_bases.numpy()
    layer(state)
    layer(state, training=False)
    layer(state, propose_only=0, training=True)
    with keras.StatelessScope() as scope:  # As `Trajectory.propose_again` does.
        layer(state, propose_only=0, training=True)
    assert scope.get_current_value(layer.shared_bases) is None
    layer.trainable = False
    layer(state, training=True)
    np.testing.assert_array_equal(layer.shared_bases, before)


def test_held_updates_hold_the_bases_until_they_are_written_back():
    inputs = keras.Input((None, None, CHANNELS))
    layer = ExpectationMaximization(BASES)
    network = keras.Model(inputs, layer(inputs))
    filled(layer)
    state, before = normal(SHAPES[0]), weights_of(layer)
    with DeferredUpdates(network) as held:
        network(state, training=True)
    np.testing.assert_array_equal(np.float64(layer.shared_bases), before["shared_bases"])
    held.commit()
    expected = 0.9 * before["shared_bases"] + 0.1 * em_by_hand(state, before)[2].mean(axis=0)
    np.testing.assert_allclose(layer.shared_bases, expected, rtol=1e-5, atol=1e-6)


def test_replicas_move_their_bases_by_all_images(two_replicas):
    """One image here, three there: a mean of the replicas' means would weigh them wrongly."""
    state = normal((4, 3, 4, CHANNELS))
    alone = made(state.shape)
    with two_replicas.scope():
        layer = made(state.shape)
    shards = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant((state[:1], state[1:])[context.replica_id_in_sync_group])
    )

    @tf.function
    def step(shards):
        return two_replicas.run(lambda shard: layer(shard, training=True), (shards,))

    before = weights_of(alone)
    for _ in range(2):
        step(shards)
        alone(state, training=True)
    first, second = two_replicas.experimental_local_results(layer.shared_bases.value)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, alone.shared_bases, rtol=1e-5, atol=1e-6)
    assert np.abs(first.numpy() - before["shared_bases"]).max() > 0.05


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_em_runs_in_float32_under_mixed_precision(policy):
    """The first convolution passes a state on that has no digits to round off; the rest is EM."""
    state = np.round(4 * normal(SHAPES[0])) / 4
    layer = made(dtype=policy)
    layer.project.kernel.assign(np.eye(CHANNELS)[None, None])
    layer.project.bias.assign(np.zeros(CHANNELS))
    before = weights_of(layer)
    refined, action = layer(state, return_action=True, training=True)
    _, expected, bases = em_by_hand(state, before)
    moved = 0.9 * before["shared_bases"] + 0.1 * bases.mean(axis=0)
    np.testing.assert_allclose(layer.shared_bases, moved, rtol=1e-5, atol=1e-6)
    digits = 2**-8 if policy == "mixed_bfloat16" else 2**-11  # One rounding of the result.
    np.testing.assert_allclose(np.float64(action), expected, rtol=1.01 * digits, atol=1e-6)
    assert refined.dtype == action.dtype == layer.compute_dtype
    assert {w.dtype for w in layer.weights} == {"float32"}


def test_initial_bases_have_length_one_and_kernels_differ():
    layer = ExpectationMaximization(BASES)
    layer.build((None, 4, 4, 32))
    bases = layer.shared_bases.numpy()
    np.testing.assert_allclose(np.square(bases).sum(axis=0), 1, rtol=1e-4)
    assert np.abs(bases[:, 1:] - bases[:, :1]).max(axis=0).min() > 0.1
    assert np.abs(layer.project.kernel.numpy() - layer.restore.kernel.numpy()).max() > 0.1


def test_parameters():
    layer = made()
    trained = 2 * CHANNELS**2 + CHANNELS + 2 * CHANNELS
    assert sum(w.numpy().size for w in layer.trainable_variables) == trained
    assert layer.count_params() == trained + 2 * CHANNELS + CHANNELS * BASES
