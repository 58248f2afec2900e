"""The command: its outputs, exit codes and interrupts, in fresh processes where these matter."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from importlib import metadata

import pytest
from commands import called
from fresh_process import COMMAND, ended, started

import dreal_tf
from dreal_tf.cli import main
from dreal_tf.cli.main import explained
from dreal_tf.cli.progress import DeferInterrupts

SMOKE = ["train", "digits_resnet8_se", "--smoke"]
NONE = ["--set", "attention.kind=none"]


def run(*arguments, folder, **environment):
    return ended(*COMMAND, *arguments, folder=folder, **environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return folder, run(*SMOKE, "--json", folder=folder)


def test_train_ends_well_and_names_the_next_command(trained):
    folder, process = trained
    assert process.returncode == 0, process.stderr
    assert (folder / "runs" / "digits_resnet8_se_smoke_seed0" / "metrics.json").is_file()
    last = process.stderr.strip().splitlines()[-1]
    assert last == "Next: dreal-tf evaluate runs/digits_resnet8_se_smoke_seed0"


def test_with_json_one_object_is_all_there_is_on_standard_output(trained):
    _, process = trained
    assert {"accuracy", "loss", "training_seconds"} <= set(json.loads(process.stdout))


def test_only_what_matters_is_on_standard_error(trained):
    _, process = trained
    for line in process.stderr.splitlines():
        kinds = "Training", "Images", "epoch", "DREAL: ", "Run directory", "Next"
        assert line.startswith(kinds) or not line.strip(), line


def test_quiet_it_prints_the_result_alone_and_verbose_the_method_by_module(trained):
    folder, process = trained
    quiet, usual, verbose = (
        called(*SMOKE, *level, folder=folder) for level in (["-q"], [], ["--verbose"])
    )
    assert (
        not quiet.stderr
        and quiet.stdout == usual.stdout == verbose.stdout
        and "accuracy" in usual.stdout
    )
    table = [
        line.split() for line in verbose.stderr.splitlines() if line not in usual.stderr.splitlines()
    ]
    metrics = json.loads(process.stdout)["method"]["modules"]
    assert [line[0] for line in table] == ["module", *metrics]
    assert [float(line[-1]) for line in table[1:]] == pytest.approx(
        [values["trust"] for values in metrics.values()], abs=0.005
    )


@pytest.mark.parametrize(("level", "lines"), [("-q", 1), ("-v", 10)])
def test_errors_are_said_however_quiet_and_verbose_with_their_traceback(tmp_path, level, lines):
    process = called("train", "digits_resnet9_se", level, folder=tmp_path)
    assert process.returncode == 2 and len(process.stderr.splitlines()) >= lines
    assert process.stderr.splitlines()[-1].startswith("Error: Expected a recipe")
    assert ("Traceback" in process.stderr) == (level == "-v")


def test_it_names_its_version_and_those_below(tmp_path):
    versions = f"dreal-tf {dreal_tf.__version__} (tensorflow {metadata.version('tensorflow')}, keras"
    assert called("--version", folder=tmp_path).stdout.startswith(versions)


def test_repeated_it_reports_and_leaves_the_run_alone(trained):
    folder, first = trained
    again = called(*SMOKE, "--json", folder=folder)
    assert again.returncode == 0 and json.loads(again.stdout) == json.loads(first.stdout)
    assert "holds a finished run; it is left alone" in again.stderr


def test_evaluate_prints_the_same_accuracy_with_another_folder_of_the_data_too(trained, tmp_path):
    folder, first = trained
    options = ["--data-dir", tmp_path, "--json"]  # Digits need no folder.
    process = called("evaluate", "runs/digits_resnet8_se_smoke_seed0", *options, folder=folder)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["accuracy"] == json.loads(first.stdout)["accuracy"]


def test_the_recipe_of_a_run_replays_it(trained):
    folder, first = trained
    recipe = "runs/digits_resnet8_se_smoke_seed0/recipe.json"
    process = called("train", recipe, "--out", "replayed", "--json", folder=folder)
    ours, theirs = json.loads(process.stdout), json.loads(first.stdout)
    assert {**ours, "training_seconds": 0} == {**theirs, "training_seconds": 0}


def test_print_recipe_shows_what_would_be_trained(tmp_path):
    options = ["--baseline", "--seed", 5, "--set", "schedule.epochs=9", "--print-recipe"]
    process = called("train", "digits_resnet8_se", *options, folder=tmp_path)
    recipe = json.loads(process.stdout)
    assert recipe["schedule"]["epochs"] == 9 and recipe["run"]["seed"] == 5
    assert recipe["dreal"]["enabled"] is False and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["trian"],
            "Expected a verb, one of: audit, benchmark, doctor, evaluate, export, index, predict, prune, recipes, report, search, study, train, tune. Received: 'trian'",
        ),
        (["train", "digits_resnet9_se"], "Did you mean 'digits_resnet8_se'?"),
        (
            ["train", "digits_resnet8_se", "--set", "schedule.epoch=3"],
            "Did you mean 'schedule.epochs'?",
        ),
        (["train", "digits_resnet8_se", "--set", "schedule.epochs=x"], "Received: schedule.epochs='x'"),
        (["train", "digits_resnet8_se", "--set", "epochs"], "Expected --set path=value"),
        (["train", "digits_resnet8_se", "--strategy", "both"], "Expected a strategy, one of: auto"),
        (
            ["train", "digits_resnet8_se", "--smoke", "--set", "backbone.depth=9"],
            "backbone.depth to be 8, 14",
        ),
        (
            ["train", "digits_resnet8_se", "--smoke", "--set", "attention.heads=4"],
            "Expected no attention.heads with attention.kind='se', which does not have it",
        ),
        (["train", "digits_resnet8_se", "--smoke", "--set", "data.batch_size=9999"], "Lower the batch"),
        (
            ["train", "digits_resnet8_se", *NONE, "--set", "dreal.enabled=true"],
            "or train with --baseline",
        ),
        (["train", "digits_resnet8_se", "--nonsense"], "nonsense"),
        (["evaluate", "no_such_run"], "Expected the folder of a run"),
    ],
)
def test_wrong_input_ends_with_2_and_a_message(tmp_path, arguments, message):
    process = called(*arguments, folder=tmp_path)
    assert process.returncode == 2, process.stderr
    assert message in " ".join(process.stderr.split()) and not process.stdout


@pytest.mark.parametrize("arguments", [SMOKE, ["study", "critic_training"], ["index", "run", "images"]])
def test_a_name_that_is_too_long_for_the_system_is_said(tmp_path, arguments):
    process = called(*arguments, "--out", "x" * 999, folder=tmp_path)
    assert process.returncode == 2 and "File name too long" in " ".join(process.stderr.split())
    assert not list(tmp_path.iterdir())


def test_wrong_input_shows_no_traceback(tmp_path):
    process = run("train", "digits_resnet9_se", folder=tmp_path)
    assert process.returncode == 2 and not process.stdout
    assert "Did you mean" in process.stderr and "Traceback" not in process.stderr


def test_another_backend_is_refused_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    process = called("recipes")
    assert process.returncode == 2 and "Run again with KERAS_BACKEND=tensorflow" in process.stderr
    monkeypatch.delenv("KERAS_BACKEND")
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    process = called("recipes")
    assert process.returncode == 2 and "keras.json says 'torch'" in " ".join(process.stderr.split())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[]", "settings as a JSON object.*holds \\[\\]. Remove it"),
        ("[" * 10**5, "settings as a JSON object.*RecursionError"),
        ('{"image_data_format": "channels_first"}', "image_data_format to be 'channels_last'"),
        ('{"floatx": ["float32"]}', "floatx to be 'float32'"),
        ('{"epsilon": 1}', "epsilon to be a number such as"),
        ("{", None),  # Keras takes its defaults.
    ],
)
def test_settings_of_keras_that_it_cannot_be_imported_with_are_refused(
    tmp_path, monkeypatch, settings, message
):
    (tmp_path / "keras.json").write_text(settings)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    process = called("recipes", "digits_resnet8_se")
    assert process.returncode == (2 if message else 0)
    assert re.search(message or "Next", " ".join(process.stderr.split()))


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("recipes >&-", 0, "Next: "),
        ("recipes <&- >&- 2>&-", 0, ""),
        ("recipes > /dev/full", 1, "Expected space to write"),
        ("train 'ü'", 2, "Received: '\\udcc3\\udcbc'"),
        ("recipes digits_resnet8_se | head -1", 0, ""),
    ],
)
def test_closed_and_full_outputs_and_another_locale(tmp_path, command, code, message):
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "HOME": "/nowhere"}
    line = f"{shlex.quote(sys.executable)} -m dreal_tf {command}"
    process = ended(
        "-c",
        "import os, sys; os.execvp('bash', ['bash', '-c', sys.argv[1]])",
        line,
        folder=tmp_path,
        **odd,
    )
    assert process.returncode == code and "Traceback" not in process.stderr, process.stderr
    assert message in process.stderr


def test_the_errors_of_the_system_are_messages():
    """Kinds that cannot be caused in every test: a deleted folder, a closed one, a full memory."""
    texts = {
        FileNotFoundError(2, "No such file or directory"): (2, "a folder that exists"),
        PermissionError(13, "Permission denied", "runs"): (2, "Received: 'runs' (Permission denied)"),
        OSError(28, "No space left on device"): (1, "space to write"),
        MemoryError("Unable to allocate 8 PiB"): (1, "Received: none left (Unable to allocate 8 PiB)"),
    }
    for error, (code, message) in texts.items():
        assert explained(error)[0] == code and message in explained(error)[1]
    assert explained(KeyError("x"))[1] is None  # An error of the program keeps its traceback.


def test_what_needs_no_tensorflow_does_not_load_it(tmp_path):
    """Helps are tested in test_platform.py."""
    code = "import sys; from commands import called\n"
    code += (
        "print([called(verb).returncode for verb in ('recipes', 'trian')], 'tensorflow' in sys.modules)"
    )
    assert ended("-c", code, folder=tmp_path).stdout == "[0, 2] False\n"


def test_recipes_lists_every_recipe_with_result_and_time():
    process = called("recipes", "--json")
    listed = json.loads(process.stdout)
    assert set(listed["digits_resnet8_se"]) == {"title", "expect", "time"}


@pytest.mark.parametrize(("number", "way"), [(signal.SIGINT, []), (signal.SIGTERM, ["--baseline"])])
def test_an_interrupt_ends_with_130_and_keeps_the_state(tmp_path, number, way):
    long = [*SMOKE, *way, "--set", "schedule.epochs=400", "--out", "run"]
    process = started(*COMMAND, *long, folder=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors and "continues from there" in errors
    assert list((tmp_path / "run" / "checkpoints").glob("epoch-*.index"))


STUCK = """
import ctypes
from dreal_tf.cli import main as command

