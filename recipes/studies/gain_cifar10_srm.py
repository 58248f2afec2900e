from dreal_tf import gain_study


def study(smoke=False):
    """Does the method gain anything: 10,000 images of CIFAR-10 at 16×16, ResNet-8 with SRM.

    Command: dreal-tf study gain_cifar10_srm --out DIR --data-dir FOLDER
    """
    changes = {"attention.kind": "srm", "data.image_size": 16, "augment.crop_padding": 2}
    return gain_study("cifar10_resnet8_se", changes, modules=3, smoke=smoke)
