"""Arms compared seed by seed."""

import itertools

import numpy as np
import pytest

from dreal_tf.experiments.studies import Study
from dreal_tf.experiments.studies.comparison import comparison_lines, comparisons, paired_difference
from dreal_tf.experiments.studies.rows import StudyDirectory
from dreal_tf.experiments.studies.runner import conclude, study_lines


def rows_of(**arms):
    return [
        {"arm": arm, "seed": seed, "seconds": 1.0, "accuracy": value, "reward/conv2_1/se": value}
        for arm, values in arms.items()
        for seed, value in values.items()
    ]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_sign_flips_are_counted_one_by_one(count):
    random = np.random.default_rng(count)
    values, others = random.normal(0.5, 1, count), random.normal(0, 1, count)
    gains = values - others
    means = [np.mean(np.array(s) * gains) for s in itertools.product((1, -1), repeat=count)]
    expected = np.mean(np.abs(means) >= abs(gains.mean()) - 1e-12)
    found = paired_difference(values, others)
    assert found.p_value == pytest.approx(expected)
    assert found.mean == pytest.approx(gains.mean()) and found.seeds == count


def test_eight_seeds_that_all_gain_give_the_least_possible_p():
    assert paired_difference(np.arange(8) + 1.0, np.zeros(8)).p_value == pytest.approx(2 / 2**8)
    assert paired_difference(np.ones(8), np.ones(8)).p_value == 1.0


def test_the_interval_is_students_of_the_differences():
    found = paired_difference([1.0, 2.0, 4.0], [0.0, 0.0, 1.0])
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), and 4.3027 is Student's t of 2 degrees.
    assert found.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    assert found.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)


def test_only_seeds_that_both_arms_have_are_compared():
    rows = rows_of(plain={0: 0.5, 1: 0.75}, taught={1: 1.0, 2: 9.0}, other={7: 1.0})
    found = comparisons(rows, "plain")
    assert set(found["taught"]) == {"accuracy"}  # Single modules are not.
    assert found["taught"]["accuracy"][:2] == (1, 0.25) and not found["other"]
    assert not comparison_lines(rows_of(plain={0: 1.0}, other={1: 1.0}), "plain")


def test_a_study_names_the_arm_that_others_are_compared_with(tmp_path):
    arms = {"plain": {"dreal.enabled": False}, "taught": {}}
    told = Study(what="train", recipe="digits_resnet8_se", arms=arms, against="plain")
    rows = rows_of(plain={0: 0.5, 1: 0.5}, taught={0: 0.75, 1: 0.75})
    for row in rows:
        row["training_seconds"] = 1.0
    lines = study_lines(told, rows)
    assert len(lines) == 4 and "points over `plain`" in lines[0]
    assert lines[3].startswith("| `taught` |") and "+25.00 (" in lines[3]
    silent = told.model_copy(update={"against": None})
    assert "## taught" in study_lines(silent, rows)
    folder = StudyDirectory(tmp_path)
    conclude(told, folder, rows)
    written = folder.table.read_text().splitlines()
    assert set(lines) | set(study_lines(silent, rows)) < set(written)
    assert "## accuracy, less that of plain, seed by seed" in written
    with pytest.raises(ValueError, match="arm to compare with"):
        Study(what="train", recipe="digits_resnet8_se", arms=arms, against="plane")


def test_a_climb_may_be_held_to_an_arm_too():
    arms = {"plain": {"dreal.critic": "paper"}, "taught": {}}
    study = Study(what="climb", recipe="digits_resnet8_se", arms=arms, against="plain")
    rows = rows_of(plain={0: 0.5, 1: 0.5}, taught={0: 0.75, 1: 0.75})
    lines = study_lines(study, rows)
    assert "## taught" in lines and "## accuracy, less that of plain, seed by seed" in lines
