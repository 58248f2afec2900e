"""Rows that are kept, and rows of something else that are refused."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

from dreal_tf.errors import InputError
from dreal_tf.experiments.studies import Climb, Study
from dreal_tf.experiments.studies.rows import StudyDirectory, parse_rows, read_known_rows, rows_text
from dreal_tf.experiments.studies.table import summaries, summary, table_lines

ARMS = {"a": {"dreal.critic": "paper"}, "b": {"dreal.critic": "direct"}}
STUDY = Study(what="climb", recipe="digits_resnet8_se", arms=ARMS)


def row(arm, seed, **measured):
    return {"arm": arm, "seed": seed, "seconds": 1.5, **measured}


def test_rows_come_back_as_they_were_with_columns_of_their_own(tmp_path):
    folder = StudyDirectory(tmp_path / "s")
    rows = [row("a", 0, accuracy=0.1 + 0.2), row("b", 1, recovered=1e-9), row("a", 1, accuracy=-1.0)]
    with folder.begin(STUDY, ["a", "b"]):
        for one in rows:
            folder.add_row(one)
    assert folder.read_rows() == rows
    with folder.rows.open() as file:
        assert next(csv.reader(file)) == ["arm", "seed", "seconds", "accuracy", "recovered"]
    assert parse_rows(rows_text(rows)) == rows


def test_other_settings_of_an_arm_with_rows_are_refused(tmp_path):
    folder = StudyDirectory(tmp_path)
    with folder.begin(STUDY, ["a", "b"]):
        folder.add_row(row("a", 0, accuracy=0.5))
    changed = STUDY.replace(climb=Climb(steps=7))
    message = "Expected rows of the same settings.*'a' made with climb.steps=2000, now 7.*another --out"
    with pytest.raises(InputError, match=message):
        with folder.begin(changed, ["a", "b"]):
            pass
    with folder.begin(changed, ["b"]):  # It has no rows yet.
        folder.add_row(row("b", 0, accuracy=0.5))
    with pytest.raises(InputError, match="'b' made with climb.steps=7, now 2000"):
        with folder.begin(STUDY, ["a", "b"]):
            pass


def test_more_arms_and_seeds_go_on_in_the_same_folder(tmp_path):
    folder = StudyDirectory(tmp_path)
    with folder.begin(STUDY, ["a"]):
        folder.add_row(row("a", 0, accuracy=0.5))
    more = STUDY.replace(arms=ARMS | {"c": {}}, seeds=(0, 1, 2, 3))
    with folder.begin(more, ["c"]):
        folder.add_row(row("c", 3, accuracy=0.25))
    with folder.begin(more, ["a", "b", "c"]):
        assert [r["arm"] for r in folder.read_rows()] == ["a", "c"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds something else. Choose another --out"):
        with StudyDirectory(tmp_path).begin(STUDY, ["a"]):
            pass
    train = STUDY.replace(what="train")
    with StudyDirectory(tmp_path / "t").begin(train, ["a"]):
        pass
    with pytest.raises(InputError, match="Expected a study of 'climb'.*Received: one of 'train'"):
        with StudyDirectory(tmp_path / "t").begin(STUDY, ["a"]):
            pass


def test_two_commands_do_not_write_into_one_folder(tmp_path):
    with StudyDirectory(tmp_path).begin(STUDY, ["a"]):
        with pytest.raises(InputError, match="into which another command writes"):
            with StudyDirectory(tmp_path).begin(STUDY, ["a"]):
                pass
    with StudyDirectory(tmp_path).begin(STUDY, ["a"]):
        pass


def test_summaries_are_those_of_numpy_and_of_the_t_table():
    values = np.random.default_rng(0).normal(size=5)
    found = summary(values)
    assert found.seeds == 5
    np.testing.assert_allclose(found.mean, np.mean(values))
    np.testing.assert_allclose(found.deviation, np.std(values, ddof=1))
    half = 2.776445 * np.std(values, ddof=1) / np.sqrt(5)  # Student's t: 4 degrees, 97.5 %.
    np.testing.assert_allclose(
        [found.low, found.high], np.mean(values) + np.array([-half, half]), rtol=1e-6
    )
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], theirs)


def test_one_seed_says_nothing_of_the_spread():
    found = summary([0.25])
    assert found.mean == 0.25 and all(map(math.isnan, (found.deviation, found.low, found.high)))


def test_intervals_cover_the_truth_as_often_as_they_say():
    random = np.random.default_rng(1)
    covered = [
        found.low < 3.0 < found.high
        for found in (summary(3.0 + random.normal(size=3)) for _ in range(2000))
    ]
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_the_table_holds_every_arm_and_quantity():
    rows = [row("a", 0, accuracy=0.5), row("a", 1, accuracy=0.7), row("b", 0, loss=0.00012)]
    assert summaries(rows)["a"]["accuracy"].mean == pytest.approx(0.6)
    lines = table_lines(rows)
    assert [line for line in lines if line.startswith("##")] == ["## a", "## b"]
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in cells]
    # Half of it: 12.7062 (t, 1 degree) times 0.1414 over the root of 2, 1.2706.
    assert ["accuracy", "2", "0.6000", "0.1414", "-0.6706 to 1.8706"] in cells
    assert ["loss", "1", "1.20e-04", "-", "-"] in cells
    widths = {len(line) for line in lines[2:5]}
    assert len(widths) == 1


def test_known_rows_do_not_replace_those_that_are_there(tmp_path):
    folder = StudyDirectory(tmp_path)
    folder.add_row({"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5})
    known = tmp_path / "known.csv"
    known.write_text("arm,seed,seconds,log_p\na,0,2.0,-1.0\nb,0,3.0,-2.0\n")
    folder.take_rows(read_known_rows(known, STUDY))
    assert folder.read_rows() == [
        {"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5},
        {"arm": "b", "seed": 0, "seconds": 3.0, "log_p": -2.0},
    ]


@pytest.mark.parametrize("text", ["arm,seed\na,0\n", "arm,seed,seconds\na,x,1.0\n"])
def test_what_is_no_rows_is_refused(tmp_path, text):
    (tmp_path / "known.csv").write_text(text)
    with pytest.raises(InputError, match="Give the rows.csv"):
        read_known_rows(tmp_path / "known.csv", STUDY)


def test_rows_of_another_study_are_refused(tmp_path):
    (tmp_path / "known.csv").write_text("arm,seed,seconds\nc,0,1.0\n")
    with pytest.raises(InputError, match="arms of unnamed.*Received: 'c'"):
        read_known_rows(tmp_path / "known.csv", STUDY)