def stuck(*arguments, **options):
    lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    print("waiting", flush=True)
    library.pthread_mutex_lock(lock), library.pthread_mutex_lock(lock)  # It never comes.

command.app, command._check_verb, command.GRACE = stuck, lambda arguments: None, 0.5
command.main(["train"])
"""


@pytest.mark.skipif(os.name == "nt", reason="a signal there ends the process itself")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_never_returns_to_python_ends_with_130_too(number):
    process = started("-c", STUCK)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Finished epochs are kept" in errors


@pytest.mark.parametrize("error", [SystemExit(130), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("verb", "kept"),
    [
        ("train", "Finished epochs are kept; the same command continues"),
        ("prune", "Finished epochs of fine-tuning are kept"),
        ("study", "Finished runs are kept"),
        ("tune", "Finished epochs of each run are kept"),
        *((verb, "Nothing is kept; the same command starts again.") for verb in ("predict", "index")),
        *((verb, "Nothing is kept; the same command starts again.") for verb in ("export", "report")),
    ],
)
def test_an_interrupt_says_what_is_kept(monkeypatch, verb, kept, error):
    def interrupted(*arguments, **options):
        raise error

    monkeypatch.setattr(main, "_check_verb", lambda arguments: None)
    monkeypatch.setattr(main, "app", interrupted)
    process = called(verb)
    assert process.returncode == 130 and f"Interrupted. {kept}" in process.stderr


def test_outside_the_main_thread_commands_and_callbacks_work_too():
    results = []

    def work():
        callback = DeferInterrupts()
        callback.on_train_begin()
        callback.on_train_batch_end(0)
        callback.on_train_end()
        results.append(called("recipes", "--json").returncode)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [0]
    handler = signal.getsignal(signal.SIGTERM)
    assert called("recipes").returncode == 0 and signal.getsignal(signal.SIGTERM) == handler


def test_keras_opens_a_saved_network_once_we_are_imported(trained):
    folder, _ = trained
    code = (
        "import dreal_tf, keras; network = keras.saving.load_model("
        "'runs/digits_resnet8_se_smoke_seed0/model.keras'); print(network.output_shape)"
    )
    process = ended("-c", code, folder=folder)  # The other order: see test_import.py.
    assert process.stdout.strip() == "(None, 4)", process.stderr


def test_doctor_finds_a_whole_installation(tmp_path):
    process = called("doctor", "--json", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    checks = json.loads(process.stdout)
    assert checks["ok"] and checks["tensorflow"]["cure"] == "" and "took" in checks["training"]["found"]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("kilobytes", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_a_full_disk_is_said_and_loses_nothing(tmp_path, kilobytes):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this system lets no disk be mounted")
    try:
        process = run(*SMOKE, "--baseline", "--out", disk / "run", folder=tmp_path)
        assert process.returncode == 1, process.stderr
        assert "Received: a full disk. Free some" in " ".join(process.stderr.split())
        assert "Traceback" not in process.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        again = run(*SMOKE, "--baseline", "--out", disk / "run", folder=tmp_path)
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)
