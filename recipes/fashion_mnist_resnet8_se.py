from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """Fashion-MNIST (28×28, 10 classes), ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf train fashion_mnist_resnet8_se --data-dir FOLDER_OF_THE_IDX_FILES
    Expect: baseline 0.909 (seed 0). With dreal.critic=paper and dreal.trust=false: 0.915. With the
    critic named here: not run here
    Time: 6 min on two CPU cores, beside other work
    Paper: not in it.
    """
    full = Recipe(
        data=Data(name="fashion_mnist", batch_size=128),
        augment=Augment(crop_padding=2, flip=True),
        backbone=Backbone(name="resnet", depth=8),
        attention=Attention(kind="se", reduction=4),
        dreal=Dreal(critic="comparative", actor_warmup=500),
        optim=Optim(learning_rate=0.1, weight_decay=5e-4),
        schedule=Schedule(epochs=8, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
