from dreal_tf import gain_study


def study(smoke=False):
    """Does the method gain anything: 10,000 images of CIFAR-10 at 16×16, ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf study gain_cifar10_se --out DIR --data-dir FOLDER
    """
    changes = {"data.image_size": 16, "augment.crop_padding": 2}
    stages = ("conv2", "conv3", "conv4")
    return gain_study("cifar10_resnet8_se", changes, modules=3, stages=stages, smoke=smoke)
