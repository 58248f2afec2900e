"""Whatever part is imported first, Keras knows our classes, and nothing is seen half made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
KNOWN = """
import keras
for name in ("DREAL", "SqueezeExcite", "PaperCritic", "WarmUp"):
    assert keras.saving.get_registered_object(f"dreal_tf>{name}") is not None, name
"""


@pytest.mark.parametrize(
    "first", ["import dreal_tf.layers", "import dreal_tf.critics", "import keras, dreal_tf"]
)
def test_a_part_can_be_imported_first(first):
    process = subprocess.run(
        [sys.executable, "-c", first + KNOWN],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
