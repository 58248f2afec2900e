import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method.critics import MetaCritic, PaperCritic
from dreal_tf.modules import ModuleOutput, ModuleSpec


def spec(module, stage, channels, kind="channel"):
    action = {"channel": (1, 1, channels), "spatial": (4, 4, 1)}[kind]
    return ModuleSpec(module, stage, kind, (4, 4, channels), action)


def step(channels, kind="channel", seed=0):
    random = np.random.default_rng(seed)
    action = {"channel": (3, 1, 1, channels), "spatial": (3, 4, 4, 1)}[kind]
    state = random.normal(size=(3, 4, 4, channels)).astype("float32")
    return ModuleOutput(tf.constant(state), tf.constant(random.uniform(size=action).astype("float32")))


def test_blocks_of_a_stage_share_an_encoder_and_kinds_do_not():
    critic = MetaCritic(units=4)
    critic.build(
        [
            spec("conv2_1/a", "conv2", 6),
            spec("conv2_1/b", "conv2", 6, "spatial"),
            spec("conv2_2/a", "conv2", 6),
            spec("conv3_1/a", "conv3", 8),
        ]
    )
    assert critic.encoder_of == [0, 1, 0, 2] and len(critic.encoders) == 3


@pytest.mark.parametrize("kind", ["channel", "spatial"])
def test_stages_of_equal_width_have_encoders_of_their_own(kind):
    critic = MetaCritic(units=4)
    critic.build([spec("conv2_1/a", "conv2", 6, kind), spec("conv3_1/a", "conv3", 6, kind)])
    assert critic.encoder_of == [0, 1]
    kernels = [encoder.kernel for encoder in critic.encoders]
    with tf.GradientTape(persistent=True) as tape:
        first, second = tf.unstack(critic([step(6, kind, seed) for seed in (0, 1)]), axis=1)
    own, later = tape.gradient(first, kernels, unconnected_gradients="zero")
    assert np.any(own) and not np.any(later)
    # The memory carries the first stage on to the second.
    assert all(np.any(gradient) for gradient in tape.gradient(second, kernels))


def test_pairwise_steps_share_an_encoder_only_where_their_axes_are_the_same():
    """The two of A² and the two of DANet stand in one stage and have summaries of one width."""
    axes = [
        ("members", "places"),
        ("places", "members"),
        ("places", "places"),
        ("members", "members"),
        ("members", "places"),
    ]
    critic = MetaCritic(units=4)
    critic.build(
        [
            ModuleSpec(f"conv2_{block}/a", "conv2", "pairwise", (4, 4, 6), (16, 16), of_step)
            for block, of_step in enumerate(axes)
        ]
    )
    assert critic.encoder_of == [0, 1, 2, 3, 0] and len(critic.encoders) == 4
    assert len({variable.path for variable in critic.trainable_variables}) == 2 * 4 + 3


def test_a_critique_depends_on_its_own_step_and_those_before_it_alone():
    critic = PaperCritic(units=4)
    critic.build([spec(f"conv2_{i}/se", "conv2", 6) for i in range(1, 4)], classes=3)
    steps = [step(6, seed=seed) for seed in range(3)]
    actions = [s.action for s in steps]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(actions)
        critic_output = critic([ModuleOutput(s.state, a) for s, a in zip(steps, actions, strict=True)])
        critiques = critic_output.critiques
        columns = tf.unstack(critiques, axis=1)
    depends = np.array(
        [
            [np.abs(g).max() > 0 if (g := tape.gradient(q, a)) is not None else False for a in actions]
            for q in columns
        ]
    )
    np.testing.assert_array_equal(depends, np.tril(np.ones((3, 3), bool)))


def test_critiques_of_an_image_do_not_depend_on_the_others():
    critic = PaperCritic(units=4)
    critic.build([spec("conv2_1/se", "conv2", 6)], classes=3)
    whole = step(6)
    alone = ModuleOutput(whole.state[1:2], whole.action[1:2])
    alone, whole = critic([alone]).critiques, critic([whole]).critiques
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-5)
