from dreal_tf import Directions, Study


def study(smoke=False):
    """Do the critics' directions agree with the true ones: four critics beside frozen networks, digits.

    Command: dreal-tf study critic_directions_digits --out DIR
    """
    full = Study(
        what="directions",
        recipe="digits_resnet8_se",
        arms={
            "paper": {"dreal.critic": "paper"},
            "comparative": {"dreal.critic": "comparative"},
            "direct": {"dreal.critic": "direct"},  # The true direction: the upper limit.
            "shuffled": {
                "dreal.critic": "shuffled"
            },  # Trained on other images: there is nothing to learn.
        },
        seeds=(0, 1, 2),
        directions=Directions(steps=1000, images=2000),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
    return full.replace(changes=small, seeds=(0, 1), directions=Directions(steps=12, images=60))
