"""XLA, in a process of its own: the other tests fix the order of operations, which keeps XLA off."""

import pytest
from fresh_process import ended

CODE = """
import sys
import keras, numpy as np
from support import logits_loss, small_data, small_network
from dreal_tf import DREAL

estimator, update, critic = sys.argv[1:]
images, labels = small_data(16)
model = DREAL(
    small_network(), critic=critic, estimator=estimator, update=update, actor_weight=0.5,
    instrument_fraction=0.0,
)
model.compile(keras.optimizers.SGD(0.1), loss=logits_loss(), jit_compile=True)
assert model.jit_compile
history = model.fit(images, labels, batch_size=8, validation_data=(images, labels), verbose=0).history
assert all(np.isfinite(curve).all() for curve in history.values()), history
"""


@pytest.mark.parametrize(
    ("estimator", "update", "critic"),
    [
        ("sampled", "simultaneous", "paper"),
        ("exact", "alternating", "paper"),
        ("sampled", "simultaneous", "comparative"),
    ],
)
def test_a_step_compiles_and_trains(estimator, update, critic):
    process = ended("-c", CODE, estimator, update, critic, TF_CPP_MIN_LOG_LEVEL="3")
    assert process.returncode == 0, process.stderr[-2000:]
