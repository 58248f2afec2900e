"""Commands and scripts in this process: one of their own would load TensorFlow anew."""

import contextlib
import io
import subprocess
import sys
from unittest import mock

from dreal_tf.cli.main import main as dreal_tf


def called(main, *arguments, folder="."):
    """Calls a `main` with a command line, in a folder: a `subprocess.CompletedProcess`."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = None
    with (
        mock.patch.object(sys, "argv", ["command", *map(str, arguments)]),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        if isinstance(code, str):  # As Python does when a process ends.
            print(code, file=sys.stderr)
            code = 1
    texts = [stream.buffer.getvalue().decode() for stream in (output, errors)]
    return subprocess.CompletedProcess(arguments, code or 0, *texts)


def command(*arguments, folder="."):
    """`dreal-tf ARGUMENTS`, see `called`."""
    return called(dreal_tf, *arguments, folder=folder)
