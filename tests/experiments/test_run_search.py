"""The result of a search: its tables, rows and figure."""

import csv
import io

import pytest

from dreal_tf import Choice, Range, Space
from dreal_tf.experiments.figures import search_figure
from dreal_tf.experiments.run_search import SearchResult

RATE, STAGES = "optim.learning_rate", "dreal.stages"


def trial(number, score, rate, stages=None, **fields):
    status = "completed" if score is not None else "diverged"
    best_epoch = None if score is None else 1
    row = {"trial": str(number), "status": status, "score": score, "best_epoch": best_epoch}
    return row | {"epochs": 2, "seconds": 3.0, "values": {RATE: rate, STAGES: stages}} | fields


def measured(score, accuracy, **fields):
    run = {"score": score, "best_epoch": 1, "epochs": 2, "seconds": 3.0, "validation_accuracy": 0.5}
    return run | {"accuracy": accuracy, "loss": 1.0} | fields


TRIALS = [trial(0, 0.5, 0.1), trial(1, None, 9.0), trial(2, 0.25, 0.2, ["conv4"]), trial(3, 0.25, 0.3)]
RESULT = SearchResult(
    objective="val_loss",
    direction="min",
    tuner="random",
    exhausted=False,
    trials=TRIALS,
    best=measured(0.2, 0.75, trial="2", values=TRIALS[2]["values"], recipe="out/best/recipe.json"),
    baseline=measured(0.4, 0.7),
    best_baseline=None,
    improvement={"baseline": {"score": 0.2, "accuracy": 0.05}},
)


def test_as_pandas_it_has_a_row_a_trial_and_a_column_a_field():
    table = RESULT.to_pandas()
    assert list(table.columns[-2:]) == [RATE, STAGES] and table[RATE].tolist() == [0.1, 9.0, 0.2, 0.3]
    assert table["score"].isna().tolist() == [False, True, False, False]


def test_rows_begin_with_the_recipe_without_the_method():
    first, *rows = csv.DictReader(io.StringIO(RESULT.rows_text()))
    assert (first["trial"], first["score"], first[RATE]) == ("baseline", "0.4", "")
    assert [row["status"] for row in rows] == ["completed", "diverged", "completed", "completed"]
    assert rows[2][STAGES] == "['conv4']"


def test_tables_hold_every_trial_and_run_and_fit_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs, trials = RESULT.runs_table().cells, RESULT.trials_table().cells
    assert runs[1:] == [
        ["best, trial 2", "0.2000", "0.7500", "", ""],
        ["without the method", "0.4000", "0.7000", "+0.2000", "+0.0500"],
    ]
    assert trials[2] == ["1", "diverged", "-", "2", "3", "9", "None"]
    narrow = RESULT.trials_table(narrow=True)
    assert narrow.cells[3][-1] == f"{RATE}=0.2, {STAGES}=['conv4']"
    for table in (RESULT.runs_table(), narrow):
        assert max(map(len, table.terminal())) <= 80
    assert "2 trials have the best score; the first of them counts." in RESULT.note()


def test_the_note_says_what_the_method_did_if_the_best_run_recorded_it():
    assert RESULT.note().startswith("Improvement: ")  # A run of an earlier version.
    assert RESULT._replace(best=RESULT.best | {"method": None}).note() == RESULT.note()
    line = "DREAL: actor gradient 31 % of the task gradient."
    assert RESULT._replace(best=RESULT.best | {"method": line}).note() == f"{line} {RESULT.note()}"


@pytest.mark.parametrize(("direction", "best_so_far"), [("min", [0.5, 0.25, 0.25]), ("max", [0.5] * 3)])
def test_the_figure_shows_scores_by_trial_and_by_field(direction, best_so_far):
    space = Space({RATE: Range(0.1, 10.0, log=True), STAGES: Choice(None, ("conv4",))})
    order, rate, stages = search_figure(RESULT._replace(direction=direction), space).axes
    assert order.collections[0].get_offsets().tolist() == [[0, 0.5], [2, 0.25], [3, 0.25]]
    assert order.lines[1].get_ydata().tolist() == best_so_far
    assert order.lines[0].get_ydata()[0] == 0.4  # Without the method.
    assert rate.collections[1].get_offsets().tolist() == [[0.2, 0.25]]  # The best.
    assert stages.collections[0].get_offsets()[:, 0].tolist() == [0, 1, 0]
