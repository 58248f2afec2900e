from dreal_tf.studies import Study, comparison_arms


def study(smoke=False):
    """Does the method gain anything: 10,000 images of CIFAR-10 at 16×16, ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf study gain_cifar10_se --out DIR --data-dir FOLDER
    """
    full = Study(
        what="train",
        recipe="cifar10_resnet8_se",
        changes={
            "data.image_size": 16,
            "augment.crop_padding": 2,
            "data.train_limit": 10000,
            "schedule.epochs": 12,
            "data.validation_fraction": 0.05,
            "dreal.instrument_fraction": 0.0,
            "run.figures": 0.0,
            "dreal.actor_warmup": 100,
        },
        arms=comparison_arms(epochs=12, actor_weight=3.0),
        against="baseline",
        seeds=range(8),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
    changed = {"changes": small, "arms": comparison_arms(epochs=1), "seeds": (0, 1)}
    return full.model_copy(update={"recipe": "digits_resnet8_se"} | changed)
