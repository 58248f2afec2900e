"""Tables of rows, as Markdown and for the terminal."""

import pytest

from dreal_tf.experiments.comparison import (
    Table,
    comparison_tables,
    results_table,
    summaries,
    summary_tables,
)
from dreal_tf.experiments.study import load_study


def row(arm, seed, **measured):
    return {"arm": arm, "seed": seed, "seconds": 1.5, **measured}


def rows_of(name="accuracy", **arms):
    return [
        {"arm": arm, "seed": seed, "seconds": 1.0, "training_seconds": 10.0 + seed, name: value}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


def test_the_table_holds_every_arm_and_quantity():
    rows = [row("a", 0, accuracy=0.5), row("a", 1, accuracy=0.7), row("b", 0, loss=0.00012)]
    assert summaries(rows).loc[("a", "accuracy"), "mean"] == pytest.approx(0.6)
    tables = summary_tables(rows)
    assert [table.title for table in tables] == ["a", "b"]
    lines = [line for table in tables for line in table.markdown()]
    assert [line for line in lines if line.startswith("##")] == ["## a", "## b"]
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in cells]
    # Half of it: 12.7062 (t, 1 degree) times 0.1414 over the root of 2, 1.2706.
    assert ["accuracy", "2", "0.6000", "0.1414", "-0.6706 to 1.8706"] in cells
    assert ["loss", "1", "1.20e-04", "-", "-"] in cells
    widths = {len(line) for line in lines[2:5]}
    assert len(widths) == 1


def test_a_table_shows_losses_too_and_missing_values_leave_a_cell_empty():
    study = load_study("gain_cifar10_se").replace(arms={"a": {}, "b": {}, "c": {}}, against="a")
    rows = rows_of(a=[0.5, 0.5], b=[0.5, 0.52])
    for row, loss, seconds in zip(rows, [1.0, 1.0, 0.9, 0.8], [10, 10, 10, 14], strict=True):
        row["cross_entropy"], row["training_seconds"] = loss, seconds
    lines = results_table(study, rows).markdown()
    assert len(lines) == 4  # No rows of c.
    cells = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    # The median of 10 and 14 seconds lies between them.
    assert cells[:3] == ["`b`", "2", "51.00 ± 1.41"] and cells[7] == "12 s"
    assert cells[3].startswith("+1.00 (") and cells[5].startswith("-0.150 (")


def test_a_study_of_identities_is_compared_by_map_and_one_of_settings_on_validation_images():
    rows = rows_of("mAP", a=[0.5, 0.6], b=[0.6, 0.8])
    for row in rows:
        row["rank_1"] = 0.5
    study = load_study("gain_cifar10_se").replace(arms={"a": {}, "b": {}}, against="a")
    heading, _, _, line = results_table(study, rows).markdown()
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert "mAP" in heading and cells[:3] == ["`b`", "2", "70.00 ± 14.14"]
    assert cells[3].startswith("+15.00 (") and cells[5].startswith("+0.00 (")  # mAP, rank-1.
    rows = rows_of("validation_accuracy", a=[0.5], b=[0.75])
    heading, _, _, line = results_table(study.replace(evaluated_on="validation"), rows).markdown()
    assert "validation accuracy" in heading and "cross entropy" not in heading
    assert line.split("|")[4].strip() == "+25.00"


def test_values_that_only_one_arm_has_are_no_pairs():
    assert comparison_tables(rows_of(a=[1.0]), "b") == []
    titles = [table.title.split(",")[0] for table in comparison_tables(rows_of(a=[1.0], b=[2.0]), "b")]
    assert titles == ["training_seconds", "accuracy"]


def test_a_wide_table_is_folded_to_the_terminal_and_loses_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cells = [["name", "one", "two"], ["`a`[b]" + "c" * 100, "1" * 30, "2" * 30]]
    lines = Table(cells, "A title").terminal()
    assert lines[0].strip() == "A title" and max(map(len, lines)) <= 80
    columns = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[3:]]
    assert ["".join(parts) for parts in zip(*columns, strict=True)] == [
        "a[b]" + "c" * 100,
        "1" * 30,
        "2" * 30,
    ]
