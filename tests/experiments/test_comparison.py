"""Statistics over seeds, and their tables, by hand."""

import itertools
import math

import numpy as np
import pytest

from dreal_tf.experiments.comparison import (
    SeedDifference,
    Table,
    comparison_tables,
    comparisons,
    difference_text,
    results_table,
    seed_difference,
    summaries,
    summary,
    summary_tables,
)
from dreal_tf.experiments.study import load_study


def rows_of(**arms):
    return [
        {"arm": arm, "seed": seed, "seconds": 1.0, "accuracy": value, "reward/conv2_1/se": value}
        for arm, values in arms.items()
        for seed, value in values.items()
    ]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_sign_flips_are_counted_one_by_one(count):
    gains = np.random.default_rng(count).normal(0.5, 1.4, count)
    means = [np.mean(np.array(s) * gains) for s in itertools.product((1, -1), repeat=count)]
    expected = np.mean(np.abs(means) >= abs(gains.mean()) - 1e-12)
    difference = seed_difference(gains)
    assert difference.p_value == pytest.approx(expected)
    assert difference.mean == pytest.approx(gains.mean()) and difference.seeds == count


def test_eight_seeds_that_all_gain_give_the_least_possible_p():
    assert seed_difference(np.arange(8) + 1.0).p_value == pytest.approx(2 / 2**8)
    assert seed_difference(np.zeros(8)).p_value == 1.0
    assert seed_difference([3.0]).p_value == 1.0


def test_the_interval_is_students_of_the_differences():
    difference = seed_difference([1.0, 2.0, 3.0])
    # Mean 2, standard error 1 / sqrt(3), and 4.3027 is Student's t of 2 degrees.
    assert difference.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    assert difference.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)


def test_only_seeds_that_both_arms_have_are_compared():
    rows = rows_of(plain={0: 0.5, 1: 0.75}, taught={1: 1.0, 2: 9.0}, other={7: 1.0})
    differences = comparisons(rows, "plain")
    assert list(differences.index) == [("taught", "accuracy")]  # No single modules.
    assert differences.iloc[0][["seeds", "mean"]].tolist() == [1, 0.25]
    assert comparisons(rows_of(plain={0: 1.0}, other={1: 1.0}), "plain").empty
    assert comparisons(rows_of(other={1: 1.0}), "plain").empty


def test_summaries_are_those_of_numpy_and_of_the_t_table():
    values = np.random.default_rng(0).normal(size=5)
    over_seeds = summary(values)
    assert over_seeds.seeds == 5
    np.testing.assert_allclose(over_seeds.mean, np.mean(values))
    np.testing.assert_allclose(over_seeds.std, np.std(values, ddof=1))
    half = 2.776445 * np.std(values, ddof=1) / np.sqrt(5)  # Student's t: 4 degrees, 97.5 %.
    np.testing.assert_allclose(
        [over_seeds.low, over_seeds.high], np.mean(values) + np.array([-half, half]), rtol=1e-6
    )


def test_equal_values_have_an_interval_without_width():
    assert summary([0.25, 0.25])[1:] == (0.25, 0.0, 0.25, 0.25)


def test_one_seed_says_nothing_of_the_spread():
    one = summary([0.25])
    assert one.mean == 0.25 and all(map(math.isnan, (one.std, one.low, one.high)))


def test_a_measured_nan_is_not_a_missing_value():
    rows = rows_of(a={0: 0.5, 1: math.nan})
    rows.append({"arm": "a", "seed": 2, "seconds": 1.0})
    over_seeds = summaries(rows).loc[("a", "accuracy")]
    assert over_seeds["seeds"] == 2 and math.isnan(over_seeds["mean"])


def test_intervals_cover_the_truth_as_often_as_they_say():
    random = np.random.default_rng(1)
    intervals = [summary(3.0 + random.normal(size=3)) for _ in range(1000)]
    covered = [interval.low < 3.0 < interval.high for interval in intervals]
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1000)


def row(arm, seed, **measured):
    return {"arm": arm, "seed": seed, "seconds": 1.5, **measured}


def rows_by_seed(name="accuracy", **arms):
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
    rows = rows_by_seed(a=[0.5, 0.5], b=[0.5, 0.52])
    for row, loss, seconds in zip(rows, [1.0, 1.0, 0.9, 0.8], [10, 10, 10, 14], strict=True):
        row["cross_entropy"], row["training_seconds"] = loss, seconds
    lines = results_table(study, rows).markdown()
    assert len(lines) == 4  # No rows of c.
    cells = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    # The median of 10 and 14 seconds lies between them.
    assert cells[:3] == ["`b`", "2", "51.00 ± 1.41"] and cells[7] == "12 s"
    assert cells[3].startswith("+1.00 (") and cells[5].startswith("-0.150 (")


def test_a_study_of_identities_is_compared_by_map_and_one_of_settings_on_validation_images():
    rows = rows_by_seed("mAP", a=[0.5, 0.6], b=[0.6, 0.8])
    for row in rows:
        row["rank_1"] = 0.5
    study = load_study("gain_cifar10_se").replace(arms={"a": {}, "b": {}}, against="a")
    heading, _, _, line = results_table(study, rows).markdown()
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert "mAP" in heading and cells[:3] == ["`b`", "2", "70.00 ± 14.14"]
    assert cells[3].startswith("+15.00 (") and cells[5].startswith("0.00 (")  # mAP, rank-1.
    rows = rows_by_seed("validation_accuracy", a=[0.5], b=[0.75])
    heading, _, _, line = results_table(study.replace(evaluated_on="validation"), rows).markdown()
    assert "validation accuracy" in heading and "cross entropy" not in heading
    assert line.split("|")[4].strip() == "+25.00"


def test_a_table_says_how_hard_each_arm_pushed_and_leaves_the_baseline_empty():
    rows = rows_by_seed(a=[0.5, 0.5], b=[0.5, 0.52])
    for row, push in zip(rows[2:], (0.2, 0.302), strict=True):
        row["actor_grad_ratio"] = push
    study = load_study("gain_cifar10_se").replace(arms={"a": {}, "b": {}}, against="a")
    cells = [line.split("|") for line in results_table(study, rows).markdown()]
    column = [cell.strip() for cell in cells[0]].index("push")
    assert [line[column].strip() for line in cells[2:]] == ["", "25.1 %"]


def test_values_that_only_one_arm_has_are_no_pairs():
    assert comparison_tables(rows_by_seed(a=[1.0]), "b") == []
    titles = [
        table.title.split(",")[0] for table in comparison_tables(rows_by_seed(a=[1.0], b=[2.0]), "b")
    ]
    assert titles == ["training_seconds", "accuracy"]


def test_a_table_of_many_wide_columns_is_a_list_of_each_row_and_loses_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cells = [["arm", *("heading " + letter * 12 for letter in "abcde")]]
    cells += [[f"`arm{row}`", *(f"{row}.{column}" for column in range(4)), ""] for row in range(2)]
    lines = Table(cells, "A title").terminal()
    assert lines[0] == "A title" and max(map(len, lines)) <= 80
    assert [line.split("  ")[-1].strip() for line in lines[1:]] == [
        *("arm0", "0.0", "0.1", "0.2", "0.3"),
        *("arm1", "1.0", "1.1", "1.2", "1.3"),
    ]
    assert all(cells[0][1 + n] in lines[2 + n] for n in range(4))


def test_a_difference_that_rounds_to_zero_has_no_sign():
    difference = SeedDifference(8, -0.00004, -0.012, 0.0004, 0.5)
    assert difference_text(difference, digits=3) == "0.000 (-0.012 to 0.000)"


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
