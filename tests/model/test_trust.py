"""Trust against NumPy, and what it makes of critics that know nothing or everything."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.model.gradients import Trust


def in_numpy(batches, steps, memory, pairs=2000.0):
    """Covariance of the signs of all pairs, the older the lighter, less five standard errors, at
    least 0; as the correlation of normal variables whose signs have that covariance."""
    weights = [[] for _ in range(steps)]
    signs = [[] for _ in range(steps)]
    last = np.zeros(steps)
    for predicted, measured, which, mask in batches:
        for step in range(steps):
            kept = max(memory, np.exp(-last[step] / pairs))
            weights[step] = [kept * weight for weight in weights[step]]
        last = np.bincount(which, mask, steps)
        for p, m, step, counts in zip(predicted, measured, which, mask, strict=True):
            if counts:
                weights[step].append(1.0)
                signs[step].append((np.sign(p), np.sign(m)))
    trusted = []
    for weight, sign in zip(weights, signs, strict=True):
        covariance = np.cov(np.transpose(sign), aweights=weight, ddof=0)[0, 1]
        trusted.append(np.sin(np.pi / 2 * max(covariance - 5 / np.sqrt(max(sum(weight), 1)), 0)))
    return np.array(trusted)


def batches_of(random, number, pairs, steps, knowledge):
    """What is measured is what was predicted, and noise; `knowledge` has one number per step."""
    for _ in range(number):
        predicted = random.normal(size=pairs)
        which = random.integers(0, steps, size=pairs).astype("int32")
        measured = np.asarray(knowledge)[which] * predicted + random.standard_t(3, size=pairs)
        mask = (random.uniform(size=pairs) < 0.8).astype("float32")
        yield predicted.astype("float32"), measured.astype("float32"), which, mask


@pytest.mark.parametrize("memory", [0.5, 0.98])
def test_trust_is_the_agreement_of_signs_less_five_standard_errors(memory):
    random, trust = np.random.default_rng(0), Trust(modules=4, memory=memory)
    batches = list(batches_of(random, 12, 200, 4, knowledge=[0, 2, 6, -1]))
    for number, batch in enumerate(batches, start=1):
        expected = in_numpy(batches[:number], 4, memory)
        np.testing.assert_allclose(trust(*batch), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(trust.weights_now(), trust.weights_now())
    assert expected[3] == 0 and 0.1 < expected[1] < expected[2] < 1


@pytest.mark.parametrize("pairs", [400.0, 2000.0])
def test_few_pairs_a_step_add_up_until_they_say_something(pairs):
    """A pair in every other step: by steps alone no more than 25 would be remembered, and 25 pairs
    have five standard errors of 1."""
    trust, random = Trust(modules=2, pairs=pairs), np.random.default_rng(0)
    update, steps = tf.function(trust), np.zeros(1, "int32")
    batches = []
    for number in range(1500):
        measured = random.normal(size=1).astype("float32")
        batches.append((measured, measured, steps, np.float32([number % 2])))
        weights = update(*batches[-1]).numpy()
    remembered = pairs * (1 - np.exp(-750 / pairs))
    assert float(trust.sums[0, 0]) == pytest.approx(remembered, rel=0.01)
    np.testing.assert_allclose(weights[0], in_numpy(batches, 1, 0.98, pairs)[0], rtol=1e-4)
    assert weights[0] > 0.9 and weights[1] == 0


def test_nothing_is_trusted_before_anything_was_measured():
    np.testing.assert_array_equal(Trust(modules=3).weights_now(), np.zeros(3))


def test_what_was_measured_long_ago_is_forgotten():
    """A critic that was right for ten batches, and then is wrong."""
    trust, random = Trust(modules=1, memory=0.8), np.random.default_rng(0)
    steps, ones = np.zeros(100, "int32"), np.ones(100, "float32")
    course = []
    for sign in [1] * 10 + [-1] * 10:
        measured = random.normal(size=100).astype("float32")
        course.append(float(trust(sign * measured, measured, steps, ones)[0]))
    assert course[9] > 0.75 and course[10] < course[9] and course[-1] == 0


def test_pairs_of_weight_zero_or_without_a_finite_difference_say_nothing():
    random = np.random.default_rng(0)
    predicted, measured = random.normal(size=(2, 50)).astype("float32")
    steps, mask = np.int32(np.arange(50) % 2), np.float32(np.arange(50) % 5 > 0)
    clean, other = Trust(modules=2), Trust(modules=2)
    clean(predicted, measured, steps, mask)
    spoilt = np.where(mask, measured, np.float32(1e30))
    more = np.float32([np.nan, np.inf, 1.0]), np.float32([1.0, 1.0, -np.inf])
    other(
        np.concatenate([predicted, more[0]]),
        np.concatenate([spoilt, more[1]]),
        np.concatenate([steps, np.int32([0, 1, 0])]),
        np.concatenate([mask, np.ones(3, "float32")]),
    )
    np.testing.assert_allclose(other.sums, clean.sums, rtol=1e-6)


@pytest.mark.parametrize(("tails", "prejudice"), [(3, 0), (30, 0), (3, 1), (30, 9)])
def test_a_critic_that_knows_nothing_is_never_heeded(tails, prejudice):
    """Each of 200 steps is a repetition: nothing of what is predicted is in what is measured. Most
    actions are better than their alternatives, and a critic may say so of all."""
    trust, random = Trust(modules=200), np.random.default_rng(1)
    steps = np.repeat(np.arange(200, dtype="int32"), 16)
    update, ones = tf.function(trust), np.ones(len(steps), "float32")
    for _ in range(200):
        predicted = random.standard_t(tails, size=len(steps)).astype("float32") + prejudice
        measured = random.standard_t(tails, size=len(steps)).astype("float32") + 1
        assert not np.any(update(predicted, measured, steps, ones))


def test_a_critic_that_knows_everything_is_heeded_in_full():
    """Whatever the size of its predictions, and each step for itself."""
    trust, random = Trust(modules=3), np.random.default_rng(0)
    steps, ones = np.int32(np.arange(300) % 3), np.ones(300, "float32")
    for _ in range(60):
        measured = random.standard_t(3, size=300).astype("float32")
        predicted = measured * np.float32([1, 0.01, -1])[steps]
        weights = trust(predicted, measured, steps, ones).numpy()
    assert weights[0] > 0.92 and weights[1] > 0.92 and weights[2] == 0


def test_one_and_two_replicas_agree(two_replicas):
    """The same pairs, a half for each of two replicas."""
    batches = list(batches_of(np.random.default_rng(2), 5, 200, 3, knowledge=[1, 2, 4]))
    alone = Trust(modules=3)
    with two_replicas.scope():
        shared = Trust(modules=3)

    @tf.function
    def step(first, second):
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return shared(*[tf.where(replica == 0, a, b) for a, b in zip(first, second, strict=True)])

        return two_replicas.run(on_replica)

    for batch in batches:
        expected = alone(*batch)
        halves = [[tf.constant(part[half::2]) for part in batch] for half in (0, 1)]
        for weights in two_replicas.experimental_local_results(step(*halves)):
            np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-5)
    assert np.min(expected) > 0.1
