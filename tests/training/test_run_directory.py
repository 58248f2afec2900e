import json

import pytest

from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.storage import write_whole
from dreal_tf.training.run_directory import RunDirectory, read_history


def test_a_new_run_writes_its_recipe(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    assert run.started and not run.finished and run.read_recipe() == Recipe()


def test_the_same_recipe_goes_on_and_another_is_refused(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    run.begin(Recipe())
    with pytest.raises(
        InputError, match="they differ in optim.learning_rate, run.seed. Choose another --out"
    ):
        run.begin(Recipe().replace({"optim.learning_rate": 0.3, "run.seed": 1}))


def test_fresh_moves_the_old_run_aside_and_deletes_nothing(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    (run.path / "notes.txt").write_text("keep me")
    run.begin(Recipe().replace({"run.seed": 1}), fresh=True)
    assert run.read_recipe().run.seed == 1
    (old,) = [p for p in tmp_path.iterdir() if p.name.startswith("run.")]
    assert (old / "notes.txt").read_text() == "keep me" and RunDirectory(old).read_recipe() == Recipe()


@pytest.mark.parametrize("path", [".", "..", "../run", "notes/.."])
def test_fresh_moves_no_folder_aside_that_it_is_started_in(tmp_path, monkeypatch, path):
    RunDirectory(tmp_path / "run").begin(Recipe())
    (tmp_path / "run" / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "run" / ("notes" if path == ".." else ""))
    run = RunDirectory(path)
    with pytest.raises(InputError, match="outside the run that --fresh moves aside.*another folder"):
        run.begin(Recipe(), fresh=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    monkeypatch.chdir(tmp_path)  # As the message says.
    RunDirectory("run").begin(Recipe(), fresh=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_data_that_has_moved_makes_no_other_recipe(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe().replace({"data.folder": "/old"}))
    run.begin(Recipe().replace({"data.folder": "/new"}))
    assert run.read_recipe().data.folder == "/new"


def test_checking_writes_nothing(tmp_path):
    RunDirectory(tmp_path / "run").check(Recipe())
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="which holds something else. Choose another --out"):
        RunDirectory(tmp_path).begin(Recipe())
    with pytest.raises(InputError, match="holds something else"):
        RunDirectory(tmp_path / "thesis.tex").begin(Recipe())
    with pytest.raises(InputError, match="holds something else"):
        RunDirectory(tmp_path).begin(Recipe(), fresh=True)
    with pytest.raises(InputError, match=r"Expected a folder that can be written.*Choose another"):
        RunDirectory(tmp_path / "thesis.tex" / "run").begin(Recipe())


def test_metrics_of_a_run_that_has_not_ended_are_refused(tmp_path):
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match="Expected the folder of a run"):
        run.read_recipe()
    run.begin(Recipe())
    with pytest.raises(InputError, match="Expected a finished run"):
        run.read_metrics()


def test_the_environment_is_noted(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    run.write_environment(seed=3, devices=["/device:CPU:0"])
    environment = json.loads(run.environment.read_text())
    assert environment["seed"] == 3 and environment["devices"] == ["/device:CPU:0"]
    assert environment["versions"]["keras"].startswith("3.") and environment["command"]


@pytest.mark.parametrize("kind", ["link", "dangling"])
def test_a_link_stays_and_its_target_holds_the_run(tmp_path, kind):
    target, link = tmp_path / "disk" / "run", RunDirectory(tmp_path / "link")
    target.parent.mkdir()
    link.path.symlink_to(target)
    if kind == "link":
        target.mkdir()
    link.begin(Recipe())
    link.begin(Recipe(), fresh=True)
    assert link.path.is_symlink() and link.started and RunDirectory(target).started
    assert len(list(target.parent.iterdir())) == 2  # The old run lies beside the target.


def test_the_rest_of_a_killed_command_is_no_obstacle(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    (run.path / ".dreal_tf-0123456789ab-1.json").write_text("{")
    run.begin(Recipe())
    run.checkpoints.rmdir()
    run.begin(Recipe())
    assert run.checkpoints.is_dir()


@pytest.mark.parametrize("name", ["history.csv", "model.keras", "environment.json"])
def test_files_beside_a_recipe_that_no_run_wrote_are_not_replaced(tmp_path, name):
    run = RunDirectory(tmp_path / "mine")
    run.path.mkdir()
    run.recipe.write_text(Recipe().to_json())
    (run.path / name).write_text("mine")
    with pytest.raises(InputError, match=f"Received: {name} without them. Choose another --out"):
        run.begin(Recipe())
    run.begin(Recipe(), fresh=True)
    (aside,) = tmp_path.glob("mine.*")
    assert (aside / name).read_text() == "mine"


def test_a_run_is_removed_alone(tmp_path):
    run = RunDirectory(tmp_path / "best")
    run.begin(Recipe())
    run.remove()
    run.remove()
    assert not list(tmp_path.iterdir())
    run.begin(Recipe())
    (run.path / "notes.txt").write_text("mine")
    run.remove()
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("best.") and (aside / "notes.txt").read_text() == "mine"


def test_a_recipe_of_another_kind_of_attention_is_refused(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    with pytest.raises(InputError, match="they differ in attention.kind, .*attention.kernel_size"):
        run.begin(Recipe().replace({"attention.kind": "cbam"}))


def test_a_run_is_sealed_when_it_ends_and_open_when_it_goes_on(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    run.finish({"accuracy": 0.5, "loss": 1.0})
    assert run.read_metrics()["accuracy"] == 0.5
    write_whole(run.metrics, run.metrics.read_text().replace("0.5", "0.7"))
    with pytest.raises(InputError, match="metrics.json'.*SHA256SUMS beside it.*Remove it and repeat"):
        run.read_metrics()
    run.metrics.unlink()
    run.begin(Recipe())
    assert not run.sums.exists()


@pytest.mark.parametrize("name", ["history.csv", "model.keras", "checkpoints", "tensorboard"])
def test_something_else_in_the_place_of_a_file_or_folder_is_named(tmp_path, name):
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe())
    if name == "checkpoints":
        run.checkpoints.rmdir()
    if name in ("checkpoints", "tensorboard"):
        (run.path / name).write_text("")
    else:
        (run.path / name).symlink_to("none")
    for use in (run.read_recipe, lambda: run.check(Recipe())):
        with pytest.raises(
            InputError, match=f"of a run. Received: .*{name}', which is not one. Move it"
        ):
            use()


@pytest.mark.parametrize("first", [0, 1])
def test_epochs_count_from_1_also_where_an_earlier_version_counted_from_0(tmp_path, first):
    (tmp_path / "history.csv").write_text(f"epoch,loss\n{first},0.5\n{first + 1},0.25\n")
    assert read_history(tmp_path / "history.csv") == [
        {"epoch": 1, "loss": 0.5},
        {"epoch": 2, "loss": 0.25},
    ]


def test_a_history_must_hold_every_epoch(tmp_path):
    path = tmp_path / "history.csv"
    for text, reason in (
        ("epoch,loss\n0,1\n2,1\n", "the epochs"),
        ("epoch,loss\n0,1\n", "the epochs"),
        ("epoch,loss\n0,1\n1,0.", r"it has the epochs \[0.0\]"),
        ("epoch,loss\n0,1\n1,x\n", "could not convert"),
        ("epoch,epoch\n0,1\n1,1\n", "a column twice"),
    ):
        path.write_text(text)
        with pytest.raises(
            InputError, match=f"for each of 2 epochs. Received: .*{path.name}'.*{reason}"
        ):
            read_history(path, 2)
