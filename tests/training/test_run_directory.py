import json

import pytest

from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.writing import write_whole


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


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "metrics.json"
    write_whole(file, "old")

    def broken(*paths):
        raise OSError("the power went")

    with monkeypatch.context() as outage:
        outage.setattr("os.replace", broken)
        with pytest.raises(OSError, match="the power went"):
            write_whole(file, "a new and longer text")
    assert file.read_text() == "old"
    write_whole(file, "new")
    assert file.read_text() == "new"
