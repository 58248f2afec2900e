from dreal_tf import gain_study


def study(smoke=False):
    """Does the method gain anything in a longer training: all of CIFAR-10 (47,500 images) at 16×16, 20 epochs, SE-ResNet-8.

    Command: dreal-tf study gain_cifar10_se_long --out DIR --data-dir FOLDER
    """
    return gain_study(
        "cifar10_resnet8_se",
        {"data.image_size": 16, "augment.crop_padding": 2},
        modules=3,
        arms=("no_attention", "baseline", "attention_rate_10", "comparative"),
        images=47500,
        epochs=20,
        seeds=4,
        smoke=smoke,
    )
