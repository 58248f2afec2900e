"""Wrong inputs of a report are refused with a reason, and nothing is written."""

import json

import pytest

from dreal_tf import load_recipe
from dreal_tf.analysis.inputs import check_audit_folder, report_inputs
from dreal_tf.errors import InputError

NAMES = ["cat", "dog"]


def make_run(folder, changes=(), names=NAMES):
    """The files of a run that the checks read."""
    folder.mkdir()
    recipe = load_recipe("digits_resnet8_se").replace(dict(changes))
    (folder / "recipe.json").write_text(recipe.to_json())
    (folder / "metrics.json").write_text('{"accuracy": 0.5}')
    (folder / "history.csv").write_text("epoch,loss\n1,1.0\n")
    (folder / "preprocessing.json").write_text(json.dumps({"class_names": names}))
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def refused(message, *arguments, **named):
    with pytest.raises(InputError, match=message) as caught:
        report_inputs(*arguments, **named)
    text = str(caught.value)
    assert text.startswith("Expected ") and "Received: " in text and text.rstrip().endswith(".")


def test_a_run_and_its_baseline_are_good(run, tmp_path):
    other = make_run(tmp_path / "other", {"dreal.enabled": False, "attention.kind": "none"})
    inputs = report_inputs(run, other)
    assert (inputs.page, inputs.folder) == (
        run / "report_against_other.html",
        run / "report_against_other",
    )
    assert report_inputs(run).page == run / "report.html"  # Neither replaces the other.
    assert inputs.run.metrics == {"accuracy": 0.5} and not inputs.baseline.recipe.dreal.enabled
    inputs = report_inputs(run, out=tmp_path / "a.b.html")
    assert (inputs.page, inputs.folder) == (tmp_path / "a.b.html", tmp_path / "a.b")
    assert inputs.baseline is None


def test_a_missing_run(run, tmp_path):
    refused("the folder of a run. Received: .*none", tmp_path / "none")
    refused("the folder of a run. Received: .*none", run, tmp_path / "none")


def test_an_unfinished_run(run):
    (run / "metrics.json").unlink()
    refused("Expected a finished run.", run)


@pytest.mark.parametrize(
    "text, problem", [(None, "which is not there"), ("", "empty"), ("epoch\n", "empty")]
)
def test_a_run_without_history(run, tmp_path, text, problem):
    good = make_run(tmp_path / "good")
    (run / "history.csv").unlink()
    if text is not None:
        (run / "history.csv").write_text(text)
    refused(f"Expected the history of a run.*history.csv.*{problem}", run)
    refused(f"Expected the history of a run.*history.csv.*{problem}", good, run)


def test_a_network_without_attention(tmp_path):
    plain = make_run(tmp_path / "p", {"attention.kind": "none", "dreal.enabled": False})
    refused("whose network has attention. Received: .*attention.kind='none'", plain)


def test_a_run_against_itself(run, tmp_path):
    refused("Expected another run to compare with. Received: .*the run itself", run, run)
    refused("Expected another run to compare with", run, tmp_path / "run" / ".." / "run")


def test_runs_on_other_data_and_other_classes(run, tmp_path):
    other = make_run(tmp_path / "other", {"data.name": "cifar10"})
    refused(
        "the same data to compare with. Received: data.name='cifar10'.*data.name='digits'", run, other
    )
    classes = make_run(tmp_path / "classes", names=["cat", "dog", "cow"])
    refused(
        r"the same classes.*Received: 3 classes \(cat, dog, cow\).*2 classes \(cat, dog\)", run, classes
    )
    sizes = make_run(tmp_path / "sizes", {"data.image_size": 16})
    refused("Received: data.image_size=16", run, sizes)


def record(run, rows):
    lines = [f'"{path}",1,1,"{sha256}","cat","{split}"' for path, sha256, split in rows]
    (run / "splits.csv").write_text("\n".join(["path,bytes,modified_ns,sha256,class,split", *lines]))


def test_runs_that_were_tested_on_other_images(run, tmp_path):
    other = make_run(tmp_path / "other")
    rows = [("a.png", "aa", "test"), ("b.png", "bb", "train"), ("c.png", "cc", "gallery")]
    record(run, rows)
    report_inputs(run, other)  # One without a record, as of data that is built in.
    record(other, [*rows, ("d.png", "dd", "validation")])
    report_inputs(run, other)
    message = "the same test images to compare with. Received: .*other', whose splits.csv .* in {} of them, such as '{}'"
    for changed, count, first in (
        ([*rows, ("new.png", "ee", "query")], 1, "new.png"),
        ([("a.png", "zz", "test"), *rows[1:]], 1, "a.png"),
        ([("a.png", "aa", "train"), ("b.png", "bb", "test"), rows[2]], 2, "a.png"),
    ):
        record(other, changed)
        refused(message.format(count, first), run, other)
    record(other, [(path, "", split) for path, _, split in rows])  # Not hashed: data.verify=false.
    report_inputs(run, other)


def test_made_up_images_of_other_shapes(tmp_path):
    made_up = {"data.name": "generated"}
    one = make_run(tmp_path / "one", made_up)
    other = make_run(tmp_path / "other", made_up | {"data.shape": (16, 16, 3), "data.images": 64})
    refused(r"Received: data.shape=\(16, 16, 3\), data.images=64", one, other)


def test_too_few_images(run):
    refused("at least 2 images", run, images=1)


def test_a_place_that_holds_something_else(run, tmp_path):
    (run / "report").mkdir()
    (run / "report" / "mine.txt").write_text("mine")
    refused("a new place for the report, or that of an earlier one. Received: .*/report'", run)
    (run / "report" / "numbers.json").write_text("{}")  # Now it is an earlier report's.
    report_inputs(run)
    for other in ('{"mine": 1}', "[1]", "mine"):
        (run / "report" / "numbers.json").write_text(other)
        refused("Received: .*/report', which is something else", run)
    (run / "report" / "numbers.json").write_text('{"page": "", "figures": [], "tables": []}')
    (run / "report.html").write_text("mine")
    refused("Expected a report to replace. Received: .*report.html', which is another page", run)
    (tmp_path / "mine.html").write_text("mine")
    refused("Received: .*mine.html', which is something else", run, out=tmp_path / "mine.html")
    refused("Received: .*/run', which is something else", run, out=tmp_path / "run.html")


def test_a_place_that_cannot_be_written(run, tmp_path):
    refused("Received: .*whose folder does not exist", run, out=tmp_path / "nowhere" / "r.html")
    refused("Expected a page to write", run, out=tmp_path / "report")
    (tmp_path / "folder.html").mkdir()
    refused("Received: .*a folder", run, out=tmp_path / "folder.html")


def test_an_audit_replaces_audits_alone(tmp_path):
    check_audit_folder(tmp_path / "new" / "audit")
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine.txt").write_text("mine")
    check_audit_folder(tmp_path)
    (tmp_path / "audit.csv").write_text("mine")
    with pytest.raises(
        InputError, match="a new place for the audit.*audit.csv', which is something else"
    ):
        check_audit_folder(tmp_path)
    (tmp_path / "audit.json").write_text('{"modules": {}, "attention": {}}')
    check_audit_folder(tmp_path)
    with pytest.raises(InputError, match="Expected a folder that can be written"):
        check_audit_folder(tmp_path / "mine.txt" / "audit")
