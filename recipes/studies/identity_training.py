from dreal_tf import Study


def study(smoke=False):
    """Re-identification of objects (COIL-100): the method against the baseline.

    Command: dreal-tf study identity_training --out DIR --data-dir FOLDER
    """
    full = Study(
        what="train",
        recipe="coil100_resnet20_cbam",
        changes={"dreal.actor_weight": 0.1, "dreal.actor_weight_mode": "absolute"},
        arms={"baseline": {"dreal.enabled": False}, "comparative": {"dreal.critic": "comparative"}},
        against="baseline",
        seeds=(0, 1, 2, 3, 4),
    )
    if not smoke:
        return full
    small = {
        "data.name": "generated",
        "data.shape": (16, 16, 3),
        "data.image_size": None,
        "data.classes": 8,
        "data.images": 96,
        "data.batch_size": 16,
        "backbone.depth": 8,
        "backbone.width": 0.25,
        "attention.reduction": 2,
        "schedule.epochs": 1,
        "schedule.warmup_epochs": 0,
    }
    return full.model_copy(update={"changes": small, "seeds": (0, 1)})
