"""Work done in a process of its own, which ends when the process that asked for it does.

The job is a line of JSON on standard input, the answer a file. Standard input stays open for as long
as the command that asked lives; when it is gone, so is the worker.
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
from dreal_tf.training.run_directory import write_whole

GONE = 130
PATIENCE = 10  # Seconds that a worker is given to end by itself.
SHOWN = 12  # Lines of a failed worker's log that the message quotes.


def run_job(module, job, answer, log):
    """Has a fresh process do a job, and waits for it.

    Args:
        module: str, dotted name of a module whose `main` calls `serve_job`.
        job: what JSON can hold.
        answer: path where the worker leaves its answer for a moment.
        log: path of the file that takes what it prints; its name without ending is the run's name.
    Returns:
        What the worker's function returned.
    Raises:
        InputError, DivergedError, RunError: what the worker raised, or that it broke off.
    """
    answer, log = Path(answer), Path(log)
    answer.unlink(missing_ok=True)  # Of a command that ended before it had read it.
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            order = {"job": job, "answer": str(answer)}
            worker.stdin.write(json.dumps(order).encode() + b"\n")
            worker.stdin.flush()
            worker.wait()
        except BrokenPipeError:  # It could not even start; its log says why.
            worker.wait()
        finally:
            _end(worker)
    said = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}
    answer.unlink(missing_ok=True)
    if "wrong_input" in said:
        raise InputError(said["wrong_input"])
    if "diverged" in said:
        raise DivergedError(said["diverged"])
    if "done" not in said:
        logged = log.read_text(encoding="utf-8", errors="replace")  # Libraries write any encoding.
        last = said.get("failed") or "\n".join(logged.splitlines()[-SHOWN:])
        raise RunError(
            f"Expected the run {log.stem} to end well. Received: exit code {worker.returncode}, and\n"
            f"{last}\nMend what it says ({log} has all of it) and repeat the command; finished runs "
            "are kept."
        )
    return said["done"]


def serve_job(do):
    """Reads a job, does it, and leaves the answer: what came of it, or what went wrong.

    Args:
        do: callable that takes the job and returns what JSON can hold. It imports TensorFlow, so that
            the process can end with its asker while that is being loaded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; who asked decides.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logger = logging.getLogger("dreal_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_asker, daemon=True).start()
    try:
        answer = {"done": do(order["job"])}
    except InputError as error:
        answer = {"wrong_input": str(error)}
    except DivergedError as error:
        answer = {"diverged": str(error)}
    except RunError as error:
        answer = {"failed": str(error)}
    write_whole(Path(order["answer"]), json.dumps(answer) + "\n")


def _end_with_asker():
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(GONE)  # Files are written whole, so that nothing is left half done.


def _end(worker):
    """Whatever happened, no worker outlives the command."""
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()  # It ends when this does.
    try:
        worker.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
