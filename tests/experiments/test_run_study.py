"""The result of a study: its tables, its JSON and its files."""

import json
import math

import pytest

from dreal_tf import Study
from dreal_tf.experiments.comparison import summary_tables
from dreal_tf.experiments.directory import StudyDirectory
from dreal_tf.experiments.run_study import StudyResult

ARMS = {"plain": {"dreal.enabled": False}, "taught": {}}
STUDY = Study(what="train", recipe="digits_resnet8_se", arms=ARMS, against="plain")


def rows_of(**arms):
    return [
        {"arm": arm, "seed": seed, "seconds": 1.0, "training_seconds": 1.0, "accuracy": value}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


ROWS = rows_of(plain=(0.5, 0.5), taught=(0.75, 0.75))


def titles(tables):
    return [table.title for table in tables]


def test_a_study_names_the_arm_that_others_are_compared_with(tmp_path):
    result = StudyResult(STUDY, ROWS)
    (table,) = result.tables()
    lines = table.markdown()
    assert len(lines) == 4 and "points over `plain`" in lines[0]
    assert lines[3].startswith("| `taught` |") and "+25.00 (" in lines[3]
    alone = StudyResult(STUDY.model_copy(update={"against": None}), ROWS)
    (table,) = alone.tables()
    assert [row[0] for row in table.cells] == ["arm", "`plain`", "`taught`"]
    assert table.cells[0][1:] == ["seeds", "test accuracy", "training"]
    assert table.cells[2][2].startswith("75.00")
    folder = StudyDirectory(tmp_path)
    result.write(folder)
    written = folder.table.read_text().splitlines()
    assert written[0] == "# unnamed" and set(lines) < set(written)
    assert [table.title for table in summary_tables(ROWS)] == ["plain", "taught"]
    assert all(set(table.markdown()) < set(written) for table in summary_tables(ROWS))
    assert "## accuracy, less that of plain, seed by seed" in written
    with pytest.raises(ValueError, match="arm to compare with"):
        Study(what="train", recipe="digits_resnet8_se", arms=ARMS, against="plane")


def test_an_actor_only_study_may_be_compared_with_an_arm_too():
    arms = {"plain": {"dreal.critic": "paper"}, "taught": {}}
    study = Study(what="actor_only", recipe="digits_resnet8_se", arms=arms, against="plain")
    shown = titles(StudyResult(study, ROWS).tables())
    assert "taught" in shown and "accuracy, less that of plain, seed by seed" in shown


def test_tables_fit_the_terminal(monkeypatch):
    rows = [
        row | {f"val_actor_grad_cosine/conv{i}_10/cbam_spatial": 0.1 for i in range(9)} for row in ROWS
    ]
    rows = [row | {"cross_entropy": 1.0} for row in rows]
    monkeypatch.setenv("COLUMNS", "80")
    result = StudyResult(STUDY, rows)
    alone = StudyResult(STUDY.model_copy(update={"against": None}), rows)
    for table in (*result.tables(), *alone.tables()):
        lines = table.terminal()
        assert max(map(len, lines)) <= 80 and any("taught" in line or "plain" in line for line in lines)


def test_as_json_it_holds_rows_summaries_and_differences_and_null_for_nan():
    rows = rows_of(plain=(0.5,), taught=(0.75,), alone=(math.nan,))
    study = STUDY.replace(arms=ARMS | {"alone": {}})
    values = json.loads(json.dumps(StudyResult(study, rows).to_json(), allow_nan=False))
    assert list(values) == ["study", "what", "rows", "arms", "against", "compared"]
    assert values["rows"] == [*rows[:2], rows[2] | {"accuracy": None}]
    single = {"seeds": 1, "mean": 0.75, "deviation": None, "low": None, "high": None}
    assert values["arms"]["taught"]["accuracy"] == single
    difference = {"seeds": 1, "mean": 0.25, "low": None, "high": None, "p_value": 1.0}
    assert values["compared"]["taught"]["accuracy"] == difference
    assert list(values["compared"]) == ["taught", "alone"]
    assert set(StudyResult(STUDY.replace(against=None), ROWS).to_json()) == set(list(values)[:4])
    other_seed = [*ROWS[:2], ROWS[2] | {"seed": 7}]
    assert StudyResult(STUDY, other_seed).to_json()["compared"] == {"taught": {}}


def test_as_pandas_it_has_a_row_a_run():
    table = StudyResult(STUDY, ROWS).to_pandas()
    assert table.groupby("arm")["accuracy"].mean().to_dict() == {"plain": 0.5, "taught": 0.75}
    assert len(table) == 4
