"""The machines that train together, as TF_CONFIG names them."""

import contextlib
import json
import os
import socket
from typing import NamedTuple

from dreal_tf.errors import InputError, RunError

PATIENCE = 3.0  # Seconds that a worker is given to answer.


class Cluster(NamedTuple):
    """The workers of a training, and which of them this process is.

    Attributes:
        workers: tuple of str, "host:port" of each; the first is the chief, which keeps the run.
        number: int, this process's position among them.
    """

    workers: tuple
    number: int

    @property
    def is_chief(self):
        """Whether this process keeps the run."""
        return self.number == 0

    def lost(self):
        """Which of the other workers do not answer.

        Returns:
            List of str, such as "worker 1 (two:2222)".
        """
        others = [(n, address) for n, address in enumerate(self.workers) if n != self.number]
        return [f"worker {n} ({address})" for n, address in others if not _answers(address)]


def read_cluster():
    """The cluster that the environment variable TF_CONFIG describes.

    Returns:
        `Cluster`, or None where it names none.
    Raises:
        InputError: if it is not what TensorFlow asks for.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster"), config.get("task")
        if not cluster:
            return None
        chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
        number = int(task["index"]) + (len(chiefs) if task["type"] == "worker" else 0)
        known = task["type"] in ("chief", "worker") and 0 <= number < len(chiefs) + len(workers)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(text, f"{type(error).__name__}: {error}") from error
    if not known:
        raise _malformed(text, f"no task {task['type']} {task['index']} in the cluster")
    return Cluster((*chiefs, *workers), number)


def cluster_of(strategy):
    """The workers that train together, or None.

    Args:
        strategy: str, see `dreal_tf.training.strategies.strategy_named`.
    Returns:
        `Cluster`; None where the strategy is for one machine.
    """
    cluster = read_cluster() if strategy in ("auto", "multi_worker") else None
    return cluster if cluster is not None and len(cluster.workers) > 1 else None


@contextlib.contextmanager
def lost_peers_said(cluster):
    """Turns what TensorFlow raises when another worker is gone into a message that names it.

    Args:
        cluster: `Cluster`, or None: nothing is changed.
    Raises:
        RunError: in place of an error during which some worker did not answer.
    """
    if cluster is None:
        yield
        return
    import tensorflow as tf

    try:
        yield
    except RunError:
        raise  # Something else, such as a loss that is not finite; the others end as well.
    except (tf.errors.OpError, RuntimeError) as error:
        lost = cluster.lost()
        if not lost:
            raise
        raise RunError(
            f"Expected all {len(cluster.workers)} workers to go on. Received: no answer from "
            f"{', '.join(lost)}. Start all of them again with the same commands; what earlier epochs "
            "stored is kept."
        ) from error


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE):
            return True
    except OSError:
        return False


def _malformed(text, reason):
    return InputError(
        "Expected TF_CONFIG to hold a cluster of workers and this process's task, as JSON. Received: "
        f"{text[:200]!r} ({reason}). Write for example "
        """{"cluster": {"worker": ["one:2222", "two:2222"]}, "task": {"type": "worker", "index": 0}}."""
    )
