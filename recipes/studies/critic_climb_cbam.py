from dreal_tf.experiments.studies import Climb, Study


def study(smoke=False):
    """CBAM drawn anew climbs a critic, all else frozen: how much of the accuracy returns?

    Command: dreal-tf study critic_climb_cbam --out DIR --data-dir FOLDER
    """
    full = Study(
        what="climb",
        recipe="cifar10_resnet8_cbam",
        changes={"data.image_size": 16, "augment.crop_padding": 2, "dreal.reward_fraction": 0.5},
        arms={
            "comparative": {"dreal.critic": "comparative"},
            # Obeyed in full from the first step, when they know nothing yet.
            "comparative_obeyed": {"dreal.critic": "comparative", "dreal.trust": False},
            "paper_obeyed": {"dreal.critic": "paper", "dreal.trust": False},
            # The true direction: the most there is.
            "direct": {"dreal.critic": "direct", "dreal.trust": False},
        },
        seeds=(0, 1, 2),
        climb=Climb(steps=2000, rate=0.2, momentum=0.9, decay="cosine", probes=4, images=10000),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "attention.kind": "cbam"}
    return full.replace(
        recipe="digits_resnet8_se",  # At hand everywhere.
        changes=small,
        seeds=(0, 1),
        climb=Climb(steps=10, wait=3, probes=2, images=60, decay="cosine"),
    )
