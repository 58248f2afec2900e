"""Every bundled recipe trains, shrunk; its data is generated and no network is needed."""

import time

import numpy as np
import pytest

from dreal_tf import build, load_recipe
from dreal_tf.layers import ACTORS
from dreal_tf.training.recipe_files import bundled_recipes

KEPT = (
    "attention.kind",
    "attention.stages",
    "dreal.critic",
    "dreal.estimator",
    "dreal.update",
    "optim.name",
)

# 16 steps, each with a pass of its own in validation; kinds placed as another one that is tried.
LONG = tuple(f"imagenet_resnet101_{kind}" for kind in ("se", "cbam", "srm"))
LONG += tuple(f"cifar10_resnet8_{kind}" for kind in ("srm", "eca", "a2", "danet", "sasa", "aa"))
LONG += ("cifar100_resnet56_se", "tiny_imagenet_resnet18_se")
LONG += ("finetune",)  # Has tests of its own.
# Tried in tests/model/test_every_actor.py.
LONG += tuple(f"cifar10_resnet8_{kind}" for kind in ("cbam", "non_local", "ccnet", "emanet"))
LONG += ("fashion_mnist_resnet8_se",)  # As digits.
LONG += ("cued_resnet8_cbam",)  # As cifar10_resnet8_cbam.
# As coil100_resnet20_cbam; their modules start as the identity, with a value of 0.
LONG += ("market1501_resnet50_cbam", "dukemtmc_resnet50_cbam")


def field(recipe, path):
    section, name = path.split(".")
    return getattr(getattr(recipe, section), name)


def differently_shrunk():
    """The first of the recipes that are equal when shrunk, such as ResNets of two depths."""
    small = {
        name: load_recipe(name, smoke=True).model_dump() | {"name": ""} for name in bundled_recipes()
    }
    names = list(small)
    first = [n for i, n in enumerate(names) if small[n] not in [small[m] for m in names[:i]]]
    return [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in first]


@pytest.mark.parametrize("name", bundled_recipes())
def test_shrunk_it_keeps_what_it_is_about(name):
    whole, small = load_recipe(name), load_recipe(name, smoke=True)
    assert {p: field(whole, p) for p in KEPT} == {p: field(small, p) for p in KEPT}
    assert whole.backbone.name == small.backbone.name and whole.augment == small.augment


@pytest.mark.parametrize("name", differently_shrunk())
def test_shrunk_it_trains_in_seconds_with_everything_logged_for_each_step(name):
    small = load_recipe(name, smoke=True)
    # All of a few images may be correct, with a gain of 0 if attention starts as the identity.
    small = small.replace({"dreal.validation_fraction": 1.0})
    started = time.perf_counter()
    model, data, callbacks = build(small)
    history = model.fit(
        data.train, validation_data=data.validation, epochs=1, callbacks=callbacks, verbose=0
    ).history
    print(f"{name}: {time.perf_counter() - started:.1f} s")
    assert all(np.isfinite(curve).all() for curve in history.values())
    assert history["reward_measured"][0] > 0
    modules = model.trajectory.modules
    for suffix in ACTORS[small.attention.kind].suffixes:
        own = [module for module in modules if module.endswith(f"/{suffix}")]
        if small.attention.identity_start:
            continue
        assert all(history[f"val_reward/{module}"][0] != 0 for module in own)
        assert all(history[f"critique/{module}"][0] != 0 for module in own)
        # The direction of some module may be 0 for the one image that is tried.
        assert max(abs(history[f"val_alignment/{module}"][0]) for module in own) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled_recipes())
def test_unshrunk_it_takes_a_step(name):
    """The whole network at its own image size, four images a step, on generated images."""
    whole = load_recipe(name)
    classes = {"cifar100": 100, "imagenet2012": 1000, "tiny_imagenet_50": 50}.get(whole.data.name, 10)
    of_identities = whole.data.images_per_identity is not None
    side = {"digits": 8, "cued": 24, "fashion_mnist": 28, "imagenet2012": 224, "tiny_imagenet_50": 64}
    height = side.get(whole.data.name, whole.data.image_size if of_identities else 32)
    channels = 1 if "mnist" in name or "digits" in name or "cued" in name else 3
    shape = (height, whole.data.image_width or height, channels)
    changes = {
        "data.name": "generated",
        "data.shape": shape,
        "data.classes": classes,
        "data.images": (6 if of_identities else 2) * classes,
        "data.validation_fraction": 0.5,
        "data.batch_size": 4,
        "data.train_limit": None if of_identities else 4,
        "data.images_per_identity": 2 if of_identities else None,
        "backbone.weights": None,
    }
    model, data, _ = build(whole.replace(changes))
    images, labels = next(iter(data.train))
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
