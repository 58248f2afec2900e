from dreal_tf import Choice, Range, Space


def space(smoke=False):
    """How the network is optimized, by SGD, together with the weight of the actor loss.

    Command: dreal-tf tune RECIPE --space optimizer
    """
    return Space(
        {
            "optim.learning_rate": Range(0.02, 0.4, log=True),
            "optim.momentum": Choice(0.8, 0.9, 0.95),
            "optim.nesterov": Choice(False, True),
            "optim.weight_decay": Range(1e-5, 2e-3, log=True),
            "optim.label_smoothing": Choice(0.0, 0.1),
            "dreal.actor_weight": Range(0.1, 8.0, log=True),
        }
    )
