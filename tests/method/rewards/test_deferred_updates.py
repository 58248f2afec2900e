import keras
import numpy as np
import pytest
from support import TwoModules, small_data, small_network

from dreal_tf.method.rewards import DeferredUpdates, normalizers_of
from dreal_tf.networks.backbones import plain_network


def network_with_state():
    """BatchNorm inside and outside an actor, and dropout: every kind of state a network may hold."""
    return plain_network(small_network(TwoModules(), dropout=0.5))


def values(network):
    return [v.numpy() for v in network.variables]


def test_a_held_pass_moves_nothing_and_written_back_moves_what_keras_moves():
    images, _ = small_data()
    network = network_with_state()
    before = values(network)
    expected_output = np.array(network(images, training=True))
    expected = values(network)
    for variable, value in zip(network.variables, before, strict=True):
        variable.assign(value)

    with DeferredUpdates(network) as held:
        output = network(images, training=True)
    np.testing.assert_array_equal(output, expected_output)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)

    held.commit()
    for variable, value in zip(network.variables, expected, strict=True):
        np.testing.assert_array_equal(variable, value)
    changed = [v.path for v, old in zip(network.variables, before, strict=True) if np.any(v != old)]
    assert len(changed) == 2 * len(normalizers_of(network)) + 1  # And the dropout's seed.


def test_the_statistics_are_those_of_the_batch():
    images, _ = small_data()
    network = plain_network(small_network())
    with DeferredUpdates(network) as held:
        network(images, training=True)
    statistics = {variable.path: np.array(value) for variable, value in held.batch_statistics()}
    before_norm = keras.Model(network.input, network.get_layer("conv2_1").output)
    maps = np.float64(before_norm(images))
    norm = network.get_layer("conv2_1_bn")
    np.testing.assert_allclose(
        statistics[norm.moving_mean.path], maps.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        statistics[norm.moving_variance.path], maps.var(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("momentum", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 1e3])
def test_a_second_pass_under_the_statistics_repeats_the_first(momentum, scale):
    """Tiny and huge variances included, after the averages have moved far from the batch's."""
    random = np.random.default_rng(0)
    images = keras.Input((4, 4, 3))
    norm = keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-12)
    network = keras.Model(images, norm(images))
    norm.moving_mean.assign(random.normal(size=3) * 100)
    norm.moving_variance.assign(random.uniform(size=3) * 100)
    batch = (random.normal(size=(16, 4, 4, 3)) * scale).astype("float32")
    with DeferredUpdates(network) as held:
        first = network(batch, training=True)
    with keras.StatelessScope(held.batch_statistics()):
        second = network(batch, training=False)
    np.testing.assert_allclose(second, first, atol=2e-5)


def test_a_frozen_batchnorm_keeps_its_averages():
    images, _ = small_data()
    network = plain_network(small_network())
    norm = network.get_layer("conv2_1_bn")
    norm.trainable = False
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    expected = np.array(network(images, training=True))
    with DeferredUpdates(network) as held:
        output = network(images, training=True)
    np.testing.assert_array_equal(output, expected)
    assert norm.moving_mean.path not in {v.path for v, _ in held.batch_statistics()}
    held.commit()
    np.testing.assert_array_equal(norm.moving_mean, [1.0, 2.0, 3.0, 4.0])


def test_one_batchnorm_in_two_places_is_refused():
    images = keras.Input((4, 4, 3))
    norm = keras.layers.BatchNormalization(name="shared")
    network = keras.Model(images, norm(norm(images)))
    with pytest.raises(ValueError, match="run once in a pass.*shared.*of its own"):
        with DeferredUpdates(network):
            network(np.ones((2, 4, 4, 3), "float32"), training=True)


class Fixed(keras.layers.Layer):
    """Normalises by its averages even in training, though it says it is trainable."""

    def build(self, shape):
        self.norm = keras.layers.BatchNormalization(name="fixed")
        self.norm.build(shape)

    def call(self, inputs):
        return self.norm(inputs, training=False)


def test_a_batchnorm_that_ignores_the_batch_is_refused():
    images = keras.Input((4, 4, 3))
    network = keras.Model(images, Fixed()(images))
    with DeferredUpdates(network) as held:
        network(np.ones((2, 4, 4, 3), "float32"), training=True)
    with pytest.raises(ValueError, match="normalise by its batch.*fixed.*trainable=False"):
        held.batch_statistics()


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"renorm": True}])
def test_what_cannot_share_its_statistics_is_refused(options):
    if "renorm" in options and not hasattr(keras.layers.BatchNormalization(), "renorm"):
        pytest.skip(f"Keras {keras.__version__} has no batch renormalization")
    images = keras.Input((4, 4, 3))
    network = keras.Model(images, keras.layers.BatchNormalization(name="odd", **options)(images))
    with pytest.raises(ValueError, match="momentum below 1 and without renormalization.*'odd'"):
        normalizers_of(network)


def test_losses_added_in_a_held_pass_are_collected():
    images = keras.Input((2,))
    network = keras.Model(images, keras.layers.ActivityRegularization(l2=0.5)(images))
    given = np.float32([[1, 2], [3, 4]])
    with DeferredUpdates(network) as held:
        network(given, training=True)
    network(given, training=True)
    (plain,) = network.losses  # Later versions of Keras divide it by the size of the batch.
    assert float(plain) in (0.5 * 30, 0.5 * 30 / 2)
    assert [float(loss) for loss in held.losses] == [float(plain)]


def test_batchnorms_with_different_momenta_each_get_their_own_statistics():
    """Two BatchNorms in a row with momenta 0.9 and 0.4, against NumPy."""
    random = np.random.default_rng(0)
    images = keras.Input((4, 4, 3))
    first, second = (keras.layers.BatchNormalization(momentum=m) for m in (0.9, 0.4))
    network = keras.Model(images, second(keras.layers.ReLU()(first(images))))
    gamma, beta = random.uniform(0.5, 2.0, size=(2, 3))
    first.gamma.assign(gamma)
    first.beta.assign(beta)
    batch = random.normal(1.0, 2.0, size=(8, 4, 4, 3)).astype("float32")
    with DeferredUpdates(network) as held:
        network(batch, training=True)
    statistics = {variable.path: np.array(value) for variable, value in held.batch_statistics()}
    held.commit()

    maps, axes = np.float64(batch), (0, 1, 2)
    for norm, momentum in ((first, 0.9), (second, 0.4)):
        mean, variance = maps.mean(axis=axes), maps.var(axis=axes)
        for moving, start, expected in (
            (norm.moving_mean, 0.0, mean),
            (norm.moving_variance, 1.0, variance),
        ):
            np.testing.assert_allclose(statistics[moving.path], expected, rtol=1e-4, atol=1e-6)
            moved = momentum * start + (1 - momentum) * expected
            np.testing.assert_allclose(moving, moved, rtol=1e-4, atol=1e-6)
        maps = np.maximum((maps - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta, 0)
