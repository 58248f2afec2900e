import keras
import numpy as np
import pytest
from support import TwoModules, logits_loss, precision

from dreal_tf import DREAL, SqueezeExcite, imagenet_residual_network
from dreal_tf.networks.backbones import actors_of, plain_network

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def small(depth=18, image_shape=(32, 32, 3), width=1 / 16, **options):
    """A network of 4 channels in conv2."""
    return imagenet_residual_network(image_shape, 5, depth, width, **options)


def blocks_of(depth):
    """The blocks of the paper's table 1, in depth order."""
    return [
        f"conv{stage}_{number}"
        for stage, blocks in zip((2, 3, 4, 5), BLOCKS[depth], strict=True)
        for number in range(1, blocks + 1)
    ]


def size_after(network, layer):
    return tuple(network.get_layer(layer).output.shape[1:3])


def source(tensor):
    """The layer that made a symbolic tensor."""
    return tensor._keras_history.operation


def images_of(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("depth", [18, 50])
def test_attention_sits_between_the_last_batchnorm_and_the_addition(depth):
    network = small(depth, attention=TwoModules())
    last = 2 if depth == 18 else 3
    for block in blocks_of(depth):
        actor = network.get_layer(f"{block}_two")
        assert source(actor.input) is network.get_layer(f"{block}_{last}_bn")
        added = network.get_layer(f"{block}_add").input
        assert [source(tensor) is actor for tensor in added] == [False, True]


def test_without_attention_the_last_batchnorm_is_added():
    network = small()
    assert source(network.get_layer("conv4_2_add").input[1]).name == "conv4_2_2_bn"
    assert network.output["actions"] == network.output["states"] == {}


def test_a_block_of_unchanged_shape_adds_its_input_and_others_a_projection():
    network = small(50)
    for block in blocks_of(50):
        skip = source(network.get_layer(f"{block}_add").input[0]).name
        before = source(network.get_layer(f"{block}_1").input).name
        assert skip == (f"{block}_skip_bn" if block.endswith("_1") else before)


@pytest.mark.parametrize("stride_placement", ["3x3", "1x1"])
@pytest.mark.parametrize(
    ("side", "last_stride", "sizes"),
    [
        (224, 2, (112, 56, 28, 14, 7)),  # He et al., table 1.
        (225, 1, (113, 57, 29, 15, 15)),  # Each stage rounds up.
    ],
)
def test_each_stage_halves_the_map(side, last_stride, sizes, stride_placement):
    network = small(50, (side, side, 3), stride_placement=stride_placement, last_stride=last_stride)
    ends = ["conv1", "conv2_3_relu", "conv3_4_relu", "conv4_6_relu", "conv5_3_relu"]
    assert [size_after(network, end) for end in ends] == [(size, size) for size in sizes]
    for stage, before, after in zip((3, 4, 5), sizes[1:], sizes[2:], strict=False):
        inner = after if stride_placement == "1x1" else before
        assert size_after(network, f"conv{stage}_1_1") == (inner, inner)
        assert size_after(network, f"conv{stage}_1_2") == (after, after)


def test_images_may_have_any_size():
    free = small(attention=SqueezeExcite(2), image_shape=(None, None, 3))
    fixed = small(attention=SqueezeExcite(2), image_shape=(33, 70, 3))
    fixed.set_weights(free.get_weights())
    images = images_of(2, 33, 70, 3)
    outputs = free(images)
    np.testing.assert_allclose(outputs["logits"], fixed(images)["logits"], rtol=1e-5, atol=1e-6)
    assert outputs["states"]["conv5_2/se"].shape == (2, 2, 3, 32)
    assert free(images_of(1, 64, 64, 3))["states"]["conv5_2/se"].shape == (1, 2, 2, 32)


@pytest.mark.parametrize("depth", [18, 50])
def test_with_zero_gamma_a_block_starts_as_its_skip_path(depth):
    network = small(depth, attention=SqueezeExcite(2), zero_gamma=True)
    ends = [f"{block}_relu" for block in blocks_of(depth)]
    skips = [network.get_layer(f"{block}_add").input[0] for block in blocks_of(depth)]
    maps = keras.Model(network.input, [skips, [network.get_layer(end).output for end in ends]])
    for training in (False, True):
        for skip, end in zip(*maps(images_of(2, 32, 32, 3), training=training), strict=True):
            assert np.ptp(end) > 0
            np.testing.assert_array_equal(end, np.maximum(skip, 0))
    states = network(images_of(2, 32, 32, 3))["states"]
    assert all(not np.any(state) for state in states.values())


@pytest.mark.parametrize(("depth", "last"), [(18, "_2_bn"), (50, "_3_bn")])
def test_zero_gamma_is_that_of_the_last_batchnorm_of_each_block_alone(depth, last):
    expected = {f"{block}{last}" for block in blocks_of(depth)}
    for zero_gamma in (True, False):
        network = small(depth, zero_gamma=zero_gamma)
        norms = [n for n in network.layers if isinstance(n, keras.layers.BatchNormalization)]
        zero = {norm.name for norm in norms if not np.any(norm.gamma)}
        assert zero == (expected if zero_gamma else set())
        assert all(np.all(norm.gamma.numpy() == 1) for norm in norms if norm.name not in zero)


def test_attention_can_be_limited_to_stages():
    network = small(34, attention=SqueezeExcite(2), attention_stages={"conv3", "conv5"})
    expected = [f"{p}_se" for p in blocks_of(34) if p.startswith(("conv3", "conv5"))]
    assert [actor.name for actor in actors_of(network)] == expected


def test_kernels_alone_decay():
    network = small(weight_decay=0.2, attention=SqueezeExcite(2))
    kernels = [
        layer.kernel.numpy()
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    ]
    assert len(kernels) == 1 + 8 * 2 + 3 + 1  # conv1, 8 blocks of two, three projections, logits.
    expected = sum(0.1 * np.sum(np.float64(kernel) ** 2) for kernel in kernels)
    assert len(network.losses) == len(kernels)
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("synchronized", [False, True])
def test_batchnorm_is_set_as_published(synchronized):
    network = small(50, synchronized=synchronized)
    norms = [n for n in network.layers if isinstance(n, keras.layers.BatchNormalization)]
    assert len(norms) == 1 + 16 * 3 + 4
    settings = {(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms}
    assert settings == {(0.9, 1e-5, synchronized)}


def test_kernels_start_with_the_published_spread_and_each_on_its_own():
    network = small(width=0.5)
    first, second = (network.get_layer(f"conv5_2_{n}").kernel.numpy() for n in (1, 2))
    assert first.shape == second.shape == (3, 3, 256, 256)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01
    # 589,824 draws: the standard deviation is known to about 0.1 %.
    assert np.std(first) == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)
    assert np.max(np.abs(first)) > 3 * np.std(first)  # Not truncated at two.
    skip = network.get_layer("conv5_1_skip").kernel.numpy()  # 1×1, 128 to 256: fan-out, not fan-in.
    assert np.std(skip) == pytest.approx(np.sqrt(2 / 256), rel=0.02)
    logits = network.get_layer("logits")
    assert np.std(logits.kernel) == pytest.approx(0.01, rel=0.1)
    assert not np.any(logits.bias)


def test_logits_stay_in_float32_under_mixed_precision():
    with precision("mixed_bfloat16"):
        network = small(attention=SqueezeExcite(2))
    outputs = network(images_of(2, 32, 32, 3))
    assert outputs["logits"].dtype == "float32"
    assert outputs["states"]["conv5_2/se"].dtype == "bfloat16"


def test_the_plain_network_comes_back_from_a_file(tmp_path):
    network = plain_network(small(attention=SqueezeExcite(2), zero_gamma=True))
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    images = images_of(2, 32, 32, 3)
    np.testing.assert_array_equal(network(images), again(images))


def test_the_method_trains_it():
    network = small(attention=SqueezeExcite(2))
    model = DREAL(network, stages={"conv5"}, reward_fraction=1.0)
    model.compile("sgd", "sgd", loss=logits_loss(), run_eagerly=True)
    before = [v.numpy() for v in network.trainable_variables]
    logs = model.train_on_batch(images_of(4, 32, 32, 3), np.arange(4), return_dict=True)
    assert {"reward/conv5_1/se", "reward/conv5_2/se"} <= set(logs)
    assert np.isfinite(logs["loss"])
    changed = [
        np.any(old != v.numpy()) for old, v in zip(before, network.trainable_variables, strict=True)
    ]
    assert np.mean(changed) > 0.9


def test_the_network_is_named_after_its_depth_unless_told():
    assert small(50).name == "imagenet_resnet50"
    assert small(name="mine").name == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"depth": 20},
            "`depth` must be one of 18, 34, 50, 101, 152. Received: depth=20. Choose one of these; "
            "`residual_network` has other depths, for small images.",
        ),
        (
            {"depth": 50, "stride_placement": "7x7"},
            "`stride_placement` must be '3x3' or '1x1'. Received: stride_placement='7x7'. Choose "
            "one of these.",
        ),
        (
            {"depth": 34, "stride_placement": "1x1"},
            "`stride_placement` must be '3x3' at depth 34, whose blocks have no 1×1 convolution. "
            "Received: stride_placement='1x1'. Set it to '3x3', or choose a depth of 50, 101, 152.",
        ),
        (
            {"last_stride": 3},
            "`last_stride` must be 1 or 2. Received: last_stride=3. Choose one of these.",
        ),
        (
            {"attention": SqueezeExcite(2), "attention_stages": {"conv5", "conv6", "conv1"}},
            "`attention_stages` must be among ('conv2', 'conv3', 'conv4', 'conv5'). Received: "
            "['conv1', 'conv6']. Name stages of this network.",
        ),
    ],
)
def test_what_does_not_exist_is_refused(options, message):
    with pytest.raises(ValueError) as error:
        small(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("image_shape", "last_stride", "least"),
    [
        ((31, 224, 3), 2, 32),
        ((224, 31, 3), 2, 32),
        ((None, 31, 3), 2, 32),
        ((16, 15, 3), 1, 16),
    ],
)
def test_images_smaller_than_the_total_stride_are_refused(image_shape, last_stride, least):
    with pytest.raises(ValueError) as error:
        small(image_shape=image_shape, last_stride=last_stride)
    assert str(error.value) == (
        f"`image_shape` must be at least {least} × {least} pixels, the network's total stride. "
        f"Received: image_shape={image_shape}. Enlarge the images, or choose a network of smaller "
        "stride."
    )


def test_images_of_the_total_stride_fill_one_place_of_the_last_map():
    assert size_after(small(image_shape=(32, 32, 3)), "conv5_2_relu") == (1, 1)
    assert size_after(small(image_shape=(16, 16, 3), last_stride=1), "conv5_2_relu") == (1, 1)
