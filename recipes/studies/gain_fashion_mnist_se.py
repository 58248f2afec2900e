from dreal_tf import gain_study


def study(smoke=False):
    """Does the method gain anything: 10,000 images of Fashion-MNIST at 14×14, ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf study gain_fashion_mnist_se --out DIR --data-dir FOLDER
    """
    changes = {"data.image_size": 14, "augment.crop_padding": 1}
    return gain_study("fashion_mnist_resnet8_se", changes, modules=3, smoke=smoke)
