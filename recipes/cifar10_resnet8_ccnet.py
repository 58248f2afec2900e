from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """CIFAR-10 (32×32, 10 classes), ResNet-8 with criss-cross attention, twice after its last stage.

    Command: dreal-tf train cifar10_resnet8_ccnet --data-dir FOLDER
    Expect: not run here in full
    Time: not run here in full
    Paper: names the module; no figure for this network.
    """
    full = Recipe(
        data=Data(name="cifar10", batch_size=128),
        augment=Augment(crop_padding=4, flip=True),
        backbone=Backbone(name="resnet", depth=8),
        attention=Attention(kind="ccnet"),
        dreal=Dreal(critic="comparative", actor_warmup=500),
        optim=Optim(learning_rate=0.1, weight_decay=5e-4),
        schedule=Schedule(epochs=8, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
