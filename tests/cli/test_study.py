"""Studies by the command: every experiment, shrunk; interruptions of real processes; wrong input."""

import json
import os
import re
import signal
import time

import pytest
from commands import called
from fresh_process import COMMAND, started

import dreal_tf
from dreal_tf.experiments.directory import StudyDirectory
from dreal_tf.experiments.study import load_study

MODULE = "conv2_1/se"
BASELINE = ["critic_training", "--smoke", "--arms", "baseline"]


def command(*arguments, **options):
    return called("study", *arguments, **options)


def process_of(*arguments, **options):
    return started(*COMMAND, "study", *arguments, **options)


CRITIC_COLUMNS = {f"{name}/{MODULE}" for name in ("alignment", "r2", "direction")}
COLUMNS = {
    "critic_actor_only": {"accuracy@trained", "accuracy@start", "log_p@5", "log_p_ablated@10"}
    | CRITIC_COLUMNS,
    "critic_directions_digits": {"accuracy", "log_p", f"alignment_positive/{MODULE}"} | CRITIC_COLUMNS,
    "critic_training": {
        "accuracy",
        "val_accuracy",
        f"val_critique/{MODULE}",
        f"gain/{MODULE}",
        "actor_grad_cosine",
    },
}


@pytest.mark.parametrize(
    "study",
    [
        pytest.param("critic_actor_only", marks=pytest.mark.slow),
        pytest.param("critic_directions_digits", marks=pytest.mark.slow),
        "critic_training",
    ],
)
def test_every_experiment_ends_well_with_its_columns_table_and_figure(tmp_path, study):
    arms = ["--smoke", "--arms", "direct", "--seeds", "0", "--json"]
    process = command(study, "--out", "out", *arms, folder=tmp_path)
    assert process.returncode == 0, process.stderr
    printed = json.loads(process.stdout)
    (row,) = StudyDirectory(tmp_path / "out").read_rows()
    assert printed["rows"] == [row] and (row["arm"], row["seed"]) == ("direct", 0)
    assert set(row) >= COLUMNS[study]
    if study != "critic_training":  # The true direction is aligned with itself.
        assert row[f"alignment/{MODULE}"] == pytest.approx(1, abs=1e-4)
    assert printed["arms"]["direct"]["accuracy@start" if study == "critic_actor_only" else "accuracy"]
    assert (tmp_path / "out" / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "out" / "figure.svg").read_text()
    assert "## direct" in (tmp_path / "out" / "table.md").read_text()
    assert process.stderr.strip().splitlines()[-1].startswith(f"Next: dreal-tf study {study} --out out")
    assert "1/1  direct, seed 0: " in process.stderr
    # The Python function finds the same rows and returns what the command printed.
    again = dreal_tf.study(study, out=tmp_path / "out", smoke=True, arms=["direct"], seeds=[0])
    assert json.loads(json.dumps(again.to_json())) == printed
    assert again.to_pandas()["arm"].tolist() == ["direct"]


def wait_for_rows(folder, count, process):
    while len(StudyDirectory(folder).read_rows()) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_between_rows_it_goes_on_and_no_row_is_there_twice(tmp_path):
    three = [*BASELINE, "--seeds", "0,1,2", "--out", "out"]
    process = process_of(*three, folder=tmp_path, own_group=True)
    wait_for_rows(tmp_path / "out", 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = StudyDirectory(tmp_path / "out").read_rows()
    again = command(*three, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    rows = StudyDirectory(tmp_path / "out").read_rows()
    assert [row["seed"] for row in rows] == [0, 1, 2] and rows[: len(kept)] == kept
    assert f"{len(kept)} of 3 runs are done; going on." in again.stderr


@pytest.mark.slow
def test_actors_can_learn_from_images_that_the_network_has_not_seen(tmp_path):
    arms = ["--smoke", "--seeds", "0", "--out", "out"]
    process = command("headroom_cifar10_se", *arms, folder=tmp_path)
    assert process.returncode == 0, process.stderr
    seen, unseen = StudyDirectory(tmp_path / "out").read_rows()
    assert (seen["arm"], unseen["arm"]) == ("seen", "unseen")
    assert seen["log_p@start"] == unseen["log_p@start"] == seen["log_p@trained"]
    assert seen["log_p@10"] != unseen["log_p@10"]


def test_rows_made_elsewhere_are_taken_and_not_made_again(tmp_path):
    (tmp_path / "made.csv").write_text("arm,seed,seconds,accuracy\nbaseline,0,1.0,0.25\n")
    process = command(*BASELINE, "--seeds", "0", "--rows", "made.csv", "--out", "out", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "1 of 1 runs are done" in process.stderr
    expected = [{"arm": "baseline", "seed": 0, "seconds": 1.0, "accuracy": 0.25}]
    assert StudyDirectory(tmp_path / "out").read_rows() == expected
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.slow
def test_run_twice_it_finds_the_same(tmp_path):
    one = ["critic_training", "--smoke", "--arms", "comparative", "--seeds", "1"]
    measured = []
    for out in ("first", "second"):
        assert command(*one, "--out", out, folder=tmp_path).returncode == 0
        (row,) = StudyDirectory(tmp_path / out).read_rows()
        measured.append({name: value for name, value in row.items() if "seconds" not in name})
    assert measured[0] == measured[1] and measured[0]["accuracy"] > 0


@pytest.mark.slow
def test_the_worker_ends_with_the_command_and_ctrl_c_keeps_rows(tmp_path):
    many = [*BASELINE, "--seeds", "0,1,2,3,4,5", "--out", "out"]
    process = process_of(*many, folder=tmp_path)
    wait_for_rows(tmp_path / "out", 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)  # Two suites beside it make it slow.
    assert process.returncode == 130 and "same command continues" in errors
    assert "Traceback" not in errors
    done = [row["seed"] for row in StudyDirectory(tmp_path / "out").read_rows()]
    assert done in ([0], [0, 1], [0, 1, 2])  # A slow machine may be late with the signal.
    study = load_study("critic_training", smoke=True)
    with StudyDirectory(tmp_path / "out").begin(study.settings(["paper"])):
        pass  # Nobody holds the folder.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["critic_actor_onl"], "Did you mean 'critic_actor_only'"),
        (["critic_actor_only", "--arms", "papre"], "arm of critic_actor_only.*Did you mean 'paper'"),
        (["critic_actor_only", "--seeds", "0;1"], "Expected seeds from 0.*--seeds 0,1,2"),
        (["critic_actor_only", "--rows", "none.csv"], "Expected a file of a study's rows.*none.csv"),
        (["critic_actor_only", "--networks", "none"], "Expected a finished run.*none/seed0"),
    ],
)
def test_wrong_input_ends_with_2_and_writes_nothing(tmp_path, arguments, message):
    process = command(*arguments, "--out", "out", folder=tmp_path)
    assert process.returncode == 2 and not (tmp_path / "out").exists()
    assert re.search(message, process.stderr.replace("\n", " ")), process.stderr
