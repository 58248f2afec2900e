"""Adam in one operation a variable: Keras's own numbers and state, wherever it runs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import logits_loss, small_data, small_network

from dreal_tf import DREAL
from dreal_tf.model import FusedAdam

SHAPES = ((3, 4), (5,), ())


def variables_of(dtype="float32"):
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=shape), dtype=dtype) for shape in SHAPES]


def gradients_of(steps, dtype="float32"):
    random = np.random.default_rng(1)
    # Some are tiny, where epsilon decides.
    scales = 10.0 ** random.uniform(-9, 1, size=steps)
    return [
        [tf.constant(scale * random.normal(size=shape), dtype) for shape in SHAPES] for scale in scales
    ]


def moved(optimizer, steps=20, dtype="float32"):
    """The variables after some steps."""
    variables = variables_of(dtype)
    optimizer.build(variables)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    for gradients in gradients_of(steps, dtype):
        apply(gradients)
    return [np.float64(variable.numpy()) for variable in variables]


OPTIONS = {
    "plain": {},
    "own numbers": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "schedule": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)},
    "clipping and decay": {"global_clipnorm": 0.5, "weight_decay": 0.1},
    "accumulation": {"gradient_accumulation_steps": 3},
    "averages": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 4},
    "amsgrad": {"amsgrad": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_moves_variables_as_kerass_adam_does(options):
    options = {"learning_rate": 0.1} | options
    theirs = moved(keras.optimizers.Adam(**options))
    for own, other in zip(moved(FusedAdam(**options)), theirs, strict=True):
        np.testing.assert_allclose(own, other, atol=2e-5)  # 20 steps of 0.1.


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_variables_of_other_precisions_are_left_to_keras(dtype):
    theirs = moved(keras.optimizers.Adam(0.1), dtype=dtype)
    for own, other in zip(moved(FusedAdam(0.1), dtype=dtype), theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5)


def test_the_first_step_is_the_rate_along_each_sign():
    """m / sqrt(v) is the gradient over its own size after one step, corrected for the start."""
    variable, optimizer = keras.Variable([1.0, 1.0, 1.0]), FusedAdam(0.25)
    optimizer.apply([tf.constant([0.5, -3.0, 0.0])], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.75, 1.25, 1.0], atol=1e-5)


def test_sparse_gradients_move_their_rows_alone_as_in_keras():
    rows = tf.IndexedSlices(tf.constant([[1.0, 2.0]]), tf.constant([1]), tf.constant([3, 2]))
    found = []
    for optimizer in (FusedAdam(0.1), keras.optimizers.Adam(0.1)):
        variable = keras.Variable(np.ones((3, 2), "float32"))
        optimizer.build([variable])
        try:
            optimizer.apply([rows], [variable])
        except (TypeError, ValueError) as error:  # What Keras cannot do, this refuses alike.
            found.append(type(error))
        else:
            found.append(variable.numpy().tolist())
    assert found[0] == found[1]


def replicated(strategy, optimizer, variables):
    """A step in which the first replica has a third of the gradients, and the second two thirds."""

    def apply(gradients):
        share = tf.distribute.get_replica_context().replica_id_in_sync_group + 1
        optimizer.apply([tf.cast(share, tf.float32) * g / 3.0 for g in gradients], variables)

    return tf.function(lambda gradients: strategy.run(apply, (gradients,)))


def test_replicas_move_alike_by_the_sum_of_their_gradients(two_replicas):
    found = []
    for make in (FusedAdam, keras.optimizers.Adam):
        with two_replicas.scope():
            variables, optimizer = variables_of(), make(0.1)
            optimizer.build(variables)

        step = replicated(two_replicas, optimizer, variables)
        for gradients in gradients_of(5):
            step(gradients)
        copies = [two_replicas.experimental_local_results(v.value) for v in variables]
        for first, second in copies:
            np.testing.assert_array_equal(first.numpy(), second.numpy())
        found.append([first.numpy() for first, _ in copies])
    alone = variables_of()
    optimizer = FusedAdam(0.1)
    for gradients in gradients_of(5):
        optimizer.apply(gradients, alone)
    for fused, own, one in zip(*found, alone, strict=True):
        np.testing.assert_allclose(fused, own, atol=2e-5)
        np.testing.assert_allclose(fused, one.numpy(), atol=2e-5)


def test_it_goes_on_with_what_kerass_adam_has_saved():
    whole, steps = moved(keras.optimizers.Adam(0.1), steps=8), gradients_of(8)
    variables, first = variables_of(), keras.optimizers.Adam(0.1)
    for gradients in steps[:4]:
        first.apply(gradients, variables)
    kept = {}
    first.save_own_variables(kept)
    second = FusedAdam(0.1)
    second.build(variables)
    second.load_own_variables(kept)
    names = [[v.path.partition("/")[2] for v in one.variables] for one in (first, second)]
    assert names[0] == names[1]
    for gradients in steps[4:]:
        second.apply(gradients, variables)
    for variable, other in zip(variables, whole, strict=True):
        np.testing.assert_allclose(variable.numpy(), other, atol=2e-5)


def test_it_is_saved_and_made_again():
    config = keras.saving.serialize_keras_object(FusedAdam(0.3, beta_1=0.7))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, FusedAdam)
    assert (float(again.learning_rate), again.beta_1) == (pytest.approx(0.3), 0.7)


def operations_for(count):
    """Operations of a step of this many variables."""
    variables, optimizer = [keras.Variable(np.ones(3, "float32")) for _ in range(count)], FusedAdam(0.1)
    optimizer.build(variables)
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    graph = step.get_concrete_function([tf.zeros(3)] * count).graph
    return sum(operation.type != "Placeholder" for operation in graph.get_operations())


def test_a_variable_more_takes_two_operations_more():
    assert operations_for(12) - operations_for(2) == 2 * 10


def test_a_critic_that_is_moved_by_it_learns_what_it_learnt():
    weights = []
    for optimizer in ("adam", keras.optimizers.Adam()):
        keras.utils.set_random_seed(1)
        model = DREAL(small_network(), actor_weight=0.5)
        model.compile(keras.optimizers.SGD(0.1), critic_optimizer=optimizer, loss=logits_loss())
        images, labels = small_data(8)
        for _ in range(4):
            model.train_on_batch(images, labels)
        assert optimizer != "adam" or isinstance(model.critic_optimizer, FusedAdam)
        weights.append([v.numpy() for v in model.critic.variables + model.network.variables])
    for fused, own in zip(*weights, strict=True):
        np.testing.assert_allclose(fused, own, atol=1e-5)
