from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """Cued recognition (24×24, 10 classes): which digit is framed? ResNet-8 with the convolutional block attention module.

    Command: dreal-tf train cued_resnet8_cbam
    Expect: not run here in full
    Time: not run here in full
    Paper: not in it; a task in which a map is right or wrong.
    """
    full = Recipe(
        data=Data(name="cued", batch_size=64),
        augment=Augment(crop_padding=1),
        backbone=Backbone(name="resnet", depth=8),
        attention=Attention(kind="cbam", reduction=4),
        dreal=Dreal(critic="comparative", actor_warmup=500),
        optim=Optim(learning_rate=0.1, weight_decay=5e-4),
        schedule=Schedule(epochs=15, decay="cosine", warmup_epochs=1),
    )
    return full.shrunk() if smoke else full
