"""TensorFlow loaded without the lines it prints at every start."""

import importlib
import os
import re
import sys
import tempfile

# Informational lines of TensorFlow's C++ side, which no setting keeps off standard error.
_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|I0000 |E0000 .*(cuInit|factory for plugin cu)"
    rb"|W0000 .*computation placer already registered)"
)


def import_quietly(module):
    """Imports a module; what it writes to standard error is passed on but for known noise.

    Args:
        module: str, dotted name.
    Returns:
        The module.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            return importlib.import_module(module)
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not _NOISE.match(line):
                    sys.stderr.write(line.decode(errors="replace"))
