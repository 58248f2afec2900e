from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """Tiny ImageNet, 50 of its classes (64×64), ResNet-18 with squeeze-and-excitation.

    The data is a prepared TensorFlow Datasets folder; of another copy, set data.name, or bring a
    folder of images with data.name=folder.

    Command: dreal-tf train tiny_imagenet_resnet18_se --data-dir FOLDER
    Expect: not run here in full; at a quarter of the width (backbone.width=0.25, attention.reduction=4)
    and 8 epochs: baseline 0.391, with dreal.critic=paper and dreal.trust=false 0.374 (seed 0)
    Time: not run here in full; the small one 3 min on two CPU cores, beside other work
    Paper: not in it.
    """
    full = Recipe(
        data=Data(name="tiny_imagenet_50", batch_size=64),
        augment=Augment(crop_padding=8, flip=True),
        backbone=Backbone(name="imagenet_resnet", depth=18),
        attention=Attention(kind="se", reduction=16),
        dreal=Dreal(critic="comparative", actor_warmup=1000),
        optim=Optim(learning_rate=0.05, weight_decay=5e-4),
        schedule=Schedule(epochs=60, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
