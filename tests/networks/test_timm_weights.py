"""The weights of timm's `seresnet50` in ours: the same logits. Skipped without PyTorch."""

import importlib.util
import sys

import numpy as np
import pytest
from torchvision_stand_in import stand_ins

from dreal_tf import SqueezeExcite, imagenet_residual_network
from dreal_tf.networks.pretrained import load_pretrained


@pytest.fixture(scope="module")
def theirs():
    torch = pytest.importorskip("torch", reason="torch is not installed: see the extra 'timm'")
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torchvision") is None:
            for name, module in stand_ins().items():
                patch.setitem(sys.modules, name, module)
        timm = pytest.importorskip("timm", reason="timm is not installed: see the extra 'timm'")
        torch.manual_seed(0)
        model = timm.create_model("seresnet50", pretrained=False, num_classes=7).eval()
        with torch.no_grad():
            for name, value in [*model.named_parameters(), *model.named_buffers()]:
                if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
                    value.uniform_(0.5, 1.5)
                elif value.ndim == 1:
                    value.uniform_(-0.2, 0.2)
        yield model


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_seresnet50(theirs, tmp_path, ending):
    import torch

    path = tmp_path / f"seresnet50{ending}"
    if ending == ".pth":
        torch.save({"state_dict": theirs.state_dict()}, path)
    else:
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    network = imagenet_residual_network((64, 64, 3), 7, 50, attention=SqueezeExcite(16))
    loaded = load_pretrained(network, path)
    assert loaded.loaded == len(network.variables)
    assert all(name.endswith("num_batches_tracked") for name in loaded.unused)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    logits = network(images, training=False)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
