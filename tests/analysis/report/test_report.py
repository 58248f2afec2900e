"""The report of a run beside its baseline: its files, its numbers, and how it opens in a browser."""

import contextlib
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import BROKEN, EMPTY, GROUNDS, WIDE, opened, photograph, visit
from command_line import command

import dreal_tf
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.builder import build_network
from dreal_tf.training.train import train

FIGURES = {"learning_curves", "module_values", "critic_curves", "gain_and_alignment"}
FIGURES |= {"confusion", "confident_mistakes"}
SMALL = {
    "schedule.epochs": 3,
    "schedule.warmup_epochs": 0.0,
    "data.train_limit": 256,
    "backbone.width": 0.5,
    "dreal.critic": "paper",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    recipe = dreal_tf.load_recipe("digits_resnet8_se").replace(SMALL)
    train(recipe, folder / "ours", strategy="none")
    train(recipe.replace({"dreal.enabled": False}), folder / "baseline", strategy="none")
    return folder


@pytest.fixture(scope="module")
def report(runs):
    """The result of `dreal_tf.report` for the run beside its baseline."""
    return dreal_tf.report(runs / "ours", runs / "baseline", images=40)


@pytest.fixture(scope="module")
def first(runs):
    """A report of the baseline alone, that the command replaces: its result, page and confusion matrix."""
    with contextlib.chdir(runs):
        result = dreal_tf.report("baseline", out="alone.html", images=40)
    note = runs / "alone" / "numbers.json"
    note.write_text(json.dumps(result | {"tables": [*result["tables"], "stale"]}))
    for name in ("stale.csv", "mine.txt"):
        (runs / "alone" / name).write_text("of an earlier report, or of the user")
    return result, (runs / "alone.html").read_text(), (runs / "alone" / "confusion.svg").read_text()


@pytest.fixture(scope="module")
def reported(runs, first):
    """The command, on the baseline alone."""
    options = "--out", "alone.html", "--images", 40, "--json"
    return command("report", "baseline", *options, folder=runs)


@pytest.fixture(scope="module")
def alone(runs, reported):
    """The result of the command, with absolute paths."""
    assert reported.returncode == 0, reported.stderr
    result = json.loads(reported.stdout)
    return result | {path: str(runs / result[path]) for path in ("page", "folder")}


def rows_of(report, name):
    with Path(report["folder"], f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure_lies_beside_the_page_as_png_svg_and_csv(runs, report):
    assert report["page"] == str(runs / "ours" / "report_against_baseline.html")
    assert report["left_out"] == {} and set(report["figures"]) >= FIGURES
    written = {path.name for path in (runs / "ours" / "report_against_baseline").iterdir()}
    expected = {f"{name}.{ending}" for name in report["figures"] for ending in ("png", "svg", "csv")}
    expected |= {f"{name}.csv" for name in report["tables"]} | {"numbers.json"}
    assert written == expected
    for name in report["figures"]:
        picture = (runs / "ours" / "report_against_baseline" / f"{name}.png").read_bytes()
        assert picture[1:4] == b"PNG" and len(picture) > 2000
    assert (
        json.loads((runs / "ours" / "report_against_baseline" / "numbers.json").read_text()) == report
    )
    assert not [path for path in runs.rglob(".dreal_tf-*")]  # Nothing half-written is left.


def test_the_page_is_one_small_file(report):
    text = Path(report["page"]).read_text()
    assert 20_000 < len(text) < 5_000_000
    for name in report["figures"]:
        assert f'id="figure-{name}"' in text


def test_the_page_begins_with_what_the_method_did(runs, report):
    text = Path(report["page"]).read_text()
    line = json.loads((runs / "ours" / "metrics.json").read_text())["method"]["line"]
    assert "<h1>ours</h1>" in text and text.index(line.replace("&", "&amp;")) < text.index(
        "Learning curves</h2>"
    )


def test_numbers_are_those_of_the_runs(runs, report):
    stored = json.loads((runs / "ours" / "metrics.json").read_text())
    assert report["accuracy"] == pytest.approx(stored["accuracy"], abs=1e-6)
    confusions = rows_of(report, "confusion")
    ours = {(r["label"], r["answer"]): int(r["this run"]) for r in confusions}
    assert sum(ours.values()) == 360
    right = sum(count for (label, answer), count in ours.items() if label == answer)
    assert right / 360 == pytest.approx(report["accuracy"])
    others = [int(r["baseline"]) for r in confusions if r["label"] == r["answer"]]
    assert sum(others) / 360 == pytest.approx(report["baseline_accuracy"])
    difference = report["difference"]
    assert difference["mean"] == pytest.approx(report["accuracy"] - report["baseline_accuracy"])
    assert difference["only_this"] - difference["only_other"] == round(360 * difference["mean"])
    mistakes = rows_of(report, "confident_mistakes")
    probabilities = [float(row["probability of this run"]) for row in mistakes]
    assert probabilities == sorted(probabilities, reverse=True) and len(probabilities) <= 12
    assert all(row["label"] != row["answer of this run"] for row in mistakes)


def test_curves_are_those_of_the_history(runs, report):
    with (runs / "ours" / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    curves = [row for row in rows_of(report, "critic_curves") if row["module"] == "conv3_1/se"]
    assert [int(row["epoch"]) for row in curves] == [1, 2, 3]
    for row, epoch in zip(curves, history, strict=True):
        for quantity in ("critique", "reward", "val_reward"):
            assert float(row[quantity]) == float(epoch[f"{quantity}/conv3_1/se"])
    critiques = np.array([float(row["critique"]) for row in curves])
    rewards = np.array([float(row["reward"]) for row in curves])
    stage = next(row for row in rows_of(report, "critic_correlations") if row["stage"] == "conv3")
    assert float(stage["training"]) == pytest.approx(np.corrcoef(critiques, rewards)[0, 1])


def test_values_of_modules_are_those_of_the_audit(runs, report):
    audited = dreal_tf.audit(runs / "ours", images=40)["modules"]
    rows = [row for row in rows_of(report, "module_values") if row["run"] == "this run"]
    assert {row["module"] for row in rows} == set(audited)
    for row in rows:
        value = audited[row["module"]][row["baseline action"]]
        for name in ("value", "low", "high", "accuracy_drop"):
            assert float(row[name]) == pytest.approx(value[name], abs=1e-6)
    assert {row["run"] for row in rows_of(report, "module_values")} == {"this run", "baseline"}


def test_recipes_are_compared_field_by_field(report):
    (row,) = rows_of(report, "recipe_differences")
    assert row == {"field": "dreal.enabled", "this run": "true", "baseline": "false"}


def test_a_run_without_a_critic_says_why_there_are_no_curves(alone):
    assert list(alone["left_out"]) == ["critics"]
    assert alone["left_out"]["critics"].endswith("trained without the method, so it had no critic.")
    assert "difference" not in alone and "critic_curves" not in alone["figures"]
    text = Path(alone["page"]).read_text()
    assert "beside" not in text[text.index("<header") : text.index("</header>")]


def test_the_command_says_what_is_missing_and_what_is_next(reported, alone):
    lines = [line for line in reported.stderr.splitlines() if line.strip()]
    message, following = (
        "Left out: critics. This run was trained without the method, so it had",
        "Next: ",
    )
    assert len(lines) == 2 and lines[0].startswith(message)  # Nothing else is said when all is well.
    assert lines[1] == f"{following}dreal-tf report baseline --against BASELINE_RUN"


def test_wrong_input_ends_the_command_with_two_and_a_cure(runs):
    process = command("report", "ours", "--against", "ours", folder=runs)
    assert process.returncode == 2 and not process.stdout and "Traceback" not in process.stderr
    assert "Expected another run to compare with. Received:" in " ".join(process.stderr.split())


def test_repeated_it_replaces_its_own_files_with_equal_ones(first, reported, alone):
    result, page, confusion = first
    folder = Path(alone["folder"])
    assert not (folder / "stale.csv").exists() and (folder / "mine.txt").exists()
    assert json.loads(reported.stdout) == result
    assert (folder / "confusion.svg").read_text() == confusion
    timed = [text.split("Time of an image")[0] for text in (Path(alone["page"]).read_text(), page)]
    assert timed[0] == timed[1]


def test_what_goes_wrong_leaves_nothing(runs, tmp_path):
    shutil.copytree(runs / "baseline", tmp_path / "run")
    (tmp_path / "run" / "model.keras").unlink()
    with pytest.raises(InputError, match="Expected a run with trained weights."):
        dreal_tf.report(tmp_path / "run", out=tmp_path / "page.html")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_network_that_lost_all_its_attention_is_refused(runs, tmp_path):
    shutil.copytree(runs / "baseline", tmp_path / "run")
    (tmp_path / "run" / "SHA256SUMS").unlink()  # The test changes files.
    blocks = ("conv2_1", "conv3_1", "conv4_1")
    recipe = dreal_tf.load_recipe(runs / "baseline" / "recipe.json").replace(
        {"attention.pruned": blocks}
    )
    (tmp_path / "run" / "recipe.json").write_text(recipe.to_json())
    plain_network(build_network(recipe, (8, 8, 1), 10)).save(tmp_path / "run" / "model.keras")
    with pytest.raises(InputError, match="whose network has attention. Received: .*all go without"):
        dreal_tf.report(tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_it_opens_in_a_browser_from_disk_and_asks_for_nothing(report, alone, tmp_path):
    with opened() as browser:
        for page in (report["page"], alone["page"]):
            for width, scheme in ((1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")):
                addresses, messages = visit(browser, page, width, scheme)
                assert [a for a in addresses if not a.startswith(("file://", "data:"))] == []
                assert any(address.endswith(".html") for address in addresses) and messages == []
                figures = browser.execute_script("return document.querySelectorAll('figure').length")
                result = report if page == report["page"] else alone
                assert figures == len(result["figures"])
                assert browser.execute_script(EMPTY) == [] and browser.execute_script(BROKEN) == []
                overflow = browser.execute_script(
                    "return document.documentElement.scrollWidth - innerWidth"
                )
                assert overflow <= 0 and browser.execute_script(WIDE) == []
                ground = browser.execute_script(
                    "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
                )
                assert (sum(ground) > 600) == (scheme == "light")
                of_figures = browser.execute_script(GROUNDS)
                assert len(of_figures) == figures
                assert all((level > 200) == (scheme == "light") for level in of_figures)


GROUND = "<path d='M0 0H300V200H0z' fill='white'/>"
LINE = "<path d='M0 0L300 200' stroke='red' stroke-width='9'/>"


def drawing(content, width=300):
    return f"<svg width={width} height=200 viewBox='0 0 300 200'>{content}</svg>"


def test_the_instruments_of_the_browser_test_find_what_is_wrong(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><figure id=none></figure>"
        f"<figure id=hollow>{drawing(GROUND)}</figure>"
        f"<figure id=small>{drawing(GROUND + LINE, width=30)}</figure>"
        f"<figure id=whole>{drawing(GROUND + LINE)}</figure>"
        "<svg><image href='data:image/png;base64,BBBB'/></svg>"
        "<img src='data:image/png;base64,AAAA'><p style='width: 2000px'>wide</p>"
        "<link rel=stylesheet href='http://host.invalid/style.css'>"
        "<script>console.error('wrong')</script>"
    )
    with opened() as browser:
        addresses, messages = visit(browser, page, 400)
        assert "http://host.invalid/style.css" in addresses
        assert any("wrong" in line for line in messages)
        assert browser.execute_script(EMPTY) == ["none", "hollow", "small"]
        broken = [f"data:image/png;base64,{content}" for content in ("AAAA", "BBBB")]
        assert browser.execute_script(BROKEN) == broken
        assert browser.execute_script(GROUNDS) == [255, 255, 255]
        assert any(part.startswith("P") for part in browser.execute_script(WIDE))
        photograph(browser, tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 1000
