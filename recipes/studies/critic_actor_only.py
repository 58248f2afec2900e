from dreal_tf import ActorOnly, Study


def study(smoke=False):
    """Re-initialised attention learns from a critic alone, all else frozen: how much of the accuracy returns?

    Command: dreal-tf study critic_actor_only --out DIR --data-dir FOLDER
    """
    full = Study(
        what="actor_only",
        recipe="cifar10_resnet8_se",
        # Without trust, which would hold back the critics that know nothing.
        changes={
            "data.image_size": 16,
            "augment.crop_padding": 2,
            "dreal.reward_fraction": 0.5,
            "dreal.trust": False,
        },
        arms={
            "comparative": {"dreal.critic": "comparative"},
            "paper": {"dreal.critic": "paper"},
            "shuffled": {"dreal.critic": "shuffled"},  # Trained on other images: must gain nothing.
            "direct": {"dreal.critic": "direct"},  # The true direction: the upper limit.
            # A good critic does not lead away from attention that is good already.
            "comparative_kept": {"dreal.critic": "comparative", "actor_only.reinitialise": False},
        },
        seeds=(0, 1, 2, 3, 4),
        actor_only=ActorOnly(
            steps=2000, learning_rate=0.2, momentum=0.9, decay="cosine", probes=4, images=10000
        ),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
    return full.replace(
        recipe="digits_resnet8_se",  # At hand everywhere.
        changes=small | {"dreal.trust": False},
        seeds=(0, 1),
        actor_only=ActorOnly(steps=10, wait=3, probes=2, images=60, decay="cosine"),
    )
