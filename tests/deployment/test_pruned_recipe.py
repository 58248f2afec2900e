"""The recipe of a run without some of its modules."""

import pytest

from dreal_tf import Recipe
from dreal_tf.deployment.prune import fine_tuning, pruned_recipe
from dreal_tf.deployment.pruning_plan import Plan
from dreal_tf.training.builder import build_network

SMALL = Recipe().replace({"backbone.depth": 8, "backbone.width": 0.25, "attention.reduction": 2})


def pruned(recipe, *places):
    all_gone = (*(recipe.attention.pruned or ()), *places)
    network = build_network(recipe.replace({"attention.pruned": all_gone}), (8, 8, 3), 5)
    return pruned_recipe(recipe, Plan(places, {}, 100, network))


def test_places_add_up_and_old_weights_are_no_start():
    recipe = SMALL.replace({"attention.pruned": "conv4_1", "run.start": "before.keras"})
    made = pruned(recipe, "conv2_1")
    assert made.attention.pruned == ("conv4_1", "conv2_1") and made.run.start is None
    assert made.replace({"attention.pruned": "conv4_1", "run.start": "before.keras"}) == recipe


@pytest.mark.parametrize(
    ("stages", "places", "taught"),
    [
        (None, ("conv2_1", "conv3_1"), True),
        (None, ("conv2_1", "conv3_1", "conv4_1"), False),
        ("conv3", ("conv2_1",), True),
        ("conv3", ("conv3_1",), False),
    ],
)
def test_the_method_stays_while_there_is_a_module_it_teaches(stages, places, taught):
    recipe = SMALL.replace({"dreal.stages": stages} if stages else {})
    assert pruned(recipe, *places).dreal.enabled == taught
    assert not pruned(recipe.replace({"dreal.enabled": False}), *places).dreal.enabled


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({"schedule.decay": "steps", "schedule.milestones": (0.2, 0.5, 0.9)}, 0.4 * 0.1**3),
        ({"schedule.decay": "steps", "schedule.factor": 0.5}, 0.1),
        ({"schedule.decay": "cosine"}, 0.004),
        ({"schedule.decay": "constant"}, 0.4),
    ],
)
def test_fine_tuning_begins_where_the_rate_ended(changes, rate):
    recipe = SMALL.replace({"optim.learning_rate": 0.4, "schedule.warmup_epochs": 2} | changes)
    tuned = fine_tuning(recipe, 3, "/runs/small/start.keras")
    assert tuned.optim.learning_rate == pytest.approx(rate)
    schedule = tuned.schedule
    assert (schedule.epochs, schedule.decay, schedule.warmup_epochs) == (3, "cosine", 0)
    assert tuned.run.start == "/runs/small/start.keras"
    same = ("name", "data", "augment", "backbone", "attention", "dreal")
    assert all(getattr(tuned, part) == getattr(recipe, part) for part in same)
