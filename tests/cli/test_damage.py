"""Damaged and exchanged files of a run, an export and an index: refused by name, or of no effect."""

import io
import json
import shutil

import keras
import numpy as np
import pytest
from class_folder import fill
from commands import called
from PIL import Image

from dreal_tf import load_recipe
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.builder import build_data, build_network
from dreal_tf.training.run_directory import RunDirectory, read_history, write_whole
from dreal_tf.training.train import keep_network, train

TEXTS = ("recipe.json", "environment.json", "history.csv", "metrics.json", "preprocessing.json")
FILES = (*TEXTS, "splits.csv", "model.keras")
METRICS = {"accuracy": 0.75, "loss": 0.5, "best_epoch": 2, "validation_accuracy": 0.5}


def hand_made(folder, classes, kind):
    """A finished run without checkpoints, whose network is drawn at random, and its data."""
    data_dir, run = fill(folder / "data", classes, 20), RunDirectory(folder / "run")
    recipe = load_recipe("digits_resnet8_se", smoke=True).replace({"data.name": "folder"})
    recipe = recipe.replace({"data.image_size": 16, "schedule.epochs": 2, "attention.kind": kind})
    recipe = recipe.reading(data_dir)
    data = build_data(recipe)
    keras.utils.set_random_seed(len(classes))
    network = plain_network(build_network(recipe, data.image_shape, len(classes)))
    run.begin(recipe)
    run.write_environment(len(classes), ["CPU:0"])
    write_whole(run.splits, data.files.to_csv())
    seconds = len(classes) + 0.5  # So that no file is as another run's.
    rows = ("epoch,seconds,val_accuracy", f"1,{seconds},0.25", f"2,{seconds},0.5", "")
    write_whole(run.history, "\r\n".join(rows))
    keep_network(run, network, data.preprocessing)
    run.finish(METRICS | {"training_seconds": 2 * seconds})
    return run.path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, and another of other classes and attention."""
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    return hand_made(one, ("cats", "dogs"), "se"), hand_made(other, ("a", "b", "c"), "cbam")


def flipped(content, mask):
    """The content with a hundredth of its bytes changed."""
    content = np.frombuffer(content, "uint8").copy()
    random = np.random.default_rng(0)
    content[random.choice(len(content), max(1, len(content) // 100), replace=False)] ^= mask
    return content.tobytes()


def png():
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()


def replaced(make):
    def damage(path, other):
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    "empty": lambda path, other: path.write_bytes(b""),
    "half": lambda path, other: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "all but a byte": lambda path, other: path.write_bytes(path.read_bytes()[:-1]),
    "bytes flipped": lambda path, other: path.write_bytes(flipped(path.read_bytes(), 0xA5)),
    "bits flipped": lambda path, other: path.write_bytes(flipped(path.read_bytes(), 1)),
    "a picture": lambda path, other: path.write_bytes(png()),
    "a text": lambda path, other: path.write_text("remember the milk\n"),
    "another run's": lambda path, other: shutil.copy(other, path),
    "a folder": replaced(lambda path: path.mkdir()),
    # As root reads any file, a link to nothing stands for one that may not be read.
    "a link to nothing": replaced(lambda path: path.symlink_to("none")),
    "a link to a folder": replaced(lambda path: path.symlink_to(path.parent)),
}


def copied(source, folder):
    shutil.copytree(source, folder, symlinks=True)
    return folder


def refused(done, name):
    assert done.returncode in (1, 2) and "Received: " in done.stderr and name in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    return True


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_the_damaged_file_of_a_run_is_named(runs, tmp_path, file, damage):
    run = copied(runs[0], tmp_path / "run")
    DAMAGES[damage](run / file, runs[1] / file)
    of_images = file == "preprocessing.json"  # A report prepares images as the recipe says.
    verb = ("predict", run, run) if of_images else ("report", run, "--images", "4", "--json")
    assert refused(called(*verb), file)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("file", TEXTS)
def test_without_checksums_what_is_no_such_file_is_noticed(runs, tmp_path, file):
    """Runs of earlier versions have none."""
    for damage in ("empty", "half", "bytes flipped", "a picture", "a text", "a folder"):
        run = copied(runs[0], tmp_path / damage)
        (run / "SHA256SUMS").unlink()
        DAMAGES[damage](run / file, None)
        verb = ("predict", run, run) if file == "preprocessing.json" else ("report", run, "--json")
        assert refused(called(*verb), file)


def test_without_checksums_the_files_of_another_network_are_noticed(runs, tmp_path):
    for file, verb in (
        ("preprocessing.json", "predict"),
        ("model.keras", "predict"),
        ("model.keras", "evaluate"),
    ):
        run = copied(runs[0], tmp_path / f"{verb}_{file}")
        (run / "SHA256SUMS").unlink()
        shutil.copy(runs[1] / file, run / file)
        images = [runs[0].parent / "data"] if verb == "predict" else []
        assert refused(called(verb, run, *images, "--json"), str(run))


def test_a_change_of_ones_own_is_accepted_without_checksums(runs, tmp_path):
    run = copied(runs[0], tmp_path / "run")
    kept = json.loads((run / "preprocessing.json").read_text())
    (run / "preprocessing.json").write_text(json.dumps(kept | {"class_names": ["Katzen", "Hunde"]}))
    command = "predict", run, runs[0].parent / "data" / "cats" / "00.png", "--json"
    assert refused(called(*command), "SHA256SUMS")
    (run / "SHA256SUMS").unlink()
    assert "Katzen" in (done := called(*command)).stdout or "Hunde" in done.stdout


def test_a_finished_run_is_reported_though_its_network_is_damaged(runs, tmp_path):
    run = copied(runs[0], tmp_path / "run")
    (run / "model.keras").write_bytes(b"")
    done = called("train", run / "recipe.json", "--out", run, "--json")
    assert json.loads(done.stdout)["accuracy"] == METRICS["accuracy"]


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    """What is made of the run: two exports and an index."""
    folder = tmp_path_factory.mktemp("made")
    for name, arguments in (("saved", ()), ("lite", ("--format", "litert"))):
        assert not called("export", runs[0], "--out", folder / name, *arguments).returncode
    assert not called("index", runs[0], runs[0].parent / "data", "--out", folder / "index").returncode
    return folder


OF_INDEX = ("index.json", "network.keras", "embeddings.npy")
OF_EXPORT = ("export.json", "saved_model.pb", "variables/variables.index")
OF_EXPORT += ("variables/variables.data-00000-of-00001",)
MADE = [("index", file) for file in OF_INDEX] + [("saved", file) for file in OF_EXPORT]
MADE += [("lite", "export.json"), ("lite", "model.tflite")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), MADE)
def test_a_damaged_export_or_index_is_refused(runs, made, tmp_path, name, file):
    query = runs[0].parent / "data" / "cats" / "00.png"
    verb = "search" if name == "index" else "predict"
    for damage in DAMAGES.keys() - {"another run's"}:
        damaged = copied(made / name, tmp_path / damage)
        DAMAGES[damage](damaged / file, None)
        assert refused(called(verb, damaged, query, "--json"), damaged.name)


@pytest.mark.slow
def test_without_checksums_an_export_that_is_cut_short_is_refused(runs, made, tmp_path):
    """The interpreter of LiteRT reads past the end of such a file, which ends the process."""
    damaged = copied(made / "lite", tmp_path / "lite")
    (damaged / "SHA256SUMS").unlink()
    for damage in ("empty", "half", "all but a byte", "bytes flipped", "a picture"):
        shutil.copy(made / "lite" / "model.tflite", damaged)
        DAMAGES[damage](damaged / "model.tflite", None)
        query = runs[0].parent / "data" / "cats" / "00.png"
        assert refused(called("predict", damaged, query, "--json"), str(damaged))


def verbs(run, folder):
    images = "--images", "8"
    return {
        "evaluate": ("evaluate", run),
        "export": ("export", run, "--out", folder / "out"),
        "audit": ("audit", run, *images),
        "prune": ("prune", run, *images, "--out", folder / "pruned"),
        "predict": ("predict", run, folder / "cat.png"),
        "index": ("index", run, folder / "cat.png", "--out", folder / "index"),
    }


VARYING = ("milliseconds", "run", "out", "page", "folder", "index", "csv", "figure")


def comparable(values):
    """Results without times and paths."""
    if isinstance(values, dict):
        return {n: comparable(v) for n, v in values.items() if n not in VARYING and "file" not in n}
    return [comparable(value) for value in values] if isinstance(values, list) else values


@pytest.mark.slow
@pytest.mark.parametrize("verb", verbs(None, RunDirectory("x").path))
def test_every_verb_refuses_damage_or_does_without_the_file(runs, tmp_path, verb):
    def result(name, file=None, damage=None):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(runs[0].parent / "data" / "cats" / "00.png", folder / "cat.png")
        run = copied(runs[0], folder / "run")
        if damage is not None:
            DAMAGES[damage](run / file, runs[1] / file)
        done = called(*verbs(run, folder)[verb], "--json")
        keras.utils.clear_session(free_memory=False)
        text = done.stdout.replace(str(folder), "")
        return done, comparable(json.loads(text)) if done.returncode == 0 else None

    _, expected = result("whole")
    for file in FILES:
        for damage in DAMAGES:
            done, values = result(f"{file} {damage}", file, damage)
            assert values == expected if done.returncode == 0 else refused(done, file)


@pytest.mark.slow
def test_a_resumed_run_notices_the_history_of_another(tmp_path):
    recipe = load_recipe("digits_resnet8_se", smoke=True)
    for name, changes in (("one", {}), ("other", {"run.seed": 1, "optim.learning_rate": 0.5})):
        train(recipe.replace(changes), tmp_path / name, strategy="none")
    run, values = RunDirectory(tmp_path / "one"), []
    for path in (run.path, tmp_path / "other"):
        values.append([row["val_accuracy"] for row in read_history(path / "history.csv")])
    assert values[0] != values[1]
    run.metrics.unlink()
    run.sums.unlink()
    shutil.copy(tmp_path / "other" / "history.csv", run.history)
    assert refused(called("train", run.recipe, "--out", run.path, "--json"), "history.csv")
