from dreal_tf import CORE_ARMS, gain_study


def study(smoke=False):
    """Does the method gain anything: 10,000 images of CIFAR-10 at 16×16, four labels of ten drawn at random.

    Command: dreal-tf study gain_cifar10_se_noisy --out DIR --data-dir FOLDER
    """
    changes = {"data.image_size": 16, "augment.crop_padding": 2, "data.label_noise": 0.4}
    return gain_study("cifar10_resnet8_se", changes, modules=3, arms=CORE_ARMS, smoke=smoke)
