from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """CIFAR-100 (32×32, 100 classes), ResNet-56 with squeeze-and-excitation.

    Command: dreal-tf train cifar100_resnet56_se --data-dir FOLDER
    Expect: not run here
    Time: not run here
    Paper: not in it.
    """
    full = Recipe(
        data=Data(name="cifar100", batch_size=128),
        augment=Augment(crop_padding=4, flip=True),
        backbone=Backbone(name="resnet", depth=56),
        attention=Attention(kind="se", reduction=4),
        dreal=Dreal(critic="comparative", actor_warmup=2000),
        optim=Optim(learning_rate=0.1, weight_decay=5e-4),
        schedule=Schedule(epochs=200, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
