"""The supplement's statements: as numbers worked by hand, and on networks that a study trained."""

import numpy as np
import pytest
from command_line import called
from statements import Statement, followed, main, statement_lines, statements

from dreal_tf.data.splits import sample_examples
from dreal_tf.experiments.directory import StudyDirectory, parse_rows
from dreal_tf.experiments.jobs import Folders, run_train
from dreal_tf.experiments.study import load_study
from dreal_tf.training.builder import build_data
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.trained_run import trained_network


def epochs(**curves):
    """A history of validation critiques and rewards; `q21` stands for the critique of conv2_1."""
    names = {"q": "val_critique", "r": "val_reward"}
    columns = {f"{names[n[0]]}/conv{n[1]}_{n[2]}/se": values for n, values in curves.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_histories_come_to_numbers_worked_by_hand():
    history = epochs(
        q21=[0.0, 0.5, 1.0], r21=[0.0, 0.0, 1.5], q31=[-1.0, -1.5, -0.5], r31=[-1.0, -1.5, -0.5]
    )
    row = followed(history)
    assert row["gap/conv2"] == pytest.approx(1 / 3) and row["gap/conv3"] == 0
    r = np.corrcoef([0.0, 0.5, 1.0], [0.0, 0.0, 1.5])[0, 1]
    assert row["correlation"] == pytest.approx((r + 1) / 2)
    # The mean critique goes -0.5, -0.5, 0.25, the mean reward -0.5, -0.75, 0.5.
    assert row["critique_rise"] == pytest.approx(0.75) and row["critique_dip"] == 0
    assert row["reward_rise"] == pytest.approx(1.0) and row["reward_dip"] == pytest.approx(0.25)


def test_without_a_critic_there_is_nothing_to_follow():
    assert followed([{"accuracy": 0.5}, {"accuracy": 0.75}]) == {}


def named(tested):
    return {statement.text: statement.values for statement in tested}


def test_statements_are_differences_seed_by_seed():
    rows = [
        {"arm": "baseline", "seed": 0, "energy": 0.25, "across_channels/conv10": 0.5},
        {"arm": "baseline", "seed": 1, "energy": 0.5, "across_channels/conv10": 0.5},
        {"arm": "comparative", "seed": 1, "energy": 0.75, "across_channels/conv10": 0.25},
        {"arm": "comparative", "seed": 0, "energy": 0.375, "across_channels/conv10": 1.0},
        {"arm": "comparative", "seed": 2, "energy": 9.0, "across_channels/conv10": 9.0},
    ]
    for row in rows[2:]:
        row |= {"gap/conv9": 0.5, "gap/conv10": 0.125, "correlation": 0.5}
    values_of = named(statements(rows, []))
    assert sorted(values_of["Grad-CAM is more correct"]) == [0.125, 0.25]
    assert sorted(values_of["the last stage's attention becomes more diverse"]) == [-0.25, 0.5]
    assert values_of["more closely in deeper stages"] == [0.375] * 3  # conv10 is deeper than conv9.
    assert values_of["Q follows R"] == [0.5] * 3


def test_rewards_are_held_to_those_that_rise_without_the_method():
    values = {("baseline", 0): (-0.5, 0.0), ("comparative", 0): (0.0, 0.25), ("comparative", 1): (9, 9)}
    rows = [
        {"arm": arm, "seed": seed, "accuracy": 0.5, "reward/conv2_1/se": one, "reward/conv3_1/se": two}
        for (arm, seed), (one, two) in values.items()
    ]
    rows.append({"arm": "no_attention", "seed": 0, "accuracy": 0.5})
    values_of = named(statements([], rows))
    assert values_of["R ends higher than without the method (ours, not the supplement's)"] == [0.375]


def test_stages_alone_are_held_to_the_baseline_and_to_each_other():
    values = {"baseline": 0.5, "conv2_alone": 0.51, "conv3_alone": 0.52, "comparative": 0.55}
    rows = [{"arm": arm, "seed": 0, "accuracy": value} for arm, value in values.items()]
    values_of = named(statements([], rows))
    assert values_of["conv3 alone beats none"] == pytest.approx([2.0])
    assert values_of["deeper stages gain more"] == pytest.approx([1.0])
    assert values_of["all stages together are best"] == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([1.0, 1.1, 0.9], "confirmed"),
        ([-1.0, -1.1, -0.9], "not confirmed"),
        ([1.0, -1.0, 0.5], "undecided"),
        ([1.0], "undecided"),
        ([], "undecided"),
    ],
)
def test_an_outcome_needs_an_interval_on_one_side_of_zero(values, outcome):
    line = statement_lines([Statement("said", "measured", values)])[-1]
    assert line.split("|")[-2].strip() == outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study's folder with the runs of two arms, as `dreal-tf study` leaves it."""
    folder = StudyDirectory(tmp_path_factory.mktemp("statements") / "out")
    study = load_study("gain_cifar10_se", smoke=True)
    folders = Folders(str(folder.networks), str(folder.runs))
    rows = [
        {"arm": arm, "seed": 0, "seconds": 1.0} | run_train(study, arm, 0, folders)
        for arm in ("baseline", "comparative")
    ]
    folder.add_rows(rows)
    return folder.path


@pytest.fixture
def measured(folder):
    """The command on that folder; the first time, it measures the networks."""
    return called(main, folder)


@pytest.mark.slow
def test_networks_of_a_study_are_measured_once_and_reported(folder, tmp_path):
    (folder / "networks.csv").unlink(missing_ok=True)
    process = called(main, folder)
    assert process.returncode == 0, process.stderr
    assert "comparative, seed 0: " in process.stderr
    assert "| Grad-CAM is more correct |" in process.stdout
    kept = (folder / "networks.csv").read_text()
    rows = {row["arm"]: row for row in parse_rows(kept)}
    assert set(rows) == {"baseline", "comparative"}
    assert "gap/conv2" in rows["comparative"] and "gap/conv2" not in rows["baseline"]
    assert 0 < rows["baseline"]["energy"] < 1
    again = called(main, folder, "--figure", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert again.stdout == process.stdout and "seed 0" not in again.stderr
    assert (folder / "networks.csv").read_text() == kept


@pytest.mark.usefixtures("measured")
def test_the_kept_measurements_are_those_of_the_network(folder):
    path = StudyDirectory(folder).runs / "comparative_seed0"
    rows = parse_rows((folder / "networks.csv").read_text())
    (row,) = [row for row in rows if row["arm"] == "comparative"]
    data = build_data(RunDirectory(path).read_recipe())
    images, _ = sample_examples(data, 2000)
    _, _, network = trained_network(path)
    gate = network(images, training=False)["actions"]["conv4_1/se"]
    gate = gate.numpy().reshape(len(images), -1)
    assert row["across_channels/conv4"] == pytest.approx(gate.std(axis=1).mean(), rel=1e-4)
    assert row["between_images/conv4"] == pytest.approx(gate.std(axis=0).mean(), rel=1e-4)


def test_a_folder_without_runs_is_refused(tmp_path):
    process = called(main, tmp_path / "none")
    assert process.returncode == 1 and "Run the study there first" in process.stderr
