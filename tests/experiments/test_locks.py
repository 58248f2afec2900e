"""A folder has one writer, or several workers that know of each other, and no lock outlives its process."""

import contextlib
import time

import pytest
from fresh_process import started

from dreal_tf.errors import InputError
from dreal_tf.experiments.locks import locked_folder

IN_USE = "The folder is in use."
HOLD = """
import sys, time
from pathlib import Path
from dreal_tf.errors import InputError
from dreal_tf.experiments.locks import locked_folder

folder, worker, start, seconds = sys.argv[1:]
time.sleep(max(0, float(start) - time.time()))
try:
    with locked_folder(Path(folder), "in use", worker or None):
        print("in", flush=True)
        time.sleep(float(seconds))
except InputError as error:
    print(error, flush=True)
"""


def hold(folder, worker="", start=0, seconds=60):
    """A process that takes the folder at a moment (seconds since 1970) and keeps it for a while."""
    return started("-c", HOLD, folder, worker, start, seconds)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (None, None, False),
        (None, "one", False),
        ("one", None, False),
        ("one", "one", False),
        ("one", "two", True),
    ],
)
def test_who_may_write_beside_whom(tmp_path, first, second, together):
    refused = contextlib.nullcontext() if together else pytest.raises(InputError, match=IN_USE)
    with locked_folder(tmp_path, IN_USE, first):
        begun = time.perf_counter()
        with refused, locked_folder(tmp_path, IN_USE, second):
            pass
        assert time.perf_counter() - begun < 2
    for worker in (second, first):
        with locked_folder(tmp_path, IN_USE, worker):
            pass


@pytest.mark.parametrize("worker", ["", "one"])
def test_the_lock_of_a_killed_process_is_gone(tmp_path, worker):
    process = hold(tmp_path, worker)
    assert process.stdout.readline() == "in\n"
    with pytest.raises(InputError, match=IN_USE), locked_folder(tmp_path, IN_USE):
        pass
    process.kill()
    process.communicate()
    with locked_folder(tmp_path, IN_USE):
        pass


@pytest.mark.parametrize(("workers", "admitted"), [(["", "", "", ""], 1), (["a", "b", "c", "d"], 4)])
def test_processes_that_start_at_the_same_moment(tmp_path, workers, admitted):
    start = time.time() + 5
    processes = [hold(tmp_path / "new", worker, start, seconds=3) for worker in workers]
    said = [process.communicate()[0] for process in processes]
    assert sorted(said) == sorted(["in\n"] * admitted + ["in use\n"] * (len(workers) - admitted))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Expected a folder that can be written.*another --out"):
        with locked_folder(tmp_path / "file", IN_USE):
            pass
