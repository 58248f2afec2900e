"""The verbs of the command line, and their exit codes."""

import contextlib
import errno
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
import traceback
import warnings
from typing import Annotated

import typer

import dreal_tf
from dreal_tf.cli.audit import audit
from dreal_tf.cli.benchmark import benchmark
from dreal_tf.cli.doctor import doctor
from dreal_tf.cli.evaluate import evaluate
from dreal_tf.cli.export import export
from dreal_tf.cli.index import index, search
from dreal_tf.cli.options import with_verbosity
from dreal_tf.cli.output import LOG, QuietTensorFlow, SayHandler, is_verbose, result, say, set_verbosity
from dreal_tf.cli.predict import predict
from dreal_tf.cli.prune import prune
from dreal_tf.cli.recipes import recipes
from dreal_tf.cli.report import report
from dreal_tf.cli.study import study
from dreal_tf.cli.train import train
from dreal_tf.cli.tune import tune
from dreal_tf.data.files import bytes_of
from dreal_tf.errors import InputError, RunError, received, shortened, unknown_name
from dreal_tf.training.run_directory import installed_version

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 5  # Seconds that an interrupted command is given to end by itself.
NOTHING_KEPT = "Nothing is kept; the same command starts again."
KEPT = {
    "train": "Finished epochs are kept; the same command continues from there.",
    "prune": "Finished epochs of fine-tuning are kept; the same command continues from there.",
    "study": "Finished runs are kept; the same command continues from there.",
    "tune": "Finished epochs of each run are kept; the same command continues from there.",
}
LONGEST_OPTION = 100  # Letters of an option's name, far more than any has.
# The system's reasons to refuse a path that a user gave.
WRONG_PATH = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR}
WRONG_PATH |= {errno.EISDIR}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS = (train, evaluate, report, export, predict, index, search)
VERBS += (audit, prune, benchmark, study, tune, recipes, doctor)


for verb in VERBS:
    app.command()(with_verbosity(verb))


def _version(is_set: bool):
    if is_set:
        versions = (f"{name} {installed_version(name)}" for name in ("tensorflow", "keras"))
        result({}, False, [f"dreal-tf {dreal_tf.__version__} ({', '.join(versions)})"])
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print versions and exit."),
    ] = False,
):
    """Deep reinforced attention learning: attention modules trained by critics."""


# Settings in Keras's file: Keras cannot be imported with others, nor are networks built here with channels first.
KERAS_SETTINGS = {
    "image_data_format": ("'channels_last'", lambda value: value == "channels_last"),
    "floatx": ("'float32'", lambda value: value in ("float16", "float32", "float64")),
    "epsilon": ("a number such as 1e-07", lambda value: isinstance(value, float)),
}
# One of each, even if `main` is called again.
HANDLER, FINDER = SayHandler(), QuietTensorFlow()


def main(arguments=None):
    """Runs one verb and exits: 0 done, 2 wrong input, 130 interrupted, 1 anything else.

    Args:
        arguments: sequence of str, or None for those of the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.formatwarning = _warning
    LOG.addHandler(HANDLER)
    set_verbosity(logging.INFO)
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    for number in range(3):  # A closed stream goes nowhere; else another file would take its number.
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has none for a stream that was closed.
    sys.stdout, sys.stderr = (
        stream or io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        for stream in (sys.stdout, sys.stderr)
    )
    # Python would write the code page of Windows, or of a locale such as C, into a file or pipe.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    interrupted = f"Interrupted. {KEPT.get(next(iter(arguments), None), NOTHING_KEPT)}"
    try:
        with _ended_by_signals(interrupted):
            _check_verb(arguments)
            _check_backend()
            app(arguments, standalone_mode=True)
    except KeyboardInterrupt:
        say(interrupted, essential=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        code, message = explained(error)
        if message is None:
            raise
        if is_verbose():
            traceback.print_exc()
        say(f"Error: {message}", essential=True)
        sys.exit(code)
    except SystemExit as end:  # Typer exits by itself, on an interrupt too.
        if end.code == INTERRUPTED:
            say(interrupted, essential=True)
        raise


def _warning(message, category, filename, lineno, line=None):
    """A warning as a line for the user, without file and line number."""
    return f"Warning: {message}\n"


@contextlib.contextmanager
def _ended_by_signals(message):
    """SIGTERM ends a command as Ctrl-C does; either ends it even if the main thread never returns to Python.

    TensorFlow waits for other workers in C++, where Python handles no signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread receives and sets up signals.
        return
    ended = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def end_late():
        with receiver:
            while (number := receiver.recv(1)) and number[0] not in SIGNALS:
                pass
        if number and not ended.wait(GRACE):
            say(message, essential=True)
            os._exit(INTERRUPTED)  # Files are written whole: none is left half done.

    threading.Thread(target=end_late, daemon=True).start()
    terminate = signal.signal(signal.SIGTERM, _interrupt)
    wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, terminate)
        sender.close()


