from dreal_tf import ActorOnly, Study


def study(smoke=False):
    """Re-initialised non-local attention learns from a critic alone, all else frozen: how much of the accuracy returns?

    Command: dreal-tf study critic_actor_only_non_local --out DIR --data-dir FOLDER
    """
    full = Study(
        what="actor_only",
        recipe="cifar10_resnet8_non_local",
        changes={"data.image_size": 16, "augment.crop_padding": 2, "dreal.reward_fraction": 0.5},
        arms={
            "comparative": {"dreal.critic": "comparative"},
            # Without trust from the first step, when the critics know nothing yet.
            "comparative_obeyed": {"dreal.critic": "comparative", "dreal.trust": False},
            "paper_obeyed": {"dreal.critic": "paper", "dreal.trust": False},
            # The true direction: the upper limit.
            "direct": {"dreal.critic": "direct", "dreal.trust": False},
        },
        seeds=(0, 1, 2),
        actor_only=ActorOnly(
            steps=2000, learning_rate=0.2, momentum=0.9, decay="cosine", probes=4, images=10000
        ),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "attention.kind": "non_local"}
    return full.replace(
        recipe="digits_resnet8_se",  # At hand everywhere.
        changes=small,
        seeds=(0, 1),
        actor_only=ActorOnly(steps=10, wait=3, probes=2, images=60, decay="cosine"),
    )
