"""The verbs of the command line, and their exit codes."""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path

import typer

from dreal_tf.cli.audit import audit
from dreal_tf.cli.benchmark import benchmark
from dreal_tf.cli.doctor import doctor
from dreal_tf.cli.evaluate import evaluate
from dreal_tf.cli.export import export
from dreal_tf.cli.index import index, search
from dreal_tf.cli.output import QuietTensorFlow, SayHandler, say
from dreal_tf.cli.predict import predict
from dreal_tf.cli.prune import prune
from dreal_tf.cli.recipes import recipes
from dreal_tf.cli.report import report
from dreal_tf.cli.study import study
from dreal_tf.cli.train import train
from dreal_tf.cli.tune import tune
from dreal_tf.errors import InputError, RunError, unknown_name

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

app = typer.Typer(
    help="Deep reinforced attention learning: attention modules trained by critics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS = (train, evaluate, report, export, predict, index, search)
VERBS += (audit, prune, benchmark, study, tune, recipes, doctor)


for verb in VERBS:
    app.command()(verb)
# One of each, even if `main` is called again.
HANDLER, FINDER = SayHandler(), QuietTensorFlow()


def main(arguments=None):
    """Runs one verb and exits: 0 done, 2 wrong input, 130 interrupted, 1 anything else.

    Args:
        arguments: sequence of str, or None for those of the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.formatwarning = _warning
    logging.getLogger("dreal_tf").addHandler(HANDLER)
    logging.getLogger("dreal_tf").setLevel(logging.INFO)
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    # On Windows Python would write the code page into a file or pipe, which we could not read back.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    interrupted = f"Interrupted. {KEPT.get(next(iter(arguments), None), NOTHING_KEPT)}"
    try:
        with _ended_by_signals(interrupted):
            _check_verb(arguments)
            _check_backend()
            app(arguments, standalone_mode=True)
    except (InputError, RunError) as error:
        say(f"Error: {error}")
        sys.exit(WRONG_INPUT if isinstance(error, InputError) else FAILED)
    except KeyboardInterrupt:
        say(interrupted)
        sys.exit(INTERRUPTED)
    except SystemExit as end:  # Typer exits by itself, on an interrupt too.
        if end.code == INTERRUPTED:
            say(interrupted)
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
            say(message)
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


def _check_verb(arguments):
    verbs = [command.callback.__name__ for command in app.registered_commands]
    if arguments and not arguments[0].startswith("-") and arguments[0] not in verbs:
        raise unknown_name("verb", arguments[0], verbs)


def _check_backend():
    """Refuses a backend other than TensorFlow, which Keras reads from the environment or its file."""
    backend, source = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if backend is None:
        home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
        source = str(home / "keras.json")
        try:
            backend = json.loads(Path(source).read_text(encoding="utf-8")).get("backend", "tensorflow")
        except (OSError, json.JSONDecodeError):
            return  # Keras then takes its default, TensorFlow.
    if backend != "tensorflow":
        raise InputError(
            f"Expected Keras's backend to be 'tensorflow'. Received: {source} says {backend!r}. "
            "Run again with KERAS_BACKEND=tensorflow."
        )


if __name__ == "__main__":
    main()
