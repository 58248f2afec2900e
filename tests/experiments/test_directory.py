"""The folder of an experiment: its rows, and its one writer or several workers that know of each other."""

import contextlib
import csv
import json
import time

import pytest
from fresh_process import started

from dreal_tf import ActorOnly, Study
from dreal_tf.errors import InputError
from dreal_tf.experiments.directory import (
    SearchDirectory,
    StudyDirectory,
    locked_folder,
    parse_rows,
    read_known_rows,
    rows_text,
)

ARMS = {"a": {"dreal.critic": "paper"}, "b": {"dreal.critic": "direct"}}
STUDY = Study(what="actor_only", recipe="digits_resnet8_se", arms=ARMS)
IN_USE = "The folder is in use."
HOLD = """
import sys, time
from pathlib import Path
from dreal_tf.errors import InputError
from dreal_tf.experiments.directory import locked_folder

folder, worker = sys.argv[1:]
signals = Path(folder).parent
print("ready", flush=True)
while not (signals / "start").exists():
    time.sleep(0.001)
try:
    with locked_folder(Path(folder), "in use", worker or None):
        print("in", flush=True)
        while not (signals / "end").exists():
            time.sleep(0.001)
except InputError as error:
    print(error, flush=True)
"""


def row(arm, seed, **measured):
    return {"arm": arm, "seed": seed, "seconds": 1.5, **measured}


def holding(folder, *workers):
    """Processes that take a folder at the same moment and keep it, with the answer of each."""
    processes = [started("-c", HOLD, folder, worker) for worker in workers]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * len(workers)
    (folder.parent / "start").touch()
    return processes, [process.stdout.readline() for process in processes]


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
    folder = tmp_path / "new"
    (process,), answers = holding(folder, worker)
    assert answers == ["in\n"]
    with pytest.raises(InputError, match=IN_USE), locked_folder(folder, IN_USE):
        pass
    process.kill()
    process.communicate()
    with locked_folder(folder, IN_USE):
        pass


@pytest.mark.parametrize(("workers", "admitted"), [(["", "", "", ""], 1), (["a", "b", "c", "d"], 4)])
def test_processes_that_start_at_the_same_moment(tmp_path, workers, admitted):
    processes, answers = holding(tmp_path / "new", *workers)
    assert sorted(answers) == sorted(["in\n"] * admitted + ["in use\n"] * (len(workers) - admitted))
    (tmp_path / "end").touch()
    assert [process.communicate()[0] for process in processes] == [""] * len(workers)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Expected a folder that can be written.*another --out"):
        with locked_folder(tmp_path / "file", IN_USE):
            pass


def test_other_settings_of_an_arm_with_rows_are_refused(tmp_path):
    folder = StudyDirectory(tmp_path)
    with folder.begin(STUDY.settings(["a", "b"])):
        folder.add_rows([row("a", 0, accuracy=0.5)])
    changed = STUDY.replace(actor_only=ActorOnly(steps=7))
    message = (
        "Expected rows of the same settings.*'a' made with actor_only.steps=2000, now 7.*another --out"
    )
    with pytest.raises(InputError, match=message):
        with folder.begin(changed.settings(["a", "b"])):
            pass
    with folder.begin(changed.settings(["b"])):  # It has no rows yet.
        folder.add_rows([row("b", 0, accuracy=0.5)])
    with pytest.raises(InputError, match="'b' made with actor_only.steps=7, now 2000"):
        with folder.begin(STUDY.settings(["a", "b"])):
            pass


