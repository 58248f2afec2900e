"""Searches by the command: one killed in mid-trial, its best replayed, several workers."""

import json
import os
import re
import signal
import socket
import time

import pytest
import tensorflow as tf
from commands import called
from fresh_process import COMMAND, ended, started
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import dreal_tf
from dreal_tf.experiments.directory import SearchDirectory
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.run_directory import RunDirectory

SPACE = """from dreal_tf import Choice, Range, Space

def space(smoke=False):
    return Space({"dreal.actor_weight": Range(0.1, 10.0, log=True), "optim.learning_rate": Choice(0.05, 0.1)})
"""
TUNE = ["tune", "digits_resnet8_se", "--smoke", "--out", "out", "--objective", "val_loss"]
TUNE += ["--set", "dreal.instrument_fraction=0", "--set", "dreal.trust=false"]
TUNE += ["--set", "schedule.warmup_epochs=0", "--set", "dreal.actor_warmup=0"]


def space_in(folder):
    (folder / "mine.py").write_text(SPACE)
    return ["--space", "mine.py"]


def wait_for(path, process, lines=0):
    while not path.is_file() or len(path.read_text().splitlines()) < lines:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of two trials, killed in the middle of the second and begun again."""
    folder = tmp_path_factory.mktemp("tune")
    two = [*TUNE, *space_in(folder), "--trials", "2", "--tuner", "random"]
    process = started(*COMMAND, *two, folder=folder, own_group=True)
    search = SearchDirectory(folder / "out")
    wait_for(search.trial("1").run.path / "history.csv", process, lines=2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not search.finished and len(search.ended_trials()) == 1
    kept = search.trial("0").result.stat().st_mtime_ns
    again = called(*two, "--json", folder=folder)
    assert again.returncode == 0, again.stderr
    assert search.trial("0").result.stat().st_mtime_ns == kept
    return folder, search, again


def test_killed_in_mid_trial_it_goes_on_to_its_end(searched):
    folder, search, process = searched
    printed = json.loads(process.stdout)
    assert printed == json.loads(search.results.read_text())
    changes = dict(change.split("=") for change in TUNE if "=" in change)
    again = dreal_tf.tune(
        "digits_resnet8_se",
        space=folder / "mine.py",
        trials=2,
        tuner="random",
        objective="val_loss",
        out=search.path,
        smoke=True,
        changes=changes,
    )
    assert json.loads(json.dumps(again.to_json())) == printed and len(again.to_pandas()) == 2
    assert [trial["trial"] for trial in printed["trials"]] == ["0", "1"]
    best = min(printed["trials"], key=lambda trial: trial["score"])
    assert (printed["best"]["trial"], printed["best"]["score"]) == (best["trial"], best["score"])
    rows = read_history(search.trial("1").run.history if best["trial"] == "0" else search.best.history)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert "trial 0, of 2" not in process.stderr  # It had ended.
    assert process.stderr.strip().splitlines()[-1] == "Next: dreal-tf train out/best/recipe.json"


@pytest.mark.slow
def test_the_best_recipe_replays_its_score(searched):
    folder, search, process = searched
    replay = called("train", "out/best/recipe.json", "--out", "replay", "--json", folder=folder)
    assert replay.returncode == 0, replay.stderr
    results, metrics = json.loads(process.stdout), json.loads(replay.stdout)
    rows = read_history(folder / "replay" / "history.csv")
    assert min(row["val_loss"] for row in rows) == results["best"]["score"]
    assert metrics["accuracy"] == results["best"]["accuracy"]
    ours = search.best.read_metrics()
    assert metrics | {"training_seconds": 0} == ours | {"training_seconds": 0}


def test_the_method_left_out_is_measured_beside_it(searched):
    _, search, process = searched
    results = json.loads(process.stdout)
    rates = []
    for name in ("baseline", "best_baseline"):
        run = getattr(search, name)
        assert run.read_recipe().dreal.enabled is False
        rates.append(run.read_recipe().optim.learning_rate)
        rows = read_history(run.history)
        assert results[name]["score"] == min(row["val_loss"] for row in rows)
        assert not any("reward" in column for column in rows[0])
        better = results["improvement"][name]
        assert better["score"] == pytest.approx(results[name]["score"] - results["best"]["score"])
        assert better["accuracy"] == results["best"]["accuracy"] - results[name]["accuracy"]
    assert rates == [0.1, results["best"]["values"]["optim.learning_rate"]]


def test_table_rows_and_figure_are_there(searched):
    folder, _, _ = searched
    table = (folder / "out" / "table.md").read_text()
    assert "digits_resnet8_se_smoke: 2 trials by random search" in table
    assert "| without the method" in table and "the test split was read once" in table
    assert len((folder / "out" / "trials.csv").read_text().splitlines()) == 4
    assert (folder / "out" / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (folder / "out" / "figure.svg").read_text()


def test_only_the_best_trial_keeps_its_network_and_no_other_reads_the_test_split(searched):
    _, search, process = searched
    best = json.loads(process.stdout)["best"]["trial"]
    (other,) = [trial for trial in search.ended_trials() if trial.number != best]
    assert not other.run.checkpoints.exists() and not other.run.tensorboard.exists()
    assert not other.run.finished and not other.run.network.exists()
    assert not search.trial(best).run.path.exists() and search.best.network.is_file()
    size = sum(path.stat().st_size for path in other.path.rglob("*") if path.is_file())
    assert size < 2**16


def test_trials_are_in_hparams(searched):
    _, search, process = searched
    results = json.loads(process.stdout)
    assert hparams_of(search.tensorboard).experiment.hparam_infos[0].name == "dreal.actor_weight"
    for trial in results["trials"]:
        folder = search.tensorboard / f"trial_{trial['trial']}"
        shown = hparams_of(folder).session_start_info.hparams
        assert shown["dreal.actor_weight"].number_value == trial["values"]["dreal.actor_weight"]
        events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
        assert {"score", "val_loss"} <= set(events.Tags()["tensors"])
        (score,) = events.Tensors("score")
        assert tf.make_ndarray(score.tensor_proto) == pytest.approx(trial["score"])
    assert (search.tensorboard / "baseline").is_dir()


def hparams_of(folder):
    metadata = EventAccumulator(str(folder)).Reload().summary_metadata
    (shown,) = [
        m
        for tag, m in metadata.items()
        if tag in ("_hparams_/experiment", "_hparams_/session_start_info")
    ]
    return plugin_data_pb2.HParamsPluginData.FromString(shown.plugin_data.content)


def test_repeated_it_reports_and_another_search_is_refused(searched):
    folder, _, process = searched
    space = ["--space", "mine.py", "--trials", "2"]
    again = called(*TUNE, *space, "--tuner", "random", "--json", folder=folder)
    assert again.returncode == 0 and json.loads(again.stdout) == json.loads(process.stdout)
    other = called(*TUNE, *space, "--tuner", "bayesian", folder=folder)
    assert other.returncode == 2
    assert "they differ in tuner='random', now 'bayesian'. Choose" in " ".join(other.stderr.split())


WRONG = [
    (["--space", "methd"], "Expected a search space, one of: attention.*Did you mean 'method'"),
    (["--space", "wrong.py"], "Expected a recipe path.*Did you mean 'dreal.actor_weight'"),
    (["--space", "mine.py", "--tuner", "grid"], "Expected a tuner.*Received: 'grid'"),
    (["--space", "mine.py", "--objective", "accuracy"], "on validation data.*Put val_ before"),
    (["--space", "mine.py", "--out", "."], "holds something else. Choose another --out"),
    (["--space", "mine.py", "--out", "taken"], "'taken', which holds something else"),
    (["--space", "mine.py", "--set", "optim.nam=adam"], "Did you mean 'optim.name'"),
]
# The exit code and the errors of each list of arguments, and whether any has loaded TensorFlow.
CODES_AND_ERRORS = """
import json, sys
from commands import called
ended = [called(*arguments) for arguments in json.loads(sys.argv[1])]
outcomes = [[process.returncode, process.stdout, process.stderr] for process in ended]
print(json.dumps([outcomes, "tensorflow" in sys.modules]))
"""


def test_wrong_input_ends_with_2_before_tensorflow_is_loaded(tmp_path):
    (tmp_path / "wrong.py").write_text(SPACE.replace("actor_weight", "actor_wait"))
    space_in(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "trials").touch()  # A file that has the name of a search's folder.
    commands = json.dumps([[*TUNE, *arguments] for arguments, _ in WRONG])
    process = ended("-c", CODES_AND_ERRORS, commands, folder=tmp_path)
    outcomes, loaded = json.loads(process.stdout)
    for (code, output, errors), (_, message) in zip(outcomes, WRONG, strict=True):
        assert code == 2 and not output and re.search(message, " ".join(errors.split())), errors
    assert not loaded and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_objective_of_no_module_there_is_ends_with_2_after_an_epoch(tmp_path):
    options = ["--space", "method", "--objective", "val_reward/conv9_9/se", "--tuner", "random"]
    process = called(*TUNE, *options, folder=tmp_path)
    assert process.returncode == 2, process.stderr
    errors = " ".join(process.stderr.split())
    assert "Received: 'val_reward/conv9_9/se'. Did you mean 'val_reward/" in errors
    assert not SearchDirectory(tmp_path / "out").ended_trials()


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--tuner", "hyperband", "--trials", "6"], ["--patience", "1"]])
def test_a_trial_that_ended_early_is_trained_to_its_end_if_it_is_the_best(tmp_path, options):
    four = ["--set", "schedule.epochs=4", "--set", "optim.learning_rate=0.5", "--trials", "2"]
    process = called(*TUNE, *space_in(tmp_path), *four, *options, "--json", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout)
    assert results["best"]["epochs"] == 4
    if "hyperband" in options:
        curves = [t.read()["curve"] for t in SearchDirectory(tmp_path / "out").ended_trials()]
        assert [len(curve) for curve in curves] == [2, 2, 2, 2, 2, 4]
        assert curves[5][:2] == min(curves[:5], key=min)  # It went on with the best.
    replay = called("train", "out/best/recipe.json", "--out", "replay", "--json", folder=tmp_path)
    ours = SearchDirectory(tmp_path / "out").best.read_metrics()
    assert json.loads(replay.stdout) | {"training_seconds": 0} == ours | {"training_seconds": 0}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.slow
def test_two_workers_share_a_search_and_one_that_was_killed_comes_back(tmp_path):
    shared = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": free_port()}
    arguments = [*TUNE, *space_in(tmp_path), "--trials", "4", "--tuner", "random", "--json"]

    def start(name, **options):
        environment = shared | {"KERASTUNER_TUNER_ID": name}
        return started(*COMMAND, *arguments, folder=tmp_path, **options, **environment)

    search = SearchDirectory(tmp_path / "out")
    chief = start("chief")
    workers = [start("worker1", own_group=True), start("worker2")]
    while not search.ended_trials():
        assert all(process.poll() is None for process in (chief, *workers)), workers[0].communicate()
        time.sleep(0.1)
    os.killpg(workers[0].pid, signal.SIGKILL)
    workers[0].wait()
    workers[0] = start("worker1")
    outputs = [process.communicate() for process in (chief, *workers)]
    for process, (_, errors) in zip((chief, *workers), outputs, strict=True):
        assert process.returncode == 0, errors
    results = json.loads(outputs[0][0])
    assert [trial["trial"] for trial in results["trials"]] == ["0", "1", "2", "3"]
    assert outputs[1][0] == outputs[2][0] == ""
    assert all(
        "trial " in errors and "the chief has the results" in errors for _, errors in outputs[1:]
    )
    ours = RunDirectory(tmp_path / "replay")
    replay = called("train", "out/best/recipe.json", "--out", "replay", folder=tmp_path)
    assert replay.returncode == 0
    rows = read_history(ours.history)
    assert min(row["val_loss"] for row in rows) == results["best"]["score"]
