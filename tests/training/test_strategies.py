"""TF_CONFIG read, and workers that are gone named."""

import json
import socket

import pytest
import tensorflow as tf

from dreal_tf.errors import InputError, RunError
from dreal_tf.training.strategies import (
    Cluster,
    cluster_of,
    naming_lost_workers,
    read_cluster,
    strategy_named,
)
from dreal_tf.training.train import run_of_worker

TWO = {"worker": ["one:2222", "two:2222"]}


def configure(monkeypatch, cluster, kind="worker", index=0):
    text = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
    monkeypatch.setenv("TF_CONFIG", text)


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        (TWO, "worker", 1, Cluster(("one:2222", "two:2222"), 1)),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "worker", 1, Cluster(("a:1", "b:2", "c:3"), 2)),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "chief", 0, Cluster(("a:1", "b:2", "c:3"), 0)),
    ],
)
def test_a_cluster_is_read(monkeypatch, cluster, kind, index, expected):
    configure(monkeypatch, cluster, kind, index)
    assert read_cluster() == expected
    assert read_cluster().is_chief == (expected.number == 0)


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"cluster": {}}'])
def test_no_cluster_is_none(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert read_cluster() is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "ab",
        "[1]",
        "[" * 10**5,
        json.dumps({"cluster": {"worker": "abc"}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": ["one", "two"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": TWO}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": "x"}}),
        json.dumps({"cluster": TWO, "task": {"type": "ps", "index": 0}}),
    ],
)
def test_what_is_no_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"Expected TF_CONFIG to hold a cluster.*Received.*Write for"):
        read_cluster()


def test_a_worker_that_does_not_answer_is_named(monkeypatch):
    with (
        socket.create_server(("127.0.0.1", 0)) as alive,
        socket.create_server(("127.0.0.1", 0)) as gone,
    ):
        addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in (alive, gone)]
        gone.close()
        cluster = Cluster(("127.0.0.1:1", *addresses), 0)
        assert cluster.lost() == [f"worker 2 ({addresses[1]})"]
        with pytest.raises(RunError, match=rf"no answer from worker 2 \({addresses[1]}\)\. Start all"):
            with naming_lost_workers(cluster):
                raise tf.errors.UnavailableError(None, None, "Connection reset by peer")


def test_what_ends_all_workers_alike_is_no_lost_worker():
    cluster = Cluster(("127.0.0.1:1", "127.0.0.1:2"), 0)  # Nobody answers there.
    with pytest.raises(RunError, match="finite"), naming_lost_workers(cluster):
        raise RunError("Expected a finite loss. Received: nan. Lower optim.learning_rate.")


def test_an_error_while_all_workers_answer_stays_what_it_is():
    with socket.create_server(("127.0.0.1", 0)) as alive:
        cluster = Cluster(("127.0.0.1:1", f"127.0.0.1:{alive.getsockname()[1]}"), 0)
        with pytest.raises(tf.errors.InternalError, match="mine"), naming_lost_workers(cluster):
            raise tf.errors.InternalError(None, None, "mine")
        with pytest.raises(InputError), naming_lost_workers(None):
            raise InputError("x")


def test_every_worker_has_a_folder_of_its_own(monkeypatch):
    configure(monkeypatch, TWO, index=1)
    cluster = cluster_of("auto")
    assert run_of_worker("runs/a", cluster).path.name == "a_worker1"
    assert cluster_of("none") is None and cluster_of("mirrored") is None
    configure(monkeypatch, TWO, index=0)
    assert run_of_worker("runs/a", cluster_of("multi_worker")).path.name == "a"
    configure(monkeypatch, {"worker": ["one:2222"]})
    assert cluster_of("auto") is None  # Alone there is nobody to wait for.


def test_strategies_by_name(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert strategy_named("none").num_replicas_in_sync == 1
    assert strategy_named("auto").num_replicas_in_sync == 1
    assert strategy_named("mirrored").num_replicas_in_sync == 2
    with pytest.raises(InputError, match="Received: 'miror'. Did you mean 'mirrored'"):
        strategy_named("miror")
    with pytest.raises(InputError, match="Received: no TF_CONFIG. Set it on each"):
        strategy_named("multi_worker")
    with pytest.raises(InputError, match="Expected a TPU.*Received: none that answers as 'local'"):
        strategy_named("tpu")
