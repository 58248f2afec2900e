"""Rows as CSV, and rows of something else that are refused."""

import csv

import pytest

from dreal_tf import Study
from dreal_tf.errors import InputError
from dreal_tf.experiments.directory import StudyDirectory, parse_rows, read_known_rows, rows_text

ARMS = {"a": {"dreal.critic": "paper"}, "b": {"dreal.critic": "direct"}}
STUDY = Study(what="actor_only", recipe="digits_resnet8_se", arms=ARMS)


def row(arm, seed, **measured):
    return {"arm": arm, "seed": seed, "seconds": 1.5, **measured}


def test_rows_come_back_as_they_were_with_columns_of_their_own(tmp_path):
    folder = StudyDirectory(tmp_path / "s")
    rows = [row("a", 0, accuracy=0.1 + 0.2), row("b", 1, recovered=1e-9), row("a", 1, accuracy=-1.0)]
    with folder.begin(STUDY.settings(["a", "b"])):
        for one in rows:
            folder.add_rows([one])
    assert folder.read_rows() == rows
    with folder.rows.open() as file:
        assert next(csv.reader(file)) == ["arm", "seed", "seconds", "accuracy", "recovered"]
    assert parse_rows(rows_text(rows)) == rows


@pytest.mark.parametrize("text", ["arm,seed\na,0\n", "arm,seed,seconds\na,x,1.0\n"])
def test_what_is_no_rows_is_refused(tmp_path, text):
    (tmp_path / "known.csv").write_text(text)
    with pytest.raises(InputError, match="Give the rows.csv"):
        read_known_rows(tmp_path / "known.csv", STUDY)


def test_rows_of_another_study_are_refused(tmp_path):
    (tmp_path / "known.csv").write_text("arm,seed,seconds\nc,0,1.0\n")
    with pytest.raises(InputError, match="arms of unnamed.*Received: 'c'"):
        read_known_rows(tmp_path / "known.csv", STUDY)
