"""Whether the method gains anything in joint training: its baselines and its controls beside it."""

from dreal_tf.studies.study import Study

EPOCHS = 12
# Small enough for a minute a run on two cores; the instruments, which change nothing, are left out.
SMALL = {
    "data.train_limit": 10000,
    "schedule.epochs": EPOCHS,
    "data.validation_fraction": 0.05,
    "dreal.instrument_fraction": 0.0,
    "run.figures": 0.0,
    "dreal.actor_warmup": 100,
}


def comparison_arms(epochs, actor_weight=1.0, longer=1.25):
    """What a claim that the method helps has to hold against.

    Args:
        epochs: int. Of the recipe.
        actor_weight: float > 0. Weight of L_q (no unit) in the arms with the method, but `paper`.
            At the number of steps a perfect critic's L_q has the task loss's own gradient.
        longer: float > 1. Epochs of the arm `longer` over those of the others: at least what a step
            with the method costs over a plain one.
    Returns:
        Dict from arm to the recipe fields that it changes:

        - `baseline`: the identical recipe without the method;
        - `longer`: that, with the method's wall time;
        - `faster_attention`: that, attention learning at twice the rate, which is what L_q of a
          perfect critic amounts to at the weight named above;
        - `comparative`: the method as it is here;
        - `paper`: the critic as one reads it in the paper, obeyed in full, at its default weight;
        - `direct`: the true direction in the critic's place, the most that a critic could give;
        - `shuffled`: a critic taught by other images, obeyed as far as it is trusted.
    Example:
        >>> comparison_arms(epochs=8)["longer"]
        {'dreal.enabled': False, 'schedule.epochs': 10}
    """
    plain = {"dreal.enabled": False}
    return {
        "baseline": plain,
        "longer": plain | {"schedule.epochs": round(longer * epochs)},
        "faster_attention": plain | {"optim.attention_rate": 2.0},
        "comparative": {"dreal.critic": "comparative", "dreal.actor_weight": actor_weight},
        "paper": {"dreal.critic": "paper", "dreal.trust": False, "dreal.actor_weight": 0.1},
        "direct": {"dreal.critic": "direct", "dreal.actor_weight": actor_weight},
        "shuffled": {"dreal.critic": "shuffled", "dreal.actor_weight": actor_weight},
    }


def gain_study(recipe, changes, actor_weight, smoke=False):
    """`comparison_arms` of a recipe on 10,000 of its training images, against the baseline.

    Args:
        recipe: str, a bundled recipe.
        changes: dict of further recipe fields by dotted path.
        actor_weight: see `comparison_arms`.
        smoke: bool. Shrunk to seconds, on digits.
    Returns:
        `Study` on eight seeds; two where shrunk.
    Example:
        >>> study = gain_study("cifar10_resnet8_se", {"data.image_size": 16}, actor_weight=3.0)
        >>> study.recipe_of("comparative", seed=0).dreal.actor_weight
        3.0
    """
    epochs, seeds = EPOCHS, range(8)
    changes = changes | SMALL
    if smoke:
        epochs, seeds, recipe = 1, range(2), "digits_resnet8_se"
        changes = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
        actor_weight = 1.0
    return Study(
        what="train",
        recipe=recipe,
        changes=changes,
        arms=comparison_arms(epochs, actor_weight),
        against="baseline",
        seeds=seeds,
    )