def test_more_arms_and_seeds_go_on_in_the_same_folder(tmp_path):
    folder = StudyDirectory(tmp_path)
    with folder.begin(STUDY.settings(["a"])):
        folder.add_rows([row("a", 0, accuracy=0.5)])
    more = STUDY.replace(arms=ARMS | {"c": {}}, seeds=(0, 1, 2, 3))
    with folder.begin(more.settings(["c"])):
        folder.add_rows([row("c", 3, accuracy=0.25)])
    with folder.begin(more.settings(["a", "b", "c"])):
        assert [r["arm"] for r in folder.read_rows()] == ["a", "c"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds something else. Choose another --out"):
        with StudyDirectory(tmp_path).begin(STUDY.settings(["a"])):
            pass
    train = STUDY.replace(what="train")
    with StudyDirectory(tmp_path / "t").begin(train.settings(["a"])):
        pass
    with pytest.raises(InputError, match="Expected a study of 'actor_only'.*Received: one of 'train'"):
        with StudyDirectory(tmp_path / "t").begin(STUDY.settings(["a"])):
            pass


def test_two_commands_do_not_write_into_one_folder(tmp_path):
    with StudyDirectory(tmp_path).begin(STUDY.settings(["a"])):
        with pytest.raises(InputError, match="into which another command writes"):
            with StudyDirectory(tmp_path).begin(STUDY.settings(["a"])):
                pass
    with StudyDirectory(tmp_path).begin(STUDY.settings(["a"])):
        pass


def test_known_rows_do_not_replace_those_that_are_there(tmp_path):
    folder = StudyDirectory(tmp_path)
    folder.add_rows([{"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5}])
    known = tmp_path / "known.csv"
    known.write_text("arm,seed,seconds,log_p\na,0,2.0,-1.0\nb,0,3.0,-2.0\n")
    folder.add_rows(read_known_rows(known, STUDY))
    assert folder.read_rows() == [
        {"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5},
        {"arm": "b", "seed": 0, "seconds": 3.0, "log_p": -2.0},
    ]


def test_rows_come_back_as_they_were_with_columns_of_their_own(tmp_path):
    folder = StudyDirectory(tmp_path / "s")
    rows = [row("a", 0, accuracy=0.1 + 0.2), row("b", 1, recovered=1e-9), row("a", 1, accuracy=-1.0)]
    with folder.begin(STUDY.settings(["a", "b"])):
        for one in rows:
            folder.add_rows([one])
    assert folder.read_rows() == rows
    with folder.rows.open() as file:
        assert next(csv.reader(file)) == ["arm", "seed", "seconds", "accuracy", "recovered"]
    assert parse_rows(rows_text(rows)) == rows


@pytest.mark.parametrize("text", ["arm,seed\na,0\n", "arm,seed,seconds\na,x,1.0\n"])
def test_what_is_no_rows_is_refused(tmp_path, text):
    (tmp_path / "known.csv").write_text(text)
    with pytest.raises(InputError, match="Give the rows.csv"):
        read_known_rows(tmp_path / "known.csv", STUDY)


def test_rows_of_another_study_are_refused(tmp_path):
    (tmp_path / "known.csv").write_text("arm,seed,seconds\nc,0,1.0\n")
    with pytest.raises(InputError, match="arms of unnamed.*Received: 'c'"):
        read_known_rows(tmp_path / "known.csv", STUDY)


def damaged(path, damage):
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link to nothing":
        path.symlink_to("none")
    else:
        texts = {
            "empty": b"",
            "half": content[: len(content) // 2],
            "picture": b"\x89PNG\r\n\x1a\n" * 9,
        }
        path.write_bytes(texts[damage])


@pytest.mark.parametrize("damage", ["empty", "half", "picture", "folder", "link to nothing"])
@pytest.mark.parametrize("file", ["study.json", "rows.csv"])
def test_a_damaged_file_of_a_study_is_refused_by_name(tmp_path, file, damage):
    folder = StudyDirectory(tmp_path)
    with folder.begin(STUDY.settings(["a"])):
        folder.add_rows([row("a", 0, accuracy=0.5)])
    damaged(tmp_path / file, damage)
    with pytest.raises(InputError, match=rf"Received: .*{file}'.*Restore the file"):
        with folder.begin(STUDY.settings(["a"])):
            pass


def test_a_changed_digit_in_a_finished_study_is_noticed_once(tmp_path):
    folder = StudyDirectory(tmp_path)
    with folder.begin(STUDY.settings(["a"])):
        folder.add_rows([row("a", 0, accuracy=0.5)])
        folder.finish()
    text = folder.rows.read_text()
    folder.rows.write_text(text.replace("0.5", "0.7"))
    with pytest.raises(InputError, match="rows.csv'.*SHA256SUMS beside it records another content"):
        with folder.begin(STUDY.settings(["a"])):
            pass
    folder.rows.write_text(text)
    with folder.begin(STUDY.settings(["a"])):
        folder.add_rows([row("a", 1, accuracy=0.25)])  # Interrupted afterwards: nothing is recorded.
    with folder.begin(STUDY.settings(["a"])):
        assert len(folder.read_rows()) == 2


RESULT = {
    "trial": "0",
    "status": "diverged",
    "score": None,
    "best_epoch": None,
    "epochs": 1,
    "seconds": 2.0,
}
RESULT |= {"curve": [], "values": {}, "recipe": "{}"}


@pytest.mark.parametrize("damage", ["empty", "half", "picture", "folder"])
def test_a_damaged_result_of_a_trial_is_refused_by_name(tmp_path, damage):
    trial = SearchDirectory(tmp_path).trial("0")
    trial.path.mkdir(parents=True)
    trial.result.write_text(json.dumps(RESULT))
    assert trial.read()["score"] is None
    damaged(trial.result, damage)
    with pytest.raises(
        InputError, match="Expected the result of a trial. Received: .*trial_0/result.json'"
    ):
        trial.read()
