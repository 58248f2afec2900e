from dreal_tf import Choice, Range, Space


def space(smoke=False):
    """Which attention module, placed and made as its paper has it, and the weight of the actor loss.

    Command: dreal-tf tune RECIPE --space attention
    """
    kinds = ["se", "cbam", "srm", "eca", "non_local", "a2", "aa", "sasa", "danet", "ccnet", "emanet"]
    return Space(
        {
            "attention.kind": Choice(*(["se", "eca"] if smoke else kinds)),
            "dreal.actor_weight": Range(0.1, 8.0, log=True),
        }
    )
