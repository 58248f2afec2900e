"""A summary of the method in a training: one line, and the figures behind it by module."""

import math
from typing import NamedTuple

SETTLED = 2  # Epochs that means skip, if there are more: critics are ignorant at first.
LITTLE = 0.05  # Below this fraction of the task gradient the method did next to nothing.
TRUSTED = 0.05  # From this trust on a critic counts as trusted.


class MethodSummary(NamedTuple):
    """A summary of the method in a training.

    Attributes:
        line: str.
        actor_grad_ratio: float or None. Length of the actor loss's gradient over the task loss's on all
            attention weights, a mean over epochs.
        modules: dict by module of dicts of `actor_grad_ratio`, the same on the weights of the module, and
            `trust`, of the last epoch.
    """

    line: str
    actor_grad_ratio: float | None
    modules: dict

    def to_json(self):
        """A dict that JSON can hold."""
        return self._asdict()


def summarise_method(curves, modules, weight, trust=True, warmup=1.0):
    """Summarises how far the method acted, from the logs of a training.

    Args:
        curves: dict from logged name to a value for each epoch; NaN or None where nothing was logged.
        modules: list of str, the modules that take part; empty without a critic.
        weight: float, the weight of the actor loss.
        trust: bool. Whether actors follow their critics only as far as these are trusted.
        warmup: float from 0 to 1. The fraction of the weight's warm-up that training has reached.
    Returns:
        `MethodSummary`.
    Example:
        >>> curves = {"actor_grad_ratio": [0.0, 0.2, 0.3, 0.32], "trust/a": [0.0, 0.1, 0.5, 0.6]}
        >>> print(summarise_method(curves, ["a"], weight=0.5).line)
        DREAL: actor gradient 31 % of the task gradient on the attention weights (mean after epoch 2); critics trusted in 1 of 1 module.
    """
    if not modules:
        return MethodSummary("DREAL: off; the task loss alone trained the attention.", None, {})
    epochs = [
        epoch for epoch, value in enumerate(curves.get("actor_grad_ratio", ())) if _is_number(value)
    ]
    if not epochs:
        line = "DREAL: did nothing; the training ended before the method began."
        return MethodSummary(line, None, {})
    settled = [epoch for epoch in epochs if epoch >= epochs[0] + SETTLED] or epochs
    span = (
        f"mean after epoch {settled[0]}"
        if settled[0]
        else f"mean of {_with_noun(len(settled), 'epoch')}"
    )

    def mean(name):
        values = [curves[name][epoch] for epoch in settled if name in curves]
        return sum(values) / len(values) if values else 0.0

    of_modules = {}
    for module in modules:
        last = curves[f"trust/{module}"][epochs[-1]] if f"trust/{module}" in curves else None
        of_modules[module] = {"actor_grad_ratio": mean(f"actor_grad_ratio/{module}"), "trust": last}
    ratio = mean("actor_grad_ratio")
    followed = [values["trust"] for values in of_modules.values() if (values["trust"] or 0) >= TRUSTED]
    critics = f"critics trusted in {len(followed)} of {_with_noun(len(modules), 'module')}"
    line = (
        f"DREAL: actor gradient {_percent(ratio)} of the task gradient on the attention weights ({span}); "
        f"{critics if trust else 'critics followed in full (trust is off)'}."
    )
    if ratio < LITTLE:
        line += f" The method did next to nothing: {_reason(weight, warmup, trust and not followed)}."
    return MethodSummary(line, ratio, of_modules)


def _reason(weight, warmup, distrusted):
    if weight == 0:
        return "actor_weight is 0"
    if distrusted:
        return "no critic was trusted, which takes more epochs or a larger reward_fraction"
    if warmup < 1 / 2:
        return f"its weight had risen to only {_percent(warmup)} when training ended (actor_warmup)"
    return f"the weight is low (actor_weight={weight:g}) or the critics have little trust"


def _percent(fraction):
    """A fraction in percent, with a decimal below ten."""
    digits = 0 if fraction >= 0.0995 or fraction < 0.0005 else 1
    return f"{100 * fraction:.{digits}f} %"


def _with_noun(count, noun):
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _is_number(value):
    return value is not None and not math.isnan(value)
