"""One job in a process of its own."""

import pytest

from dreal_tf import Study
from dreal_tf.errors import InputError
from dreal_tf.experiments.worker import run_job
from dreal_tf.training import plugins
from dreal_tf.training.plugins import load_plugins


def test_a_worker_knows_the_plugins_of_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_files", {})
    (tmp_path / "plugin_of_a_command.py").write_text("gate = None\n")
    load_plugins([tmp_path / "plugin_of_a_command.py"])
    arms = {"mine": {"attention.kind": "plugin_of_a_command:gate"}}
    study = Study(recipe="digits_resnet8_se", arms=arms)
    arguments = {
        "experiment": "train",
        "study": study.model_dump(mode="json"),
        "arm": "mine",
        "seed": 0,
    }
    arguments["folders"] = {"networks": str(tmp_path / "networks"), "runs": str(tmp_path / "runs")}
    with pytest.raises(
        InputError, match="subclass of dreal_tf.AttentionActor.*plugin_of_a_command:gate"
    ):
        run_job("experiment", arguments, tmp_path / "answer.json", tmp_path / "logs" / "mine_seed0.log")
