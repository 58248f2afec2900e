"""Whatever part is imported first, Keras knows our classes, and nothing is seen half made."""

import pytest
from fresh_process import ended

KNOWN = """
import keras
for name in ("DREAL", "SqueezeExcite", "PaperCritic", "WarmUp"):
    assert keras.saving.get_registered_object(f"dreal_tf>{name}") is not None, name
"""


@pytest.mark.parametrize(
    "first",
    [
        "import dreal_tf.layers",
        "import dreal_tf.training.optimizers",
        "import dreal_tf.method.critics",
        "import dreal_tf.method.formulas",
        "import dreal_tf.networks.backbones.backbone",
        "import keras, dreal_tf",
    ],
)
def test_a_part_can_be_imported_first(first):
    process = ended("-c", first + KNOWN)
    assert process.returncode == 0, process.stderr[-2000:]
