"""Keras's bar shows the whole network's logs; history and callbacks get all of them."""

import re

import keras
import pytest
from support import compiled, small_data

IMAGES, LABELS = small_data(16)


def shown(printed):
    """The names in the last state of the bar."""
    last = re.split(r"[\r\x08]+", printed.strip())[-1].splitlines()[0]
    return re.findall(r"([\w/]+): ", last)


@pytest.fixture(scope="module")
def model():
    return compiled(instrument_fraction=1.0, eager=True)


def test_fit_shows_what_fits_a_line_and_logs_everything(model, capsys):
    history = model.fit(IMAGES, LABELS, validation_data=(IMAGES, LABELS), batch_size=8).history
    names, printed = (
        ["accuracy", "loss", "critic_loss", "actor_loss", "reward"],
        capsys.readouterr().out,
    )
    assert shown(printed) == names + [f"val_{name}" for name in names]
    assert printed.endswith(f"{model.method_summary().line}\n") and "actor gradient" in printed
    assert "trust/conv2_1/se" in history and "val_alignment/conv2_1/se" in history


def test_evaluate_shows_them_too_and_returns_all(model, capsys):
    results = model.evaluate(IMAGES, LABELS, batch_size=8, return_dict=True)
    assert shown(capsys.readouterr().out) == ["accuracy", "loss", "critic_loss", "actor_loss", "reward"]
    assert "reward/conv2_1/se" in results


@pytest.mark.parametrize("own", [True, False])
def test_silence_and_the_users_own_bar_are_respected(model, capsys, own):
    callbacks = [keras.callbacks.ProgbarLogger()] if own else None
    model.fit(IMAGES, LABELS, 8, 1, 1 if own else 0, callbacks)
    printed = capsys.readouterr().out
    assert ("trust/conv2_1/se" in printed) == own and "DREAL" not in printed
