"""Whatever part is imported first, Keras knows our classes, and nothing is seen half made."""

import os

import pytest
from fresh_process import ended

PARTS = (
    "import dreal_tf.layers",
    "import dreal_tf.training.optimizers",
    "import dreal_tf.method.critics",
    "import dreal_tf.method.formulas",
    "import dreal_tf.networks.backbones.backbone",
    "import keras, dreal_tf",
)
# One process imports TensorFlow; a fork of it imports each part.
FORKS = f"""
import os, keras, tensorflow
for first in {PARTS}:
    child = os.fork()
    if not child:
        exec(first)
        for name in ("DREAL", "SqueezeExcite", "PaperCritic", "WarmUp"):
            assert keras.saving.get_registered_object(f"dreal_tf>{{name}}") is not None, (first, name)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, first
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_any_part_can_be_imported_first():
    process = ended("-c", FORKS)
    assert process.returncode == 0, process.stderr[-2000:]