def _interrupt(number, frame):
    raise KeyboardInterrupt


def explained(error):
    """An error as the command line reports it.

    Args:
        error: Exception.
    Returns:
        Pair: the exit code, and the message; None for an error of the program, which keeps its traceback.
    """
    code, message, kind = FAILED, None, type(error).__name__
    if isinstance(error, InputError | RunError):
        code, message = WRONG_INPUT if isinstance(error, InputError) else FAILED, error
    elif isinstance(error, FileNotFoundError) and error.filename is None:
        code = WRONG_INPUT
        message = (
            "Expected to run in a folder that exists, with another for temporary files. Received: "
            f"{error.strerror}. Change to another folder, or set TMPDIR."
        )
    elif isinstance(error, OSError) and error.errno in WRONG_PATH and error.filename is not None:
        code = WRONG_INPUT
        message = (
            f"Expected a path that can be read or written. Received: {received(str(error.filename))} "
            f"({error.strerror}). Choose another, or change its permissions."
        )
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"Expected space to write. Received: {error}. Free some, and repeat the command."
    elif isinstance(error, MemoryError) or kind == "ResourceExhaustedError":  # TensorFlow's.
        reason = f" ({shortened(str(error).splitlines()[0], 200)})" if str(error) else ""
        message = (
            f"Expected enough memory. Received: none left{reason}. Lower data.batch_size, data.image_size "
            "or backbone.width, or take a larger machine."
        )
    elif kind == "InvalidArgumentError":  # TensorFlow's, so that this import loads nothing.
        from dreal_tf.data.image_files import message_of

        code, message = WRONG_INPUT, message_of(error)
    return code, message


def _check_verb(arguments):
    verbs = [command.callback.__name__ for command in app.registered_commands]
    if arguments and not arguments[0].startswith("-") and arguments[0] not in verbs:
        raise unknown_name("verb", arguments[0], verbs)
    for option in (argument.partition("=")[0] for argument in arguments if argument.startswith("--")):
        if len(option) > LONGEST_OPTION:  # Typer would repeat it in full.
            raise InputError(
                f"Expected an option of the verb {arguments[0]!r}. Received: {received(option)}. Choose one of "
                f"`dreal-tf {arguments[0]} --help`."
            )


def _check_backend():
    """Refuses settings of Keras, in the environment or its file, with which no network here works."""
    home = os.path.expanduser("~")
    folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")  # As Keras does.
    source = os.path.join(os.environ.get("KERAS_HOME", folder), "keras.json")
    try:
        settings = json.loads(bytes_of(source)) if os.path.exists(source) else {}
    except ValueError:
        settings = {}  # Not JSON: Keras takes its defaults.
    except (OSError, RecursionError) as error:
        settings = error
    if not isinstance(settings, dict):
        raise InputError(
            f"Expected Keras's settings as a JSON object. Received: {source}, which holds "
            f"{received(settings)}. Remove it; Keras writes a new one."
        )
    backend = os.environ.get("KERAS_BACKEND", settings.get("backend", "tensorflow"))
    if backend != "tensorflow":
        origin = "KERAS_BACKEND" if "KERAS_BACKEND" in os.environ else source
        raise InputError(
            f"Expected Keras's backend to be 'tensorflow'. Received: {origin} says {received(backend)}. "
            "Run again with KERAS_BACKEND=tensorflow."
        )
    for name, (expected, fits) in KERAS_SETTINGS.items():
        if name in settings and not fits(settings[name]):
            raise InputError(
                f"Expected Keras's {name} to be {expected}. Received: {source} says "
                f"{received(settings[name])}. Change it there, or remove the file; Keras writes a new one."
            )


if __name__ == "__main__":
    main()
