"""Commands in this process, for tests of their output: nothing waits for another TensorFlow."""

import contextlib
import io
import subprocess
from pathlib import Path

from dreal_tf.cli.main import main


def called(*arguments, folder=None):
    """`dreal-tf ARGUMENTS`, as a `subprocess.CompletedProcess` whose outputs are text."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    errors = io.TextIOWrapper(
        io.BytesIO(), encoding="utf-8", errors="backslashreplace"
    )  # As Python's own.
    arguments = [str(argument) for argument in arguments]
    code = 0
    with (
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code or 0
    texts = []
    for stream in (output, errors):
        stream.seek(0)
        texts.append(stream.read())
    return subprocess.CompletedProcess(arguments, code, *texts)
