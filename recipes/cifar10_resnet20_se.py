from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """CIFAR-10 (32×32, 10 classes), ResNet-20 with squeeze-and-excitation, the schedule of He et al. 2016.

    Command: dreal-tf train cifar10_resnet20_se --data-dir FOLDER
    Expect: not run here (He et al. 2016, table 6: 91.25 % for ResNet-20 without attention)
    Time: not run here
    Paper: not in it.
    """
    full = Recipe(
        data=Data(name="cifar10", batch_size=128),
        augment=Augment(crop_padding=4, flip=True),
        backbone=Backbone(name="resnet", depth=20),
        attention=Attention(kind="se", reduction=4),
        dreal=Dreal(critic="comparative", actor_warmup=2000),
        optim=Optim(learning_rate=0.1, weight_decay=1e-4),
        schedule=Schedule(epochs=164, decay="steps", milestones=(0.5, 0.75)),
    )
    return full.shrunk() if smoke else full
