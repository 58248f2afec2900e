"""One job in a process of its own.

The job is a line of JSON on standard input, the answer a file. Standard input stays open as long as the
command lives; the worker ends when it closes.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from dreal_tf.errors import DivergedError, InputError, RunError
from dreal_tf.storage import write_json
from dreal_tf.training.plugins import load_plugins, loaded_plugins
from dreal_tf.training.processes import module_command

INTERRUPTED = 130
# Errors that a worker passes on; any other error it logs.
ERRORS = {kind.__name__: kind for kind in (InputError, DivergedError, RunError)}
PATIENCE = 10  # Seconds that a worker is given to end by itself.
SHOWN = 12  # Lines of a failed worker's log that the message quotes.


def run_job(name, arguments, answer, log):
    """Starts a worker for one job and waits for it.

    Args:
        name: str, a key of `dreal_tf.experiments.jobs.JOBS`.
        arguments: dict of the job's arguments; JSON must be able to hold them.
        answer: path of a file that the worker leaves and this function removes.
        log: path of the file for the worker's output; its name without suffix is the run's name.
    Returns:
        The job's result.
    Raises:
        InputError, DivergedError, RunError: the worker's error, or that the worker broke off.
    """
    answer, log = Path(answer), Path(log)
    answer.unlink(missing_ok=True)  # An earlier command may have been killed before it read its answer.
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        worker = subprocess.Popen(
            module_command(__name__),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            order = {"name": name, "arguments": arguments, "answer": str(answer)}
            order["plugins"] = loaded_plugins()
            worker.stdin.write(json.dumps(order).encode() + b"\n")
            worker.stdin.flush()
            worker.wait()
        except BrokenPipeError:  # It could not even start; its log says why.
            worker.wait()
        finally:
            _end(worker)
    reply = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}
    answer.unlink(missing_ok=True)
    if reply.get("error") in ("InputError", "DivergedError"):
        raise ERRORS[reply["error"]](reply["message"])
    if "done" not in reply:
        logged = log.read_text(encoding="utf-8", errors="replace")  # Libraries write any encoding.
        reason = reply.get("message") or "\n".join(logged.splitlines()[-SHOWN:])
        raise RunError(
            f"Expected the run {log.stem} to end well. Received: exit code {worker.returncode}, and\n"
            f"{reason}\nMend what it says ({log} has all of it) and repeat the command; finished runs "
            "are kept."
        )
    return reply["done"]


def main():
    """Reads a job, does it, and leaves the answer: its result, or its error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the command decides.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logger = logging.getLogger("dreal_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_command, daemon=True).start()
    # Imports TensorFlow; the thread can end the process meanwhile.
    from dreal_tf.experiments.jobs import JOBS

    try:
        load_plugins(order["plugins"])
        answer = {"done": JOBS[order["name"]](**order["arguments"])}
    except tuple(ERRORS.values()) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    write_json(Path(order["answer"]), answer)


def _end_with_command():
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(INTERRUPTED)  # Files are written as a whole: none is left half done.


def _end(worker):
    """No worker outlives the command."""
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()  # The worker ends when it sees this.
    try:
        worker.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


if __name__ == "__main__":
    main()
