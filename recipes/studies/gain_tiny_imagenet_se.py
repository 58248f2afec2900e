from dreal_tf import gain_study


def study(smoke=False):
    """Does the method gain anything: 50 classes of Tiny ImageNet at 32×32, ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf study gain_tiny_imagenet_se --out DIR --data-dir FOLDER
    """
    changes = {"data.name": "tiny_imagenet_50", "data.image_size": 32, "attention.kind": "se"}
    return gain_study("cifar10_resnet8_se", changes, modules=3, smoke=smoke)
