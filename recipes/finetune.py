from dreal_tf.training.recipe import Attention, Augment, Backbone, Data, Dreal, Optim, Recipe, Schedule


def recipe(smoke=False):
    """A folder of your own images, ResNet-50 from ImageNet weights with squeeze-and-excitation.

    Image size, batch size and number of epochs are chosen from the folder; files that are not images
    are skipped, and listed. The weights are those of keras.applications: backbone.download=true
    downloads them, or backbone.weights names a file (docs/weights.md). Attention starts as the
    identity, so that nothing learnt is lost; the pretrained layers learn at a tenth of the rate; the
    method starts after the first epoch.

    Command: dreal-tf train finetune --set data.folder=FOLDER --set backbone.download=true
    Expect: depends on the folder (docs/weights.md); not run here with ImageNet weights, which cannot
        be downloaded here
    Time: depends on the folder; about 2,000 steps
    Paper: not in it.
    """
    full = Recipe(
        data=Data(name="folder", image_size="auto", batch_size="auto", on_bad_image="skip"),
        augment=Augment(resized_crop=0.35, flip=True),
        backbone=Backbone(name="imagenet_resnet", depth=50, stride_placement="1x1", weights="imagenet"),
        attention=Attention(kind="se", reduction=16, identity_start=True),
        # All images are measured: a quarter of so few says little about sixteen modules.
        dreal=Dreal(critic="comparative", reward_fraction=1.0, actor_warmup=200, start_epoch=2),
        optim=Optim(learning_rate=0.02, weight_decay=1e-4, backbone_lr_multiplier=0.1),
        schedule=Schedule(epochs="auto", decay="cosine", warmup_epochs=0.5),
    )
    return full.shrunk() if smoke else full
