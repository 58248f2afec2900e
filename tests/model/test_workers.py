"""One replica, two replicas and two worker processes on loopback: the same training."""

import csv
import json
import signal
import socket
import time

import keras
import numpy as np
import pytest
from fresh_process import COMMAND, ended, started

from dreal_tf.training.recipe_files import load_recipe
from dreal_tf.training.train import evaluate

STEPS, BATCH = 20, 32
RECIPE = {
    "backbone.width": 0.25,
    "backbone.synchronized": True,
    "data.batch_size": BATCH,
    "data.train_limit": STEPS * BATCH,
    "augment.crop_padding": 0,  # Each worker draws its own.
    "attention.reduction": 2,
    "dreal.critic": "paper",
    "dreal.trust": False,
    "dreal.actor_weight": 0.5,
    "dreal.actor_warmup": 0,
    "dreal.estimator": "exact",  # The sampled one draws for each replica by itself.
    "dreal.reward_fraction": 1.0,
    "dreal.validation_fraction": 1.0,
    "dreal.instrument_fraction": 0.0,
    "optim.learning_rate": 0.02,
    "schedule.epochs": 1,
    "schedule.warmup_epochs": 0,
}

# Trains a recipe under each strategy, and stores the weights of network and critic.
CODE = """
import sys
import keras, numpy as np, tensorflow as tf
from dreal_tf.training import train as training
from dreal_tf.training.recipe_files import load_recipe

recipe, folder, ending, *strategies = sys.argv[1:]
if "mirrored" in strategies:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )

class Keep(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        variables = self.model.network.variables + self.model.critic.variables
        np.savez(f"{folder}/{strategy}{ending}", *[variable.numpy() for variable in variables])

for strategy in strategies:
    training.train(load_recipe(recipe), f"{folder}/{strategy}", strategy, callbacks=[Keep()])
"""


def free_ports(count):
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def configs():
    """TF_CONFIG of two workers on loopback."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    for index in range(2):
        task = {"type": "worker", "index": index}
        yield json.dumps({"cluster": {"worker": workers}, "task": task})


def start_workers(*arguments):
    return [started(*map(str, arguments), TF_CONFIG=config) for config in configs()]


def rows(out):
    with (out / "history.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_one_replica_two_replicas_and_two_workers_train_alike(tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(load_recipe("digits_resnet8_se").replace(RECIPE).to_json())
    process = ended("-c", CODE, recipe, tmp_path, ".npz", "none", "mirrored")
    assert process.returncode == 0, process.stderr[-2000:]
    out = tmp_path / "multi_worker"
    workers = [
        started("-c", CODE, recipe, tmp_path, f"{n or ''}.npz", "multi_worker", TF_CONFIG=config)
        for n, config in enumerate(configs())
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors[-2000:]
        assert "ran out of data" not in errors  # An epoch ends as it should.
    (one,), arrays = rows(tmp_path / "none"), {}
    for name in ("none", "mirrored", "multi_worker", "multi_worker1"):
        with np.load(tmp_path / f"{name}.npz") as archive:
            arrays[name] = [archive[key] for key in archive.files]
    for strategy in ("mirrored", "multi_worker"):
        (row,) = rows(tmp_path / strategy)
        assert set(row) == set(one)
        for name, value in one.items():
            # Each replica compares the gradients of its own share of the batch.
            if name != "seconds" and not name.startswith("actor_grad_"):
                assert row[name] == pytest.approx(value, rel=2e-3, abs=2e-4), (strategy, name)
        for ours, theirs in zip(arrays["none"], arrays[strategy], strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(arrays["multi_worker"], arrays["multi_worker1"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (tmp_path / "multi_worker_worker1" / "model.keras").exists()  # The chief keeps the run.
    # Evaluation under the strategy is evaluation of what was kept.
    metrics = json.loads((out / "metrics.json").read_text())
    assert evaluate(out)["accuracy"] == pytest.approx(metrics["accuracy"])
    assert rows(out)[0]["val_accuracy"] == pytest.approx(metrics["validation_accuracy"])
    keras.saving.load_model(out / "model.keras")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_lost_worker_is_named_and_both_go_on_from_the_epoch_that_both_have(tmp_path, killed):
    train = [*COMMAND, "train", "digits_resnet8_se", "--strategy", "multi_worker"]
    train += ["--set", "schedule.epochs=6", "--set", "backbone.width=0.5", "--out"]
    for worker in start_workers(*train, tmp_path / "whole"):
        assert worker.wait(timeout=300) == 0
    out = tmp_path / "run"
    workers = start_workers(*train, out)
    while not (out / "checkpoints" / "epoch-2.index").is_file():
        time.sleep(0.1)
        assert all(worker.poll() is None for worker in workers)
    workers[killed].send_signal(signal.SIGKILL)
    _, errors = workers[1 - killed].communicate(timeout=60)
    assert workers[1 - killed].returncode == 1
    assert f"no answer from worker {killed} (127.0.0.1:" in errors and "Start all of them" in errors
    for worker in start_workers(*train, out):
        assert worker.wait(timeout=300) == 0
    one, two = rows(tmp_path / "whole"), rows(out)
    assert [row | {"seconds": 0} for row in one] == [row | {"seconds": 0} for row in two]
