from dreal_tf.recipe import Attention, Backbone, Data, Dreal, Optim, Recipe, Run, Schedule


def recipe(smoke=False):
    """Handwritten digits (8×8, 10 classes), ResNet-8 with squeeze-and-excitation.

    Command: dreal-tf train digits_resnet8_se
    Expect: to be measured
    Time: to be measured
    Paper: not in it; this is the smallest run that shows every part at work.
    """
    return Recipe(
        data=Data(name="digits", batch_size=64, train_limit=256 if smoke else None),
        backbone=Backbone(depth=8, width=0.25 if smoke else 1.0),
        attention=Attention(kind="se", reduction=4),
        dreal=Dreal(critic="paper", actor_weight=0.1, actor_warmup=200),
        optim=Optim(rate=0.1, weight_decay=5e-4),
        schedule=Schedule(epochs=2 if smoke else 20, decay="cosine", warmup_epochs=1),
        run=Run(seed=0),
    )
