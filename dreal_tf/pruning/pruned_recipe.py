"""The recipe of a run without some of its modules."""

from dreal_tf.networks.backbones import Trajectory
from dreal_tf.recipe import whole_path

# Cosine decay ends at a rate of 0: fine-tuning begins at this share of its peak.
COSINE_SHARE = 0.01


def pruned_recipe(recipe, plan):
    """The recipe of the network that is left.

    Args:
        recipe: `dreal_tf.Recipe`.
        plan: `dreal_tf.pruning.plan.Plan`.
    Returns:
        `dreal_tf.Recipe`: trained, it gives the smaller network from scratch. Without the method where
        none is left of the modules that it taught.
    Example:
        >>> from dreal_tf import Recipe
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> plan = Plan(("conv3_1",), {}, images=100, network=network)
        >>> pruned_recipe(Recipe(), plan).attention.pruned
        ('conv3_1',)
    """
    pruned = {"attention.pruned": (*(recipe.attention.pruned or ()), *plan.places)}
    left = Trajectory(plan.network, recipe.dreal.stages).modules
    taught = {"dreal.enabled": recipe.dreal.enabled and bool(left)}
    return recipe.replace(pruned | taught | {"run.start": None})


def fine_tuning(recipe, epochs, start):
    """The recipe of a few more epochs.

    The rate begins where the run's ended, that is at optim.learning_rate · schedule.factor^milestones of
    "steps" and at optim.learning_rate of "constant"; after "cosine", which ends at 0, at a hundredth of
    optim.learning_rate. It falls to 0 by cosine, without warm-up. All else is the run's, the method included,
    whose critic is a new one.

    Args:
        recipe: `dreal_tf.Recipe`.
        epochs: int >= 1.
        start: path of the `.keras` file with the weights to begin with.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> from dreal_tf.recipe import Optim, Recipe, Schedule
        >>> recipe = Recipe(optim=Optim(learning_rate=0.1), schedule=Schedule(decay="steps", factor=0.1))
        >>> round(fine_tuning(recipe, 2, "start.keras").optim.learning_rate, 6)
        0.001
    """
    schedule, rate = recipe.schedule, recipe.optim.learning_rate
    if schedule.decay == "steps":
        rate *= schedule.factor ** len(schedule.milestones)
    elif schedule.decay == "cosine":
        rate *= COSINE_SHARE
    return recipe.replace(
        {
            "run.start": whole_path(start),
            "optim.learning_rate": rate,
            "schedule.epochs": epochs,
            "schedule.decay": "cosine",
            "schedule.warmup_epochs": 0.0,
        }
    )
