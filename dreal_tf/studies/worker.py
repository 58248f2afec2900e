"""One job of a study in a process of its own: `python -m dreal_tf.studies.worker`.

The job is a line of JSON on standard input, the answer a file. Standard input stays open for as long
as the command that asked lives; when it is gone, so is the worker.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from dreal_tf.errors import InputError, RunError
from dreal_tf.run_directory import write_whole
from dreal_tf.studies.study import Study

GONE = 130


def main():
    """Reads a job, does it, and leaves the answer: a row, or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; who asked decides.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_asker, daemon=True).start()
    from dreal_tf.studies.experiments import EXPERIMENTS, Place

    study = Study.model_validate(job["study"])
    try:
        row = EXPERIMENTS[job["experiment"]](study, job["arm"], job["seed"], Place(**job["place"]))
        answer = {"row": row}
    except InputError as error:
        answer = {"wrong_input": str(error)}
    except RunError as error:
        answer = {"failed": str(error)}
    write_whole(Path(job["answer"]), json.dumps(answer) + "\n")


def _end_with_asker():
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(GONE)  # Files are written whole, so that nothing is left half done.


if __name__ == "__main__":
    main()
