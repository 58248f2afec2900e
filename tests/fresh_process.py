"""Python in processes of its own, which know nothing of what the tests have imported."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
PREPARED = REPOSITORY.parent / "shared" / "data" / "tfds"  # Real data sets; not there everywhere.
COMMAND = ("-m", "dreal_tf")


def started(*arguments, folder=None, own_group=False, **environment):
    """`python ARGUMENTS` in the background, as a `subprocess.Popen` whose outputs are text."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, TESTS)))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0 if own_group else None,
    )


def ended(*arguments, folder=None, **environment):
    """The same to its end, as a `subprocess.CompletedProcess`."""
    process = started(*arguments, folder=folder, **environment)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
