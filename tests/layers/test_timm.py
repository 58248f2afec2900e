"""Our layers against timm's, in PyTorch, with the weights copied across.

Skipped where torch or timm is not installed.
"""

import importlib.util
import sys

import numpy as np
import pytest
from torchvision_stand_in import stand_ins

from dreal_tf.layers.cbam import CBAM
from dreal_tf.layers.eca import ECA
from dreal_tf.layers.non_local import NonLocal
from dreal_tf.layers.squeeze_excite import SqueezeExcite

SHAPES = [(2, 5, 7, 16), (1, 3, 4, 16)]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: see the extra 'timm'")


@pytest.fixture(scope="module")
def timm_layers(torch):
    """timm's layers; torchvision is stood in for where it is not installed, and only meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torchvision") is None:
            for name, module in stand_ins().items():
                patch.setitem(sys.modules, name, module)
        yield pytest.importorskip("timm.layers", reason="timm is not installed: see the extra 'timm'")


def filled(layer, shape):
    """The layer with random weights."""
    layer.build(shape)
    random = np.random.default_rng(1)
    for variable in layer.weights:
        low, high = (0.5, 2.0) if variable.name in ("gamma", "moving_variance") else (-1.0, 1.0)
        variable.assign(random.uniform(low, high, variable.shape))
    return layer


def copy(torch, ours, theirs):
    """The weights of one of our sublayers into the PyTorch module that is its counterpart."""
    if hasattr(ours, "kernel"):
        kernel = ours.kernel.numpy()
        # (..., in, out) to (out, in, ...); a dense layer there is a 1×1 convolution.
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
        values = {"weight": kernel.reshape(theirs.weight.shape)}
        if theirs.bias is not None:
            values["bias"] = ours.bias if ours.use_bias else np.zeros(theirs.bias.shape, "float32")
    else:
        values = {
            "weight": ours.gamma,
            "bias": ours.beta,
            "running_mean": ours.moving_mean,
            "running_var": ours.moving_variance,
        }
    with torch.no_grad():
        for name, value in values.items():
            getattr(theirs, name).copy_(torch.from_numpy(np.asarray(value).copy()))


def check_same(torch, layer, module, shape, training=False):
    state = np.random.default_rng(0).normal(size=shape).astype("float32")
    with torch.no_grad():
        theirs = module.train(training)(torch.from_numpy(state).permute(0, 3, 1, 2))
    theirs = theirs.permute(0, 2, 3, 1).numpy()
    assert not np.allclose(theirs, state, rtol=1e-2)
    # A branch and the state may nearly cancel: the rounding error depends on their size.
    atol = 1e-5 * np.abs(theirs).max() if layer.residual else 1e-6
    np.testing.assert_allclose(layer(state, training=training), theirs, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("shape", SHAPES)
def test_squeeze_excite(torch, timm_layers, shape):
    layer = filled(SqueezeExcite(2), shape)
    # An explicit hidden width is not rounded up to a multiple of 8.
    module = timm_layers.SEModule(16, rd_channels=8)
    copy(torch, layer.squeeze, module.fc1)
    copy(torch, layer.excite, module.fc2)
    check_same(torch, layer, module, shape)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_cbam(torch, timm_layers, shape, training):
    layer = filled(CBAM(2), shape)
    module = timm_layers.cbam.CbamModule(16, rd_channels=8, mlp_bias=True)
    copy(torch, layer.squeeze, module.channel.fc1)
    copy(torch, layer.excite, module.channel.fc2)
    copy(torch, layer.convolve, module.spatial.conv.conv)
    copy(torch, layer.norm, module.spatial.conv.bn)
    check_same(torch, layer, module, shape, training)


# timm's width is at least 3, so fewer than 8 channels would differ.
@pytest.mark.parametrize("channels", [8, 16, 64, 128, 256, 2048])
def test_eca(torch, timm_layers, channels):
    shape = (2, 3, 4, channels)
    layer = filled(ECA(), shape)
    module = timm_layers.EcaModule(channels)
    assert module.conv.weight.numel() == layer.count_params()
    copy(torch, layer.convolve, module.conv)
    check_same(torch, layer, module, shape)


@pytest.mark.parametrize("training", [False, True])
# timm divides by the root of the state's width, ours by that of the inner width.
@pytest.mark.parametrize(("bottleneck", "scale"), [(2, False), (1, True)])
@pytest.mark.parametrize("shape", SHAPES)
def test_non_local(torch, timm_layers, shape, bottleneck, scale, training):
    layer = filled(NonLocal(bottleneck, subsample=False, scale=scale), shape)
    module = timm_layers.NonLocalAttn(16, use_scale=scale, rd_channels=16 // bottleneck)
    for ours, theirs in [
        (layer.theta, module.t),
        (layer.phi, module.p),
        (layer.g, module.g),
        (layer.w_z, module.z),
        (layer.norm, module.norm),
    ]:
        copy(torch, ours, theirs)
    check_same(torch, layer, module, shape, training)
