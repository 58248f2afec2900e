from dreal_tf import headroom_study


def study(smoke=False):
    """How much could better attention gain at all: ResNet-8 with squeeze-and-excitation, trained on 5,000 images, 30 epochs.

    Command: dreal-tf study headroom_cifar10_se --out DIR --data-dir FOLDER
    """
    return headroom_study(images=5000, epochs=30, smoke=smoke)
