"""Weights that another library has saved, in our networks: the same answers."""

import json
import struct
from pathlib import Path

import keras
import numpy as np
import pytest

from dreal_tf import SqueezeExcite, imagenet_residual_network
from dreal_tf.errors import InputError
from dreal_tf.networks import pretrained
from dreal_tf.networks.backbones import plain_network
from dreal_tf.networks.pretrained import (
    APPLICATIONS,
    TORCH,
    imagenet_file,
    load_pretrained,
    name_in,
    read_arrays,
    take_images,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def lived_in(network, seed=1):
    """With biases and statistics as training might leave them."""
    random = np.random.default_rng(seed)
    for variable in network.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(random.normal(size=variable.shape) * 0.1)
    return network


@pytest.fixture(scope="module")
def theirs():
    return lived_in(
        keras.applications.ResNet50(
            weights=None, input_shape=(32, 32, 3), classes=7, classifier_activation=None
        )
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(3, 32, 32, 3)).astype("float32")


def ours(depth=50, classes=7, **options):
    return imagenet_residual_network((32, 32, 3), classes, depth, stride_placement="1x1", **options)


SLOW = [pytest.param(ending, marks=pytest.mark.slow) for ending in (".keras", ".h5")]


@pytest.mark.parametrize("ending", [".weights.h5", *SLOW])
def test_resnet50_of_keras_applications(theirs, images, tmp_path, ending):
    path = tmp_path / f"theirs{ending}"
    theirs.save_weights(path) if ending == ".weights.h5" else theirs.save(path)
    network = ours()
    loaded = load_pretrained(network, path)
    assert loaded.loaded == len(network.variables) == len(loaded.variables) and not loaded.unused
    expected = theirs(images, training=False)
    logits = network(images, training=False)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_images_may_be_standardised_otherwise(theirs, images, tmp_path):
    """Theirs gets BGR from 0 to 255 less a mean, ours what our pipelines give."""
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    network = ours(attention=SqueezeExcite(16, blended=True))
    standard = np.array([123.68, 116.779, 103.939]) / 255, STD
    loaded = load_pretrained(network, tmp_path / "theirs.weights.h5", standard)
    expected = theirs(keras.applications.resnet.preprocess_input(255 * images), training=False)
    logits = network((images - standard[0]) / standard[1], training=False)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    absent = {path for path, status in loaded.variables.items() if status == "not in the file"}
    assert absent == {path for path in loaded.variables if "_se/" in path}
    assert loaded.table().splitlines() == [
        f"267 of 347 variables loaded from {tmp_path / 'theirs.weights.h5'} (keras.applications)",
        "  part       loaded  not loaded, starts as it was drawn",
        "  conv1      5 of 5",
        "  conv2    50 of 65  conv2_1_se, conv2_2_se, conv2_3_se: not in the file",
        "  conv3    65 of 85  conv3_1_se, conv3_2_se, conv3_3_se, conv3_4_se: not in the file",
        "  conv4   95 of 125  conv4_1_se, conv4_2_se, conv4_3_se, conv4_4_se and 2 more: not in the file",
        "  conv5    50 of 65  conv5_1_se, conv5_2_se, conv5_3_se: not in the file",
        "  logits     2 of 2",
    ]


def test_another_mean_is_taken_too():
    """In the middle of a map, where a convolution sees no zeros, an offset of the images is nothing."""
    network = plain_network(imagenet_residual_network((64, 64, 3), 3, depth=18, width=0.125))
    kernel = lived_in(network).get_layer("conv1").kernel.numpy()
    stem = keras.Model(network.input, network.get_layer("conv1_bn").output)
    pictures = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype("float32")
    expected = stem((pictures - MEAN) / STD)[:, 4:-4, 4:-4]
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.5, 1.0)
    take_images(network, TORCH, (mean, std))
    maps = stem((pictures - mean) / np.array(std))[:, 4:-4, 4:-4]
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(network.get_layer("conv1").kernel, kernel)


def state_dict(network):
    """The network as PyTorch would keep it, its names written out."""
    arrays = {}
    for stage, blocks in enumerate((2, 2, 2, 2), start=1):
        for block in range(blocks):
            pairs = [(f"conv{n}", f"bn{n}", f"{n}") for n in (1, 2)]
            if block == 0 and stage > 1:
                pairs.append(("downsample.0", "downsample.1", "skip"))
            for convolution, norm, number in pairs:
                layer = f"conv{stage + 1}_{block + 1}_{number}"
                arrays |= of_pair(
                    network, layer, *(f"layer{stage}.{block}.{n}" for n in (convolution, norm))
                )
    arrays |= of_pair(network, "conv1", "conv1", "bn1")
    head = network.get_layer("logits")
    return arrays | {"fc.weight": head.kernel.numpy().T.copy(), "fc.bias": head.bias.numpy()}


