"""The arms of a comparison in joint training: the method, its baselines and its controls."""


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
