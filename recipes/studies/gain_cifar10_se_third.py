from dreal_tf import CORE_ARMS, gain_study


def study(smoke=False):
    """Does the method gain anything: three tenths of CIFAR-10 (15,000 images) at 16×16, ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf study gain_cifar10_se_third --out DIR --data-dir FOLDER
    """
    return gain_study(
        "cifar10_resnet8_se",
        {"data.image_size": 16, "augment.crop_padding": 2},
        modules=3,
        arms=CORE_ARMS,
        images=15000,
        epochs=8,
        smoke=smoke,
    )
