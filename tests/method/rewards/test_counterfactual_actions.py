"""Each form of counterfactual action, as applied inside a network, against NumPy."""

import numpy as np
import pytest
from naive_counterfactuals import NaiveCounterfactuals
from support import ACTORS, SqueezeExcite, all_modules_of, small_data, targets_of, with_estimator

from dreal_tf.layers import intervene
from dreal_tf.layers.attention_actor import MARGIN
from dreal_tf.method.rewards import check_exploration

IMAGES, _ = small_data(12)
DONORS = np.int32([5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6])
AXES = {"channel": 3, "spatial": (1, 2), "pairwise": -1}


def logit(action):
    return np.log(action) - np.log1p(-action)


def applied_in(network, trajectory, assigned, **options):
    """The factual actions, and those applied with counterfactuals in place; lists of float64 arrays."""
    factual = network(IMAGES)["actions"]
    counterfactuals = NaiveCounterfactuals(
        trajectory.modules, np.int32(assigned), actions=factual, donors=DONORS, **options
    )
    with intervene(counterfactuals):
        applied = network(IMAGES)["actions"]
    for module in trajectory.modules:  # The network used what is listed as applied.
        np.testing.assert_array_equal(counterfactuals.applied[module], applied[module])
    return [[np.float64(a[m]) for m in trajectory.modules] for a in (factual, applied)]


@pytest.mark.parametrize("form", ACTORS)
def test_each_counterfactual_is_what_it_says_in_the_assigned_module_alone(form):
    network, trajectory, _ = with_estimator(ACTORS[form])
    modules, random = len(trajectory.specs), np.random.default_rng(0)
    assigned = random.permutation(np.arange(12) % (modules + 1) - 1)
    kinds = np.int32(random.permutation(np.arange(12) % 2))
    exploration = ("reference", "permuted")
    factual, applied = applied_in(network, trajectory, assigned, exploration=exploration, kinds=kinds)
    for image in range(12):
        for module, spec in enumerate(trajectory.specs):
            own, got = factual[module][image], applied[module][image]
            if assigned[image] == -1 or module < assigned[image]:
                np.testing.assert_allclose(got, own, atol=1e-6)  # Not touched, and before.
            elif module == assigned[image] and exploration[kinds[image]] == "permuted":
                np.testing.assert_array_equal(got, factual[module][DONORS[image]])
                assert np.abs(got - own).max() > 1e-5
            elif module == assigned[image]:
                mean = factual[module][image : image + 1].mean(axis=AXES[spec.kind], keepdims=True)
                np.testing.assert_allclose(got, np.broadcast_to(mean[0], got.shape), atol=1e-6)


@pytest.mark.parametrize("std", [0.3, 1.5])
@pytest.mark.parametrize("form", ACTORS)
def test_noise_has_its_deviation_on_the_logits(form, std):
    """A gate moves by the noise itself; a row that sums to 1 by the noise less a number of its own."""
    network, trajectory, _ = with_estimator(ACTORS[form])
    for module, spec in enumerate(trajectory.specs):
        options = dict(exploration=("noise",), noise=std, seed=(3, 4))
        factual, applied = applied_in(network, trajectory, [module] * 12, **options)
        own, got = factual[module], applied[module]
        if spec.kind == "pairwise":
            np.testing.assert_allclose(got.sum(axis=-1), 1, atol=1e-5)
            change = np.log(got) - np.log(np.maximum(own, MARGIN))
            noise = (change - change.mean(axis=-1, keepdims=True)) / std
            free = noise.size - noise.size // noise.shape[-1]
        else:
            assert got.min() > 0 and got.max() < 1
            noise = (logit(got) - logit(own)) / std
            free = noise.size
            assert abs(noise.mean() * np.sqrt(free)) <= 4
        # A sum of `free` squares of standard normals has this mean, and the variance 2 · free.
        assert abs((np.sum(noise**2) - free) / np.sqrt(2 * free)) <= 4
        assert abs(noise.ravel()[0] - noise.ravel()[1]) > 1e-4  # Each entry its own.


def test_noise_follows_the_seed_and_differs_from_module_to_module():
    network, trajectory, _ = with_estimator(SqueezeExcite(2))

    def noise(module, seed):
        options = dict(exploration=("noise",), seed=seed)
        factual, applied = applied_in(network, trajectory, [module] * 12, **options)
        return logit(applied[module]) - logit(factual[module])

    np.testing.assert_allclose(noise(0, (1, 2)), noise(0, (1, 2)), atol=1e-5)
    assert np.abs(noise(0, (1, 2)) - noise(0, (1, 3))).max() > 0.1
    assert np.abs(noise(0, (1, 2)) - noise(1, (1, 2))).max() > 0.1


def test_what_is_named_twice_is_applied_twice_as_often():
    _, trajectory, reward_estimator = with_estimator(exploration=("reference", "permuted", "permuted"))
    assert reward_estimator.exploration == ("reference", "permuted", "permuted")
    network = with_estimator()[0]
    kinds = np.int32(np.arange(12) % 3)
    factual, applied = applied_in(
        network, trajectory, [0] * 12, exploration=reward_estimator.exploration, kinds=kinds
    )
    lent = (applied[0] == factual[0][DONORS]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(lent, kinds > 0)


def test_a_counterfactual_equal_to_the_action_is_marked():
    network, trajectory, _ = with_estimator()
    actions, donors = network(IMAGES)["actions"], np.arange(12, dtype="int32")
    donors[:6] = DONORS[:6]
    own = NaiveCounterfactuals(
        trajectory.modules, [0] * 12, "mean", actions, ("permuted",), None, donors
    )
    with intervene(own):
        network(IMAGES)
    np.testing.assert_array_equal(own.unchanged, np.arange(12) >= 6)


@pytest.mark.parametrize(
    ("exploration", "message"),
    [
        ("noise", "Expected kinds of counterfactual action.*'noise'. Give a list such as"),
        ((), r"Received: exploration=\(\)"),
        (("reference", "noize"), "Expected a kind of counterfactual action.*Did you mean 'noise'"),
    ],
)
def test_what_is_no_list_of_counterfactuals_is_refused(exploration, message):
    with pytest.raises(ValueError, match=message):
        check_exploration(exploration)
    with pytest.raises(ValueError, match=message):
        NaiveCounterfactuals(["conv2_1/se"], [0], exploration=exploration)


def test_a_meter_measures_only_the_reference_action_when_asked_to():
    images, labels = small_data(6)
    network, _, reward_estimator = with_estimator(exploration=("noise", "permuted"))
    outputs = network(images)
    measured = reward_estimator.estimate_all(
        images, targets_of(labels), outputs, all_modules_of(6), exploration=("reference",)
    )
    np.testing.assert_array_equal(measured.ablated, np.ones(18))
