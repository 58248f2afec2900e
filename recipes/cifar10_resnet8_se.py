from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """CIFAR-10 (32×32, 10 classes), ResNet-8 with squeeze-and-excitation: a first look in minutes.

    Command: dreal-tf train cifar10_resnet8_se --data-dir FOLDER
    Expect: baseline 0.730 (seed 0; a copy that went through JPEG). With dreal.critic=paper and
    dreal.trust=false: 0.735. With the critic named here: not run here at 32×32
    Time: 6 min on two CPU cores, beside other work
    Paper: not in it.
    """
    full = Recipe(
        data=Data(name="cifar10", batch_size=128),
        augment=Augment(crop_padding=4, flip=True),
        backbone=Backbone(name="resnet", depth=8),
        attention=Attention(kind="se", reduction=4),
        dreal=Dreal(critic="comparative", actor_warmup=500),
        optim=Optim(learning_rate=0.1, weight_decay=5e-4),
        schedule=Schedule(epochs=8, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
