"""The settings of the method, checked before anything is built on them."""

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.method.critics import CRITICS, Critic
from dreal_tf.method.rewards import BASELINES, ESTIMATORS
from dreal_tf.networks.backbones import Trajectory, actors_of

UPDATES = ("simultaneous", "alternating")


def check_settings(network, critic, settings):
    """Refuses what `DREAL` cannot train.

    Args:
        network: the network given to `DREAL`.
        critic: the critic given to `DREAL`: a name, a `Critic` or None.
        settings: dict of its other arguments.
    Raises:
        ValueError: in three parts: what was expected, what came, what to do.
    """
    outputs = getattr(network, "output", None)
    if not isinstance(outputs, dict) or not {"logits", "states", "actions"} <= set(outputs):
        raise InputError(
            "Expected a functional network whose output is a dict of 'logits', 'states' and "
            f"'actions'. Received: {type(network).__name__} with output {outputs!r}. Build it with "
            "`dreal_tf.residual_network`, or give any other network to `dreal_tf.attach`."
        )
    if critic is None:
        return
    if isinstance(critic, str) and critic not in CRITICS:
        raise unknown_name("critic", critic, CRITICS)
    if not isinstance(critic, str | Critic):
        raise InputError(
            f"Expected a critic's name, a `Critic` or None. Received: {critic!r}. Pass one of "
            f"{', '.join(CRITICS)}, or an instance of your subclass of `Critic`."
        )
    if not actors_of(network):
        raise InputError(
            "Expected a network with attention for a critic to judge. Received: a network without "
            "attention actors. Give it attention, or train it with critic=None."
        )
    for what, known in (("estimator", ESTIMATORS), ("baseline", BASELINES), ("update", UPDATES)):
        if settings[what] not in known:
            raise unknown_name(what, settings[what], known)
    for name in ("reward_fraction", "validation_fraction"):
        if not 0 < settings[name] <= 1:
            raise InputError(
                f"`{name}` must be above 0 and at most 1. Received: {name}={settings[name]}. "
                "Give the share of a batch to measure, such as 0.5."
            )
    _check_instruments(settings["instrument_fraction"])
    for name in ("actor_weight", "actor_warmup", "penalty"):
        if settings[name] < 0:
            raise InputError(
                f"`{name}` must be at least 0. Received: {name}={settings[name]}. Raise it."
            )
    _check_stages(network, settings["stages"])
    if settings["baseline"] == "identity":
        _check_identity(network)


def _check_instruments(fraction):
    if not 0 <= fraction <= 1:
        raise InputError(
            f"`instrument_fraction` must be from 0 to 1. Received: instrument_fraction={fraction}. "
            "Give the share of a validation batch to try the critic on, such as 0.0625; 0 for none."
        )


def _check_identity(network):
    for actor in actors_of(network):
        for index, module in enumerate(actor.modules()):
            if not actor.has_identity(index):
                raise InputError(
                    "Expected actors that can pass their state through, for the baseline 'identity'. "
                    f"Received: {module!r}, which mixes places. Use the baseline 'mean'."
                )


def _check_stages(network, stages):
    known = Trajectory(network).stages
    for stage in known if stages is None else stages:
        if stage not in known:
            raise unknown_name("stage that has attention", stage, known)
    if stages is not None and not stages:
        raise InputError(
            f"`stages` must name at least one of {', '.join(sorted(known))}. Received: none. "
            "Name some, leave it out for all, or train with critic=None."
        )
