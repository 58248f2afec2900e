from dreal_tf.experiments.studies import Climb, Study


def study(smoke=False):
    """Attention drawn anew climbs a critic, all else frozen: how much of the accuracy returns?

    Command: dreal-tf study critic_climb --out DIR --data-dir FOLDER
    """
    full = Study(
        what="climb",
        recipe="cifar10_resnet8_se",
        # Every critic is obeyed in full: trust would hold back those that know nothing.
        changes={
            "data.image_size": 16,
            "augment.crop_padding": 2,
            "dreal.reward_fraction": 0.5,
            "dreal.trust": False,
        },
        arms={
            "comparative": {"dreal.critic": "comparative"},
            "paper": {"dreal.critic": "paper"},
            "shuffled": {"dreal.critic": "shuffled"},  # Taught by other images: must not climb.
            "direct": {"dreal.critic": "direct"},  # The true direction: the most there is.
            # A critic worth following does not lead away from attention that is good already.
            "comparative_kept": {"dreal.critic": "comparative", "climb.reinitialise": False},
        },
        seeds=(0, 1, 2, 3, 4),
        climb=Climb(steps=2000, rate=0.2, momentum=0.9, decay="cosine", probes=4, images=10000),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
    return full.replace(
        recipe="digits_resnet8_se",  # At hand everywhere.
        changes=small | {"dreal.trust": False},
        seeds=(0, 1),
        climb=Climb(steps=10, wait=3, probes=2, images=60, decay="cosine"),
    )
