from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """COIL-100 as re-identification (50 objects to learn from, 50 others to find again), ResNet-20 with CBAM.

    CBAM in the last block of each stage, and all of each batch measured: what is measured of a module
    falls as 1 / (number of modules), and in 350 steps the critics of all nine blocks would earn no trust.

    Command: dreal-tf train coil100_resnet20_cbam --data-dir FOLDER
    Expect: test rank-1 0.965 ± 0.004, mAP 0.816 ± 0.011, baseline the same (mean ± deviation, seeds 0 to 4;
        pixels at 16×16: 0.883 and 0.645)
    Time: 110 s on two CPU cores, beside other work
    Paper: not in it; its re-identification at a size that two cores can run.
    """
    full = Recipe(
        data=Data(
            name="coil100",
            batch_size=64,
            images_per_identity=4,
            image_size=32,
            validation_fraction=0.2,
        ),
        augment=Augment(crop_padding=3, flip=True, erasing=0.25),
        backbone=Backbone(name="resnet", depth=20, bnneck=True),
        attention=Attention(kind="cbam", reduction=4, blocks="last"),
        dreal=Dreal(
            critic="comparative",
            actor_warmup=100,
            reward_fraction=1.0,
            validation_fraction=0.0625,
            instrument_fraction=0.03125,
        ),
        optim=Optim(
            name="adam",
            learning_rate=2e-3,
            weight_decay=5e-4,
            label_smoothing=0.1,
            triplet="batch_hard",
            centre_weight=5e-4,
        ),
        schedule=Schedule(epochs=10, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
