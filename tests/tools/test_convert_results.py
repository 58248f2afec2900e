"""Rows of studies from before the logged names changed."""

import csv
import subprocess
import sys

from fresh_process import REPOSITORY

OLD = ["arm", "loss", "val_loss", "val_task_loss", "val_explained/conv2_1/se", "explained_held/a"]
NEW = ["arm", "loss", "val_loss", "val_r2/conv2_1/se", "r2_held/a", "actor_grad_cosine", "log_p@500"]


def test_columns_are_renamed_and_the_sum_of_all_losses_is_dropped(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*OLD, "climb_cosine", "log_p@500"])
        writer.writerow(["paper", 1, 2, 3, 4, 5, 6, 7])
    for _ in range(2):  # Converted rows stay as they are.
        subprocess.run([sys.executable, REPOSITORY / "tools" / "convert_results.py", path], check=True)
        with path.open(newline="") as file:
            assert list(csv.reader(file)) == [NEW, ["paper", "1", "3", "4", "5", "6", "7"]]


def test_the_rows_that_come_with_the_studies_have_been_converted():
    for path in (REPOSITORY / "recipes" / "studies" / "results").glob("*.csv"):
        columns = path.read_text(encoding="utf-8").splitlines()[0]
        assert "climb" not in columns and "explained" not in columns and "task_loss" not in columns
