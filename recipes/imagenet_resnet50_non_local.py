from dreal_tf.training.recipe import (
    Attention,
    Augment,
    Backbone,
    Data,
    Dreal,
    Optim,
    Recipe,
    Run,
    Schedule,
)


def recipe(smoke=False):
    """ImageNet (224×224, 1,000 classes), ResNet-50 with non-local attention after conv3 and conv4, 100 epochs.

    Rate 0.1 is for 256 images a step; with other batch sizes scale it in proportion.

    Command: dreal-tf train imagenet_resnet50_non_local --data-dir FOLDER --strategy mirrored
    Expect: not run here
    Time: not run here
    Paper: names the module; no figure for this network.
    """
    full = Recipe(
        data=Data(name="imagenet2012", batch_size=256, image_size=224),
        augment=Augment(resized_crop=0.08, flip=True),
        backbone=Backbone(name="imagenet_resnet", depth=50),
        attention=Attention(kind="non_local"),
        dreal=Dreal(critic="comparative", actor_warmup=5000, reward_fraction=0.25),
        optim=Optim(learning_rate=0.1, weight_decay=1e-4),
        schedule=Schedule(epochs=100, decay="steps", milestones=(0.3, 0.6, 0.9)),
        run=Run(precision="mixed_bfloat16", deterministic=False),
    )
    return full.shrunk() if smoke else full
