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
    """ImageNet, SRM-ResNet-101 taught in one stage at a time: the supplement's table 1.

    Attention is in all stages; the method teaches it in those of `dreal.stages`. Each row with the
    top-1 error that the supplement gives, in per cent:

    none 21.404   dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --baseline
    conv2 21.132  dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --out runs/conv2 --set dreal.stages=conv2
    conv3 20.946  dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --out runs/conv3 --set dreal.stages=conv3
    conv4 20.858  dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --out runs/conv4 --set dreal.stages=conv4
    conv5 20.794  dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --out runs/conv5 --set dreal.stages=conv5
    all 20.474    dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --out runs/all --set dreal.stages=all

    Command: dreal-tf train imagenet_resnet101_srm_stages --data-dir FOLDER --strategy mirrored
    Expect: not run here
    Time: not run here
    Paper: the errors above.
    """
    full = Recipe(
        data=Data(name="imagenet2012", batch_size=256, image_size=224),
        augment=Augment(resized_crop=0.08, flip=True),
        backbone=Backbone(name="imagenet_resnet", depth=101),
        attention=Attention(kind="srm"),
        dreal=Dreal(critic="comparative", actor_warmup=5000, reward_fraction=0.25),
        optim=Optim(learning_rate=0.1, weight_decay=1e-4),
        schedule=Schedule(epochs=100, decay="steps", milestones=(0.3, 0.6, 0.9)),
        run=Run(precision="mixed_bfloat16", deterministic=False),
    )
    return full.shrunk() if smoke else full
