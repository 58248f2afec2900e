"""Every attention kind on every bundled recipe, chosen by `attention.kind` alone."""

import numpy as np
import pytest
from support import moved, values

from dreal_tf import build, load_recipe
from dreal_tf.cli.train import resolve
from dreal_tf.layers import ACTORS
from dreal_tf.networks.backbones import actors_of
from dreal_tf.training.builder import build_network
from dreal_tf.training.recipe import KINDS as RECIPE_KINDS
from dreal_tf.training.recipe_files import bundled_recipes

KINDS = [kind for kind in RECIPE_KINDS["attention"][2] if kind]
CONVOLUTION_KINDS = ("aa", "sasa")
# Endings of the module names; which of the stages, in depth order, have them; whether only in their
# last block.
PLACED = {
    "none": ((), slice(None), False),
    "se": (("se",), slice(None), False),
    "cbam": (("cbam_channel", "cbam_spatial"), slice(None), False),
    "srm": (("srm",), slice(None), False),
    "eca": (("eca",), slice(None), False),
    "non_local": (("non_local",), slice(1, 3), True),
    "a2": (("a2_gather", "a2_distribute"), slice(1, 3), True),
    "aa": (("aa",), slice(1, None), False),
    "sasa": (("sasa",), slice(None), False),
    "danet": (("danet_position", "danet_channel"), slice(-1, None), True),
    "ccnet": (("ccnet_1", "ccnet_2"), slice(-1, None), True),
    "emanet": (("emanet",), slice(-1, None), True),
}
STAGE_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
SLOW_DEPTH = 20  # From here on a whole network takes seconds to wire.


def distinct(smoke):
    """Every kind with the first recipe of every distinct backbone section.

    The slow ones are deep networks, and shrunk recipes beyond one kind each and every kind once.
    """
    first = {}
    for name in bundled_recipes():
        first.setdefault(load_recipe(name, smoke).backbone, name)
    cheapest = min(first, key=lambda backbone: backbone.depth)
    return [
        pytest.param(name, kind, marks=[pytest.mark.slow] * slow)
        for backbone, name in first.items()
        for kind in KINDS
        for slow in [
            (smoke and backbone != cheapest and kind != "cbam") or backbone.depth >= SLOW_DEPTH
        ]
    ]


def expected_modules(recipe):
    suffixes, stages, only_last = PLACED[recipe.attention.kind]
    only_last |= getattr(recipe.attention, "blocks", None) == "last"  # As the recipe itself says.
    depth = recipe.backbone.depth
    blocks = ((depth - 2) // 6,) * 3 if recipe.backbone.name == "resnet" else STAGE_BLOCKS[depth]
    return {
        f"conv{stage}_{block}/{suffix}"
        for stage, count in [*enumerate(blocks, start=2)][stages]
        for block in range(count if only_last else 1, count + 1)
        for suffix in suffixes
    }


@pytest.mark.parametrize(("name", "kind"), distinct(smoke=True))
def test_the_shrunk_recipe_takes_a_training_step(name, kind):
    changes = [f"attention.kind={kind}"]
    # From the first step on actors move, and only by their gradients.
    changes += ["schedule.warmup_epochs=0", "optim.weight_decay=0"]
    recipe = resolve(name, smoke=True, changes=changes)
    model, data, _ = build(recipe)
    model.run_eagerly = True  # A step takes a second; to compile it, five to twenty.
    network = model.trajectory_network
    actors = actors_of(network)
    before = [values(actor.trainable_variables) for actor in actors]
    logs = model.train_on_batch(*next(iter(data.train)), return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert set(network.output["actions"]) == expected_modules(recipe)
    assert (model.critic is None) == (kind == "none") == (not actors)
    for actor, old in zip(actors, before, strict=True):
        assert moved(old, actor.trainable_variables), actor.name


@pytest.mark.parametrize(("name", "kind"), distinct(smoke=False))
def test_the_whole_recipe_has_the_modules_of_the_kind(name, kind):
    recipe = resolve(name, changes=[f"attention.kind={kind}"])
    network = build_network(recipe, (64, 64, 3), classes=10)
    assert set(network.output["actions"]) == expected_modules(recipe)


def test_kinds_that_replace_a_convolution_are_listed():
    replacing = [kind for kind, actor in ACTORS.items() if actor.placement.where == "convolution"]
    assert list(CONVOLUTION_KINDS) == replacing
