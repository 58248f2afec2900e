from dreal_tf import Choice, Range, Space


def space(smoke=False):
    """The method's own settings: the weight of the actor loss, the critic, and what the critic learns from.

    Command: dreal-tf tune RECIPE --space method
    """
    settings = {
        "dreal.actor_weight": Range(0.1, 8.0, log=True),
        "dreal.penalty": Range(0.0, 2.0),
        "dreal.reference_action": Choice("mean", "static", "identity"),
        "dreal.critic": Choice("comparative", "paper"),
        "dreal.critic_units": Choice(32, 64, 128),
        "optim.critic_learning_rate": Range(1e-4, 1e-2, log=True),
        "dreal.reward_fraction": Choice(0.125, 0.25, 0.5),
        "dreal.trust": Choice(True, False),
        "dreal.stages": Choice(None, ("conv4",), ("conv3", "conv4")),
    }
    if smoke:
        settings["dreal.critic_units"] = Choice(8, 16)
    return Space(settings)
