"""XLA, in a process of its own: the other tests fix the order of operations, which keeps XLA off."""

import pytest
from fresh_process import ended

CODE = """
import sys
import keras, numpy as np
from support import logits_loss, small_data, small_network
from dreal_tf import DREAL

images, labels = small_data(16)
for arguments in sys.argv[1:]:
    settings = dict(zip(("estimator", "update", "critic"), arguments.split()))
    model = DREAL(small_network(), actor_weight=0.5, instrument_fraction=0.0, **settings)
    model.compile(keras.optimizers.SGD(0.1), loss=logits_loss(), jit_compile=True)
    assert model.jit_compile
    options = dict(batch_size=8, validation_data=(images, labels), verbose=0)
    history = model.fit(images, labels, **options).history
    assert all(np.isfinite(curve).all() for curve in history.values()), (settings, history)
"""


SETTINGS = (
    "sampled simultaneous paper",
    "exact alternating paper",
    "sampled simultaneous comparative",
)


@pytest.mark.slow
def test_a_step_compiles_and_trains():
    process = ended("-c", CODE, *SETTINGS, TF_CPP_MIN_LOG_LEVEL="3")
    assert process.returncode == 0, process.stderr[-2000:]
