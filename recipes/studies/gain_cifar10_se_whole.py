from dreal_tf import CORE_ARMS, gain_study


def study(smoke=False):
    """Does the method gain anything: all of CIFAR-10 (47,500 images) at 16×16, ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf study gain_cifar10_se_whole --out DIR --data-dir FOLDER
    """
    return gain_study(
        "cifar10_resnet8_se",
        {"data.image_size": 16, "augment.crop_padding": 2},
        modules=3,
        arms=CORE_ARMS,
        images=47500,
        epochs=5,
        smoke=smoke,
    )
