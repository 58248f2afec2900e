"""Bundled designs of studies: the method with its baselines and controls, and the headroom of attention."""

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.study import ActorOnly, Study

# A run takes about half a minute on two cores. The instruments, which change nothing, are off.
SMALL = {
    "data.validation_fraction": 0.05,
    "dreal.instrument_fraction": 0.0,
    "run.figures": 0.0,
    "dreal.actor_warmup": 100,
}
ABSOLUTE = {"dreal.actor_weight_mode": "absolute"}  # Their weights are lambda, as in the paper.

# A critic has 600 steps to learn in: the exact estimator shows it every action of a measured image.
METHOD = {"dreal.critic": "comparative", "dreal.estimator": "exact"}
OURS, BASELINE = "comparative", "baseline"  # The arm of the method, and the arm all are compared with.
# The arms of `comparison_arms` that show how much it gains, and whether a larger step gains the same.
CORE_ARMS = ("no_attention", BASELINE, "attention_rate_2", "attention_rate_10", OURS)


def comparison_arms(epochs, actor_weight=10.0, longer=1.5):
    """The arms that a claim that the method helps has to be compared with.

    Args:
        epochs: int. Epochs of the recipe.
        actor_weight: float > 0. Weight of L_q (no unit) in the arms with the method, except `paper`.
            At the number of modules, L_q of a perfect critic has the gradient of the task loss; at ten
            times that, ten times this gradient.
        longer: float > 1. Epochs of the arm `longer` over those of the others: at least the cost of a
            step with the method over a plain one.
    Returns:
        Dict from arm to the recipe fields that it changes:

        - `no_attention`: the network without its modules, so that a gain can be compared with the gain
          of attention itself;
        - `baseline`: the identical recipe without the method;
        - `longer`: the baseline with the wall time of the method;
        - `attention_rate_2`, `attention_rate_10`: the baseline with a multiple of the learning rate of
          attention, since the method must do more than a larger step;
        - `comparative`: the method as it is here, every action of the measured images ablated;
        - `paper`: the critic as one reads it in the paper, without trust, at its default weight;
        - `direct`: the true direction instead of a critic's, without trust: the limit of a perfect critic;
        - `shuffled`: a critic trained on the rewards of other images, with trust;
        - `paper_pushed`, `shuffled_pushed`: these two critics without trust, with the estimator and the
          weight of the method, since any strong gradient might help.
    Example:
        >>> comparison_arms(epochs=8)["longer"]
        {'dreal.enabled': False, 'schedule.epochs': 12}
    """
    plain = {"dreal.enabled": False}
    weighted = {"dreal.actor_weight": actor_weight}
    untrusted = weighted | {"dreal.trust": False}
    return {
        "no_attention": plain | {"attention.kind": "none"},
        BASELINE: plain,
        "longer": plain | {"schedule.epochs": round(longer * epochs)},
        "attention_rate_2": plain | {"optim.attention_lr_multiplier": 2.0},
        "attention_rate_10": plain | {"optim.attention_lr_multiplier": 10.0},
        OURS: METHOD | weighted,
        "paper": {"dreal.critic": "paper", "dreal.trust": False, "dreal.actor_weight": 0.1},
        "direct": {"dreal.critic": "direct"} | untrusted,
        "shuffled": METHOD | {"dreal.critic": "shuffled"} | weighted,
        "paper_pushed": METHOD | {"dreal.critic": "paper"} | untrusted,
        "shuffled_pushed": METHOD | {"dreal.critic": "shuffled"} | untrusted,
    }


def stage_arms(stages, actor_weight=1.0):
    """The method in one stage alone, an arm a stage, as in the supplement's Table 1.

    Args:
        stages: sequence of str, such as ("conv2", "conv3"), with equally many modules.
        actor_weight: float > 0, see `comparison_arms`. Each module has the gradient that it has when all
            take part.
    Returns:
        Dict from arm to the recipe fields that it changes.
    Example:
        >>> list(stage_arms(("conv2", "conv3")))
        ['conv2_alone', 'conv3_alone']
    """
    # L_q is the mean over the modules that take part.
    weight = actor_weight / len(stages)
    return {
        f"{stage}_alone": METHOD | {"dreal.actor_weight": weight, "dreal.stages": [stage]}
        for stage in stages
    }


def gain_study(
    recipe, changes, modules, arms=None, stages=(), images=10_000, epochs=8, seeds=8, smoke=False
):
    """`comparison_arms` of a recipe on some of its training images, against the baseline.

    Args:
        recipe: str, a bundled recipe.
        changes: dict of further recipe fields by dotted path.
        modules: int. Attention modules of the network; the weight of L_q is ten times that.
        arms: sequence of str, the arms of `comparison_arms` to keep; None for all.
        stages: sequence of str. Stages with an arm of their own, see `stage_arms`.
        images: int >= 1. Training images; one in twenty of all images is held out first.
        epochs: int >= 1. Passes over them.
        seeds: int >= 1. Number of seeds, from 0; with eight the smallest p of the sign-flip test is 0.008.
        smoke: bool. Shrunk to seconds, on digits, with two seeds.
    Returns:
        `Study`.
    Raises:
        InputError: if there is no such arm.
    Example:
        >>> study = gain_study("cifar10_resnet8_se", {"data.image_size": 16}, modules=3)
        >>> study.recipe_of("comparative", seed=0).dreal.actor_weight
        30.0
    """
    actor_weight = 10.0 * modules
    changes = SMALL | changes | {"data.train_limit": images, "schedule.epochs": epochs}
    if smoke:
        epochs, seeds, recipe = 1, 2, "digits_resnet8_se"
        changes = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
        actor_weight = 1.0
    every = comparison_arms(epochs, actor_weight)
    if stages:
        every |= stage_arms(stages, actor_weight)
    for arm in arms or ():
        if arm not in every:
            raise unknown_name("arm of a study of gain", arm, every)
    return Study(
        what="train",
        recipe=recipe,
        changes=changes | ABSOLUTE,
        arms={arm: fields for arm, fields in every.items() if arms is None or arm in arms},
        against=BASELINE,
        seeds=range(seeds),
    )


def headroom_study(images, epochs, smoke=False):
    """How much better attention could get: trained attention learns on from the true direction.

    Everything else is frozen. The arm `seen` learns from the images that the network was trained on, the
    arm `unseen` from all validation images: from more than any critic could know.

    Args:
        images, epochs: those of the network's training, see `gain_study`.
        smoke: bool. Shrunk to seconds, on digits.
    Returns:
        `Study` on three seeds; two where shrunk.
    Example:
        >>> headroom_study(images=5000, epochs=30).options_of("unseen").learn_from
        'validation'
    """
    recipe, seeds = "cifar10_resnet8_se", range(3)
    changes = {
        "data.image_size": 16,
        "augment.crop_padding": 2,
        "data.train_limit": images,
        "data.validation_fraction": 0.2,
        "schedule.epochs": epochs,
        "run.figures": 0.0,
    }
    options = {"reinitialise": False, "learning_rate": 0.15, "decay": "cosine"}
    options |= {"steps": 500, "probes": 5, "images": 10_000}
    if smoke:
        recipe, seeds = "digits_resnet8_se", range(2)
        changes = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
        options |= {"steps": 10, "probes": 2, "images": 60}
    return Study(
        what="actor_only",
        recipe=recipe,
        changes=changes | {"dreal.critic": "direct", "dreal.trust": False},
        arms={"seen": {}, "unseen": {"actor_only.learn_from": "validation"}},
        seeds=seeds,
        actor_only=ActorOnly(**options),
    )
