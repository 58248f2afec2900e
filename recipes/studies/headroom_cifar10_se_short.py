from dreal_tf import headroom_study


def study(smoke=False):
    """How much could better attention gain at all: ResNet-8 with squeeze-and-excitation, trained on 10,000 images, 8 epochs.

    Command: dreal-tf study headroom_cifar10_se_short --out DIR --data-dir FOLDER
    """
    return headroom_study(images=10000, epochs=8, smoke=smoke)
