"""Every verb that writes, stopped at each of its writes and repeated: it ends as if nothing had been.

The heavy computations between the writes are done once.
"""

import contextlib
import functools
import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from faults import FAULTS, Killed
from PIL import Image

import dreal_tf
from dreal_tf import Choice, Space, load_recipe
from dreal_tf.analysis import audit as auditing
from dreal_tf.analysis.report import report as reporting
from dreal_tf.deployment import export as exporting
from dreal_tf.deployment import image_index
from dreal_tf.deployment import prune as pruning
from dreal_tf.errors import InputError, RunError
from dreal_tf.experiments import run_search, run_study
from dreal_tf.experiments.study import load_study
from dreal_tf.storage import PREFIX, is_ours
from dreal_tf.training import train as training
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.run_directory import RunDirectory

TINY = {
    "dreal.enabled": False,
    "run.figures": 0,
    "backbone.width": 0.25,
    "attention.reduction": 2,
    "data.train_limit": 64,
}
# Files whose bytes or names differ from time to time.
VOLATILE = (
    "SHA256SUMS",
    "tensorboard",
    "environment.json",
    "model.keras",
    "start.keras",
    "network.keras",
    "answer.json",
    "oracle.json",  # Keras Tuner's own state; results and rows say whether the search is the same.
)
TIMES = ("seconds", "milliseconds", "megabytes", "training_seconds")


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    """Tracing a graph takes longer than the few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("digits_resnet8_se", smoke=True).replace(TINY)


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    training.train(recipe, out)
    return out


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), "uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def verbs(recipe, run, images):
    """Functions that carry out a verb in a folder, by name; equal computations are done once."""
    once = pytest.MonkeyPatch()
    for module, name in (
        (exporting, "run_exports"),
        (exporting, "_litert"),
        (pruning, "plan_pruning"),
        (pruning, "network_costs"),
        (reporting, "gather"),
        (auditing, "audit"),
        (image_index, "embed"),
    ):
        once.setattr(module, name, remembered(getattr(module, name)))
    once.setattr(pruning, "run_exports", exporting.run_exports)
    makers = reporting.SECTIONS[1:3]
    sections = remembered(lambda evidence: [make(evidence) for make in makers])
    two = [lambda evidence, number=number: sections(evidence)[number] for number in range(2)]
    once.setattr(reporting, "SECTIONS", two)
    once.setattr(run_study, "run_job", lambda *_: {"accuracy": 0.5})
    once.setattr(run_search, "run_job", functools.partial(copied_run, run))
    write = tf.train.Checkpoint.write
    once.setattr(
        tf.train.Checkpoint, "write", lambda *a: sys.audit("test.checkpoint", a[1]) or write(*a)
    )
    study = load_study("critic_training", smoke=True)
    search = {"space": Space({"dreal.actor_weight": Choice(0.1, 0.2)}), "tuner": "random", "trials": 2}
    with_method = recipe.replace({"dreal.enabled": True})
    yield {
        "train": lambda out: training.train(recipe, out / "run"),
        "train --fresh": lambda out: training.train(recipe, begun(run, out / "run"), fresh=True),
        "export": lambda out: dreal_tf.export(run, out / "served", format="litert"),
        "index": lambda out: image_index.build_index(run, [images], out / "index"),
        "prune": lambda out: dreal_tf.prune(run, keep=1, out=out / "pruned"),
        "prune --epochs": lambda out: dreal_tf.prune(run, keep=1, epochs=1, out=out / "pruned"),
        "report": lambda out: dreal_tf.report(run, out=out / "page.html", images=20),
        "report again": lambda out: dreal_tf.report(run, out=earlier(out / "page.html"), images=20),
        "audit": lambda out: dreal_tf.audit(str(run), 20, out=out / "audit"),
        "study": lambda out: dreal_tf.study(study, out=out / "study", arms=["paper"], seeds=[0, 1]),
        "tune": lambda out: dreal_tf.tune(with_method, out=out / "search", **search),
    }
    once.undo()


def remembered(function):
    """The function, computed once for all arguments."""
    results = []

    def call(*arguments, **options):
        if not results:
            with FAULTS.paused(), in_graphs():
                results.append(function(*arguments, **options))
        return results[0]

    return call


@contextlib.contextmanager
def in_graphs():
    """Images are decoded in a graph alone."""
    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


def copied_run(source, _name, arguments, *_files):
    """In place of a worker: a run that has ended, as its training would leave it."""
    run = RunDirectory(arguments["run"])
    with FAULTS.paused():
        unfinished = shutil.ignore_patterns("metrics.json")
        shutil.copytree(
            source, run.path, dirs_exist_ok=True, ignore=None if arguments["conclude"] else unfinished
        )
        run.recipe.write_text(arguments["recipe"])
        run.sums.unlink()  # They are of the other recipe.
        if arguments["conclude"]:
            run.finish(run.read_metrics())
    return run.read_metrics() if arguments["conclude"] else None


def begun(source, out):
    """A run to be moved aside, unless one was."""
    with FAULTS.paused():
        if not [path for path in out.parent.iterdir() if not is_ours(path)]:
            shutil.copytree(source, out)
    return out


def earlier(page):
    """A report of other figures to be replaced, with a file of the user, unless it is there."""
    folder = page.with_suffix("")
    with FAULTS.paused():
        if not folder.exists():
            folder.mkdir()
            note = {"page": str(page), "figures": ["old"], "tables": ["old_table"]}
            (folder / "numbers.json").write_text(json.dumps(note))
            for name in ("old.png", "old.svg", "old.csv", "old_table.csv", "mine.txt"):
                (folder / name).write_text("earlier")
            page.write_text('<p class="kind">dreal_tf report</p>')
    return page


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(part) for name, part in value.items() if name not in TIMES}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def essence(root):
    """Every path that a command left, and the content of all that does not depend on time and place."""
    contents = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if any(part in name for part in ("tensorboard/", "variables/", "run.2")) or (
            is_ours(path) and path.parent.name in ("study", "search")  # Locks of what several share.
        ):
            continue
        content = None
        if path.is_file() and path.name not in VOLATILE:
            content = path.read_bytes()
            if path.suffix == ".json":
                text = content.decode().replace(str(root), "ROOT")
                content = without_times(json.loads(text))
            elif path.name == "history.csv":
                content = [row | {"seconds": 0} for row in read_history(path)]
            elif (
                path.suffix in (".npz", ".pb", ".png", ".svg", ".html", ".index")
                or "epoch-" in path.name
            ):
                content = None
        contents[name] = content
    return contents


@pytest.fixture(scope="module")
def undisturbed(verbs, tmp_path_factory):
    """A function from a verb to what it leaves, and its writes by kind of fault; each run once."""

    @functools.cache
    def of(verb):
        root = tmp_path_factory.mktemp("whole")
        with FAULTS.inside(root):
            verbs[verb](root)
        return essence(root), {"kill": FAULTS.writes, "full": FAULTS.growing}

    return of


def stopped_and_repeated(verb, kind, at, root, whole):
    """The verb, stopped at a write; then the same verb."""
    with FAULTS.inside(root, kind, at), contextlib.suppress(Killed, RunError):
        verb(root)
    left = {name: content for name, content in essence(root).items() if PREFIX not in name}
    # A new folder that is complete is not made again.
    with contextlib.suppress(InputError) if left == whole else contextlib.nullcontext():
        verb(root)
    assert essence(root) == whole


VERBS = [
    "train",
    "train --fresh",
    "export",
    "index",
    "prune",
    "prune --epochs",
    "report",
    "report again",
]
VERBS += ["audit", "study", "tune"]


@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["kill", "full"])
@pytest.mark.parametrize("verb", VERBS)
def test_stopped_at_any_write_the_same_command_ends_as_if_nothing_had_been(
    verbs, undisturbed, tmp_path, verb, kind, some
):
    whole, writes = undisturbed(verb)
    count = len(writes[kind])
    sample = (count // 2, count - 2) if kind == "kill" else (1,)
    points = sample if some else range(count)
    failed = []
    for at in points:
        root = tmp_path / str(at)
        root.mkdir()
        try:
            stopped_and_repeated(verbs[verb], kind, at, root, whole)
        except Exception as error:
            failed.append(f"{at}, {writes[kind][at]}: {type(error).__name__}: {str(error)[:300]}")
        shutil.rmtree(root)
    print(f"{verb}, {kind}: {len(points)} of {count} writes, {len(failed)} failed")
    assert not failed, "\n".join(["", *failed])
