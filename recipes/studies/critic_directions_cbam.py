from dreal_tf import Directions, Study


def study(smoke=False):
    """Do the critics' directions agree with the true ones, for CBAM (channels, then positions): CIFAR-10 at 16×16.

    Command: dreal-tf study critic_directions_cbam --out DIR --data-dir FOLDER
    """
    full = Study(
        what="directions",
        recipe="cifar10_resnet8_cbam",
        changes={"data.image_size": 16, "augment.crop_padding": 2, "dreal.reward_fraction": 0.5},
        arms={
            "paper": {"dreal.critic": "paper"},
            "comparative": {"dreal.critic": "comparative"},
        },
        seeds=(0, 1, 2),
        directions=Directions(steps=1000, images=2000),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "attention.kind": "cbam"}
    return full.replace(
        recipe="digits_resnet8_se",  # At hand everywhere.
        changes=small,
        seeds=(0, 1),
        directions=Directions(steps=12, images=60),
    )
