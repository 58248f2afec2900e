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
    """DukeMTMC-reID (702 people to learn from, 702 others to find again), 256×128, ResNet-50 with CBAM from ImageNet weights.

    The setting of Luo et al. (CVPR Workshops 2019): last stride 1, neck, 16 people × 4 images, random
    erasing, label smoothing, triplet and centre loss, 120 epochs, the rate rising over the first ten.

    Command: dreal-tf train dukemtmc_resnet50_cbam --data-dir FOLDER --set backbone.download=true
    Expect: not run here: the images may not be redistributed
    Time: not run here
    Paper: its second benchmark; the figures are in the main text, which is not at hand.
    """
    full = Recipe(
        data=Data(
            name="dukemtmc",
            batch_size=64,
            images_per_identity=4,
            image_size=256,
            image_width=128,
            validation_fraction=0.1,
        ),
        augment=Augment(crop_padding=10, flip=True, erasing=0.5),
        backbone=Backbone(
            name="imagenet_resnet",
            depth=50,
            stride_placement="1x1",  # As in the weights of keras.applications.
            last_stride=1,
            bnneck=True,
            weights="imagenet",
        ),
        attention=Attention(kind="cbam", reduction=16, identity_start=True),
        dreal=Dreal(critic="comparative", actor_warmup=2000, start_epoch=11),
        optim=Optim(
            name="adam",
            learning_rate=3.5e-4,
            weight_decay=5e-4,
            label_smoothing=0.1,
            triplet="batch_hard",
            centre_weight=5e-4,
        ),
        schedule=Schedule(epochs=120, decay="steps", milestones=(1 / 3, 7 / 12), warmup_epochs=10),
        run=Run(precision="mixed_bfloat16", deterministic=False),
    )
    return full.shrunk() if smoke else full