def of_pair(network, layer, convolution, norm):
    keys = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}
    keys["running_var"] = "moving_variance"
    kernel = network.get_layer(layer).kernel.numpy().transpose(3, 2, 0, 1).copy()
    bn = network.get_layer(f"{layer}_bn")
    return {f"{convolution}.weight": kernel} | {
        f"{norm}.{theirs}": getattr(bn, own).numpy() for theirs, own in keys.items()
    }


def test_a_state_dict_and_what_does_not_fit(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    network = plain_network(lived_in(imagenet_residual_network((32, 32, 3), 5, 18, width=0.125)))
    arrays = state_dict(network) | {"bn1.num_batches_tracked": np.array([3])}
    safetensors.save_file(arrays, tmp_path / "theirs.safetensors")
    other = imagenet_residual_network((32, 32, 3), 4, 18, width=0.125, attention=SqueezeExcite(2))
    loaded = load_pretrained(other, tmp_path / "theirs.safetensors")
    assert loaded.unused == ("bn1.num_batches_tracked",)
    assert loaded.variables["logits/kernel"] == "(64, 5) in the file, (64, 4) here"
    assert loaded.variables["conv2_1_se/squeeze/kernel"] == "not in the file"
    for variable in network.variables[:-2]:
        same = next(v for v in other.variables if v.path == variable.path)
        np.testing.assert_array_equal(same, variable)


def test_the_names_of_both_libraries():
    paths = [v.path for v in ours(width=1 / 16, attention=SqueezeExcite()).variables]
    for origin, absent in ((APPLICATIONS, 16 * 4), (TORCH, 0)):
        names = [name_in(origin, path) for path in paths]
        assert sum(name is None for name in names) == absent
        assert len(set(names) - {None}) == len(paths) - absent


def test_what_cannot_be_loaded_is_said(theirs, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    name = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    with pytest.raises(InputError, match=f"home/models/{name}.* not there. Fetch https://.*{name}"):
        imagenet_file(50)
    monkeypatch.setattr(pretrained, "ADDRESS", (tmp_path / "nowhere").as_uri())
    for download, cure in (
        (False, "there, or set backbone.download=true to download it"),
        (True, "there"),
    ):
        with pytest.raises(InputError, match=f"put it {cure}. backbone.weights=FILE"):
            imagenet_file(50, download)
    with pytest.raises(InputError, match="50, 101, 152. Received: depth=18"):
        imagenet_file(18)
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / name).write_text("no weights")
    network = ours(width=0.125)
    with pytest.raises(InputError, match="that can be read. Received: .*Unable to"):
        load_pretrained(network, imagenet_file(50))
    with pytest.raises(InputError, match="'nowhere.keras', where there is none"):
        load_pretrained(network, "nowhere.keras")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    with pytest.raises(
        InputError, match="stride in their 1x1 convolution.*backbone.stride_placement=1x1"
    ):
        load_pretrained(
            imagenet_residual_network((32, 32, 3), 7, 50, width=0.125), tmp_path / "theirs.weights.h5"
        )
    with pytest.raises(
        InputError, match=r"conv1/kernel is \(7, 7, 3, 64\) in the file, \(7, 7, 3, 8\)"
    ):
        load_pretrained(network, tmp_path / "theirs.weights.h5")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="first")])
    other.save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="weights of a residual network.*'first/kernel'"):
        load_pretrained(network, tmp_path / "other.keras")


def header_of(start, **array):
    """A `.safetensors` file of one array, whose length field counts `start` bytes of header."""
    header = json.dumps(
        {"fc.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | array}
    ).encode()
    return struct.pack("<Q", len(header) if start is None else start) + header + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header_of(None)[:-1],
        header_of(None)[:20],
        header_of(2**63),
        header_of(3),
        header_of(None, data_offsets=[0, 2**40]),
        header_of(None, data_offsets=[8, 0]),
        header_of(None, shape=[2**40]),
        header_of(None, shape=[-2]),
        header_of(None, dtype="O"),
        b"\x89PNG\r\n\x1a\n" * 4,
    ],
)
def test_damaged_safetensors_are_refused_by_name(tmp_path, content):
    pytest.importorskip("safetensors.numpy")
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(header_of(None))
    assert list(read_arrays(path)) == ["fc.bias"]
    path.write_bytes(content)
    with pytest.raises(InputError, match="theirs.safetensors', which cannot be read.*again"):
        read_arrays(path)


@pytest.mark.parametrize("damage", ["empty", "half", "a byte flipped", "Python objects", "text"])
def test_damaged_state_dicts_are_refused_without_advice_to_trust_them(tmp_path, damage):
    torch = pytest.importorskip("torch", reason="torch is not installed: see the extra 'timm'")
    path = tmp_path / "theirs.pth"
    torch.save({"fc.bias": torch.zeros(2)} if damage != "Python objects" else {"fc.bias": Path}, path)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damages = {"empty": b"", "half": content[:middle], "a byte flipped": flipped, "text": b"hello"}
    path.write_bytes(damages.get(damage, content))
    with pytest.raises(InputError, match="theirs.pth', which cannot be read.*again") as error:
        read_arrays(path)
    assert "weights_only" not in str(error.value)
