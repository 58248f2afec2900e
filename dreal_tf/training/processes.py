"""Starts modules of this package in processes of their own."""

import sys
from pathlib import Path

# It loads this very package, installed or not, and nothing from the current folder, where a file of the
# user may have the name of any library. `-P` keeps the folder off `sys.path`; PYTHONPATH counts as usual.
START = """
import importlib.util, runpy, sys
spec = importlib.util.spec_from_file_location("dreal_tf", sys.argv.pop(1))
sys.modules["dreal_tf"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


def module_command(name):
    """The command that runs a module of this package, as `python -m` does.

    Args:
        name: str, such as "dreal_tf.experiments.worker".
    Returns:
        List of str, for `subprocess`.
    Example:
        >>> module_command("dreal_tf.experiments.worker")[-1]
        'dreal_tf.experiments.worker'
    """
    package = Path(__file__).resolve().parents[1] / "__init__.py"
    return [sys.executable, "-P", "-c", START, str(package), name]
