import keras
import numpy as np
import pytest
from support import ACTORS, Pairwise, SpatialGate, TwoModules

from dreal_tf import residual_network
from dreal_tf.errors import InputError
from dreal_tf.layers import AttentionActor, SqueezeExcite, intervene
from dreal_tf.layers.attention_actor import MARGIN

STATE = np.random.default_rng(0).normal(size=(3, 5, 7, 4)).astype("float32")
SHAPES = {
    "channel": [(3, 1, 1, 4)],
    "spatial": [(3, 5, 7, 1)],
    "two steps": [(3, 1, 1, 4), (3, 5, 7, 1)],
    "pairwise": [(3, 35, 35)],
}
SELECTIVE = {"channel": (3,), "spatial": (1, 2), "pairwise": (2,)}


def copy_of(actor):
    return type(actor).from_config(actor.get_config() | {"name": f"here_{actor.attention}"})


def actions_of(actor):
    _, steps = actor(STATE, return_modules=True)
    return [step.action for step in steps]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1e-30, 3e4])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_reference_of_a_constant_action_is_that_constant_to_the_bit(value, dtype):
    action = keras.ops.full((2, 5, 7, 1), value, dtype=dtype)
    reference = SpatialGate().reference_action(action)
    assert keras.ops.all(reference == action) and reference.dtype == action.dtype


def test_the_identity_of_a_gate_passes_the_state_through():
    actor = SqueezeExcite(2)
    actor.build(STATE.shape)
    ones = actor.reference_action(np.full((3, 1, 1, 4), 0.3, "float32"), "identity")
    np.testing.assert_array_equal(actor(STATE, action=ones), STATE)


def test_an_actor_that_mixes_places_has_no_identity():
    mixer = type("Mixer", (Pairwise,), {"residual": False})(name="mixer")
    with pytest.raises(ValueError, match="mixes positions.*Use 'mean'"):
        mixer.reference_action(np.ones((1, 4, 4)), "identity")


def test_the_identity_of_a_residual_actor_passes_the_state_through():
    actor = Pairwise()
    _, action = actor(STATE, return_action=True)
    nothing = actor.reference_action(action, "identity")
    assert nothing.shape == action.shape
    np.testing.assert_array_equal(actor(STATE, action=nothing), STATE)


@pytest.mark.parametrize("axes", [(), ((),), (("places", "nowhere"),)])
def test_the_axes_of_a_pairwise_action_must_be_named(axes):
    with pytest.raises(TypeError, match="Expected `axes` to name"):
        type("Bad", (AttentionActor,), {"suffixes": ("a",), "kinds": ("pairwise",), "axes": axes})


def test_an_unknown_reference_is_refused_by_name():
    with pytest.raises(ValueError, match="Received: 'meen'. Did you mean 'mean'"):
        SqueezeExcite().reference_action(np.ones((1, 1, 1, 4)), "meen")


def test_an_action_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"Expected an action of shape \(3, 1, 1, 4\).*\(3, 4\)"):
        SqueezeExcite(2)(STATE, action=np.ones((3, 4), "float32"))


def test_more_actions_than_modules_are_refused():
    actor = TwoModules()
    actor(STATE)  # Keras 3.10 cannot build a layer from arguments that are None.
    with pytest.raises(ValueError, match="Expected one action for each of the 2 modules.*Received: 3"):
        actor(STATE, action=(None, None, None))


def test_an_intervention_sees_every_step_and_ends_with_its_context():
    actor, seen = TwoModules(name="conv2_1_two"), []

    def decide(actor, index, state, action):
        seen.append((actor.modules()[index], tuple(action.shape)))
        return 0 * action

    before = actor(STATE)
    with intervene(decide):
        assert np.abs(actor(STATE)).max() == 0.0
    assert seen == [("conv2_1/two_channel", (3, 1, 1, 4)), ("conv2_1/two_spatial", (3, 5, 7, 1))]
    np.testing.assert_array_equal(actor(STATE), before)


def test_a_later_step_responds_to_an_earlier_one():
    actor = TwoModules()
    _, (_, spatial) = actor(STATE, return_action=True)
    channel = np.zeros((3, 1, 1, 4), "float32")
    _, (_, responded) = actor(STATE, action=(channel, None), return_action=True)
    assert np.abs(responded - spatial).max() > 1e-3


def test_proposing_alone_reads_the_state_of_that_step():
    actor = TwoModules()
    _, steps = actor(STATE, return_modules=True)
    for index, step in enumerate(steps):
        np.testing.assert_allclose(actor(step.state, propose_only=index), step.action, rtol=1e-6)


def test_kinds_and_suffixes_must_match():
    with pytest.raises(TypeError, match="one kind of .* for each suffix"):
        type("Bad", (AttentionActor,), {"suffixes": ("a", "b"), "kinds": ("channel",)})


@pytest.mark.parametrize("form", ACTORS)
def test_a_moved_action_stays_in_its_domain(form):
    """sigmoid(logit A + change) for a gate, softmax(log A + change) for a row that sums to 1."""
    actor, random = copy_of(ACTORS[form]), np.random.default_rng(1)
    for index, action in enumerate(actions_of(actor)):
        own = np.float64(action)
        change = random.normal(size=own.shape)
        moved = np.float64(actor.perturb_action(action, change.astype("float32"), index))
        if actor.kinds[index] == "pairwise":
            unscaled = np.maximum(own, MARGIN) * np.exp(change)
            expected = unscaled / unscaled.sum(axis=-1, keepdims=True)
        else:
            odds = own / (1 - own) * np.exp(change)
            expected = odds / (1 + odds)
        np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(moved - own).max() > 1e-2


def test_an_action_at_the_end_of_its_domain_can_be_moved():
    gate = np.float32([0.0, 1.0]).reshape(1, 1, 1, 2)
    moved = SqueezeExcite(2).perturb_action(gate, np.float32([20.0, -20.0]).reshape(1, 1, 1, 2))
    assert np.isfinite(moved).all() and moved[0, 0, 0, 0] > 0.9 and moved[0, 0, 0, 1] < 0.1
    row = Pairwise().perturb_action(np.float32([[[0.0, 1.0]]]), np.float32([[[20.0, 0.0]]]))
    np.testing.assert_allclose(np.sum(row), 1, rtol=1e-6)
    assert row[0, 0, 0] > 0.9


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_moved_action_keeps_its_precision(dtype):
    action = keras.ops.full((1, 1, 1, 4), 0.5, dtype=dtype)
    moved = SqueezeExcite(2).perturb_action(action, keras.ops.zeros((1, 1, 1, 4)))
    assert moved.dtype == action.dtype and keras.ops.all(moved == action)


@pytest.mark.parametrize("missing", ["attention", "suffixes", "kinds"])
def test_a_class_without_its_attributes_is_refused(missing):
    attributes = {"attention": "mine", "suffixes": ("mine",), "kinds": ("channel",)}
    if missing != "attention":
        del attributes["suffixes"], attributes["kinds"]  # One without the other is refused at once.
    attributes.pop(missing, None)
    kind = type("Mine", (AttentionActor,), attributes)
    with pytest.raises(
        InputError, match=f"the class Mine without .*{missing}.* Set them as class attributes"
    ):
        kind()


def test_a_class_in_place_of_a_layer_is_refused():
    with pytest.raises(InputError, match="an object as `attention`.*class SqueezeExcite"):
        residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite)
