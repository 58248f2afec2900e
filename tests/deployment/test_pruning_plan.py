"""Which modules of known networks go, and the networks that are left."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import log_softmax, randomized

from dreal_tf.analysis.audited_network import audited, calibration_images
from dreal_tf.data.arrays import from_arrays
from dreal_tf.deployment.prune import validation_as_test
from dreal_tf.deployment.pruning_plan import plan_pruning
from dreal_tf.deployment.pruning_rule import Rule
from dreal_tf.errors import InputError
from dreal_tf.layers import CBAM, NonLocal, SqueezeExcite, StandAloneAttention, intervene
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import actors_of, residual_network

SHAPE, CLASSES = (8, 8, 3), 5


def network_of(attention):
    network = residual_network(SHAPE, CLASSES, depth=8, width=0.5, attention=attention)
    for number, actor in enumerate(actors_of(network)):
        randomized(actor, number, scale=4.0)
    return network


def images_of(seed, count=96):
    """Each of a colour of its own, so that actions differ from image to image."""
    random = np.random.default_rng(seed)
    colours = random.normal(size=(count, 1, 1, SHAPE[-1]))
    return (colours + 0.3 * random.normal(size=(count, *SHAPE))).astype("float32")


def answers(network, images, actions):
    """Log probabilities (n, classes) where the named modules emit these."""

    def decide(actor, index, state, action):
        given = actions.get(actor.modules()[index])
        return action if given is None else 0 * action + given

    with intervene(decide):
        return log_softmax(network(images)["logits"])


def data_for(network, *others):
    """Data whose labels are the answers for which the network beats itself under other actions."""
    pairs = []
    for seed in range(3):
        images = images_of(seed)
        own = answers(network, images, {})
        gains = [own - answers(network, images, actions) for actions in others] or [own]
        pairs.append((images, np.argmax(np.min(gains, axis=0), axis=1).astype("int32")))
    names = [f"class {label}" for label in range(CLASSES)]
    return from_arrays(pairs[0], pairs[1], names, validation=pairs[2], batch_size=32)


def plan_of(network, data, rule):
    """The plan for a network by the validation images of its data."""
    return plan_pruning(network, audited(network, 2000, validation_as_test(data)), rule)


@pytest.fixture(scope="module")
def planned():
    """A network whose second module says the same of every image, its data, and the plan for it."""
    keras.utils.set_random_seed(0)
    network = network_of(SqueezeExcite(2))
    excite = network.get_layer("conv3_1_se").excite
    excite.kernel.assign(0 * excite.kernel)
    static = static_actions(network, images_of(seed=0))
    data = data_for(network, *({m: static[m]} for m in ("conv2_1/se", "conv4_1/se")))
    return network, data, plan_of(network, data, Rule())


def test_a_constant_module_goes_and_what_helps_stays(planned):
    plan = planned[2]
    assert plan.blocks == ("conv3_1",) and plan.images == 96
    assert plan.modules["conv3_1/se"] == {
        "done": "folded",
        "reason": "its static action is in conv3_1_2_bn now",
        **dict.fromkeys(("value", "low", "high"), 0.0),
    }
    for module in ("conv2_1/se", "conv4_1/se"):
        decision = plan.modules[module]
        assert decision["done"] == "kept" and decision["low"] > 0
        assert decision["reason"] == "known to be worth more than 0 nats"
    assert abs(plan.cost["value"]) < 1e-6  # Folding changes nothing but rounding.
    assert [actor.name for actor in actors_of(plan.network)] == ["conv2_1_se", "conv4_1_se"]


def test_validation_images_judge_and_no_others_whatever_form_their_labels_have(planned):
    network, data, plan = planned
    wrong = data.test.map(lambda images, labels: (images, (labels + 1) % CLASSES))
    rows = data.validation.map(lambda images, labels: (images, tf.one_hot(labels, CLASSES)))
    other = data._replace(test=wrong, validation=rows, soft_labels=True)
    assert plan_of(network, other, Rule()).modules == plan.modules


def test_the_network_left_is_the_one_with_static_actions(planned):
    network, data, _ = planned
    plan = plan_of(network, data, Rule(keep=1))
    static = static_actions(network, calibration_images(data))
    gone = [module for module, decision in plan.modules.items() if decision["done"] == "folded"]
    images = images_of(seed=9, count=16)
    expected = answers(network, images, {module: static[module] for module in gone})
    log_p = log_softmax(plan.network(images)["logits"])
    np.testing.assert_allclose(log_p, expected, atol=1e-5)
    assert len(gone) == 2 and plan.cost["low"] > 0


def test_of_two_gates_in_a_layer_the_one_over_places_is_judged_by_its_mean():
    network = network_of(CBAM(2, kernel_size=3))
    data = data_for(network, static_actions(network, images_of(seed=0)))
    plan = plan_of(network, data, Rule(1e6))
    assert plan.blocks == ("conv2_1", "conv3_1", "conv4_1")
    reasons = {decision["reason"] for decision in plan.modules.values()}
    assert "its static action, averaged over positions, is in conv2_1_2_bn now" in reasons
    assert plan.cost["value"] > 0 and not actors_of(plan.network)


def test_a_module_that_is_worth_nothing_but_is_needed_stays():
    """Its attention is the same for every image, yet without it the network would be another."""
    network = network_of(NonLocal())
    for actor in actors_of(network):
        for embedding in (actor.theta, actor.phi):
            for weight in embedding.weights:
                weight.assign(0 * weight)
    data = data_for(network, *({module: 0.0} for module in network.output["actions"]))
    plan = plan_of(network, data, Rule())
    assert not plan.blocks and plan.network is None and plan.cost is None
    for decision in plan.modules.values():
        assert decision["value"] == 0 and decision["done"] == "kept"
        assert decision["reason"].startswith(
            "earns nothing, but its state unchanged in its stead costs "
        )
    plan = plan_of(network, data, Rule(keep=0))
    assert len(plan.blocks) == 2 and plan.modules["conv3_1/non_local"]["done"] == "removed"


def test_what_nothing_can_replace_stays_whatever_the_rule():
    network = network_of(StandAloneAttention())
    plan = plan_of(network, data_for(network), Rule(keep=0))
    assert not plan.blocks
    for decision in plan.modules.values():
        assert decision["done"] == "kept" and decision["reason"].startswith("nothing can replace it")


def test_a_network_without_attention_and_too_many_to_keep_are_refused(planned):
    network, data, _ = planned
    with pytest.raises(InputError, match="Expected a network with attention"):
        plan_of(residual_network(SHAPE, CLASSES, depth=8), data, Rule())
    with pytest.raises(
        InputError, match="Expected at most 3 modules to keep.* Received: keep=4. Lower"
    ):
        plan_of(network, data, Rule(keep=4))
