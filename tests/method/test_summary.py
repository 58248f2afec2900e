"""The line that says what the method did: its figures by hand, and the reason where it did little."""

import math

import pytest

from dreal_tf.method.summary import summarise_method

MODULES = ["conv2_1/se", "conv3_1/se"]


def curves(ratios, trust=(0.5, 0.6), of_modules=(0.2, 0.4)):
    made = {"actor_grad_ratio": list(ratios)}
    for module, value, trusted in zip(MODULES, of_modules, trust, strict=True):
        made[f"actor_grad_ratio/{module}"] = [value] * len(ratios)
        made[f"trust/{module}"] = [0.0] * (len(ratios) - 1) + [trusted]
    return made


def summary(ratios, weight=0.5, trust=(0.5, 0.6), **settings):
    return summarise_method(curves(ratios, trust), MODULES, weight, **settings)


def test_the_first_two_epochs_do_not_count():
    made = summary([9.0, 9.0, 0.2, 0.4])
    assert made.actor_grad_ratio == pytest.approx(0.3)
    assert made.line == (
        "DREAL: actor gradient 30 % of the task gradient on the attention weights (mean after epoch 2); "
        "critics trusted in 2 of 2 modules."
    )
    assert made.to_json()["modules"]["conv3_1/se"] == {
        "actor_grad_ratio": pytest.approx(0.4),
        "trust": 0.6,
    }


def test_of_a_short_training_all_epochs_count_and_of_a_late_start_those_with_the_method():
    assert "(mean of 2 epochs)" in summary([0.2, 0.4]).line
    late = summary([math.nan, math.nan, math.nan, 9.0, 9.0, 0.5])
    assert late.actor_grad_ratio == 0.5 and "(mean after epoch 5)" in late.line
    assert "before the method began" in summary([math.nan, math.nan]).line


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (dict(weight=0.0), "actor_weight is 0."),
        (dict(warmup=0.2), "its weight had risen to only 20 % when training ended (actor_warmup)."),
        (
            dict(trust=(0.0, 0.01)),
            "no critic was trusted, which takes more epochs or a larger reward_fraction.",
        ),
        (
            dict(weight=0.001),
            "the weight is low (actor_weight=0.001) or the critics have little trust.",
        ),
    ],
)
def test_if_it_did_next_to_nothing_it_says_why(settings, reason):
    line = summary([0.004] * 4, **settings).line
    assert "actor gradient 0.4 % of" in line and line.endswith(f"next to nothing: {reason}")


def test_without_trust_and_without_a_critic():
    untrusted = summarise_method({"actor_grad_ratio": [0.5]}, MODULES, 0.5, trust=False)
    assert "critics followed in full (trust is off)" in untrusted.line
    assert untrusted.modules["conv2_1/se"]["trust"] is None
    assert summarise_method({}, [], 0.5).line.startswith("DREAL: off")
