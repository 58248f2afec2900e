"""Distribution strategies by name, and the machines that train together as TF_CONFIG names them.

TensorFlow is imported when a strategy is made, so that the command line checks its input without it.
"""

import contextlib
import json
import os
import re
import socket
from typing import NamedTuple

from dreal_tf.errors import InputError, RunError, unknown_name

STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")
PATIENCE = 3.0  # Seconds that a worker has to answer.
CLUSTER = (
    """{"cluster": {"worker": ["one:2222", "two:2222"]}, "task": {"type": "worker", "index": 0}}"""
)


def strategy_named(name):
    """The distribution strategy of a name.

    Args:
        name: str: "none", one device; "mirrored", all GPUs of this machine (all logical CPUs if it has
            no GPU); "multi_worker", all machines that TF_CONFIG names, which must be created before
            TensorFlow does anything else; "tpu", the TPU of this machine, or the one that TPU_NAME
            names; "auto", multi_worker if TF_CONFIG names several workers, mirrored if there are
            several GPUs, else none.
    Returns:
        `tf.distribute.Strategy`.
    Raises:
        InputError: if the name is unknown, or the devices that it needs are missing.
    Example:
        >>> strategy_named("none").num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    import tensorflow as tf

    if name == "multi_worker" or (name == "auto" and cluster_of("auto") is not None):
        return _multi_worker()
    gpus = tf.config.list_logical_devices("GPU") if name in ("auto", "mirrored") else []
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(gpus)
    return _tpu() if name == "tpu" else tf.distribute.get_strategy()


def _mirrored(gpus):
    import tensorflow as tf

    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise InputError(
            "Expected several devices for the strategy 'mirrored'. Received: "
            f"{len(devices)}. Use the strategy 'auto' or 'none'."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multi_worker():
    import tensorflow as tf

    if read_cluster() is None:
        raise InputError(
            "Expected TF_CONFIG to name all workers for the strategy 'multi_worker'. Received: no "
            f"TF_CONFIG. Set it on each of them, such as TF_CONFIG='{CLUSTER}'."
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu():
    import tensorflow as tf

    name = os.environ.get("TPU_NAME", "local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"Expected a TPU for the strategy 'tpu'. Received: none that answers as {name!r} "
            f"({str(error).splitlines()[0][:100]}). Set TPU_NAME, or use the strategy 'auto'."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


class Cluster(NamedTuple):
    """The workers of a training, and this process's number among them.

    Attributes:
        workers: tuple of str, "host:port" of each; the first is the chief, which keeps the run.
        number: int, this process's position in `workers`.
    """

    workers: tuple
    number: int

    @property
    def is_chief(self):
        """Whether this process keeps the run."""
        return self.number == 0

    def lost(self):
        """The other workers that do not answer.

        Returns:
            List of str, such as "worker 1 (two:2222)".
        """
        others = [(n, address) for n, address in enumerate(self.workers) if n != self.number]
        return [f"worker {n} ({address})" for n, address in others if not _answers(address)]


def read_cluster():
    """The cluster that the environment variable TF_CONFIG describes.

    TensorFlow's `TFConfigClusterResolver` reads a malformed TF_CONFIG without an error.

    Returns:
        `Cluster`, or None if it describes none.
    Raises:
        InputError: if TF_CONFIG is malformed.
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
        if task["type"] not in ("chief", "worker") or not 0 <= number < len(chiefs) + len(workers):
            raise ValueError(f"no task {task['type']} {task['index']} in the cluster")
        for address in (*chiefs, *workers):
            if not re.fullmatch(r"\S+:\d{1,5}", address):
                raise ValueError(f"{address!r} is no host:port")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            "Expected TF_CONFIG to hold a cluster of workers and this process's task, as JSON. Received: "
            f"{text[:200]!r} ({type(error).__name__}: {error}). Write for example {CLUSTER}."
        ) from error
    return Cluster((*chiefs, *workers), number)


def cluster_of(strategy):
    """The workers that train together under a strategy.

    Args:
        strategy: str, see `strategy_named`.
    Returns:
        `Cluster`; None if one process trains alone.
    """
    cluster = read_cluster() if strategy in ("auto", "multi_worker") else None
    return cluster if cluster is not None and len(cluster.workers) > 1 else None


@contextlib.contextmanager
def naming_lost_workers(cluster):
    """Replaces TensorFlow's errors after the loss of a worker by a message that names it.

    Args:
        cluster: `Cluster`, or None to change nothing.
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
        raise  # Another cause, such as a loss that is not finite; the other workers end as well.
    except (tf.errors.OpError, RuntimeError) as error:
        lost = cluster.lost()
        if not lost:
            raise
        raise RunError(
            f"Expected all {len(cluster.workers)} workers to continue. Received: no answer from "
            f"{', '.join(lost)}. Start all of them again with the same commands; they continue from "
            "the last stored epoch."
        ) from error


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE):
            return True
    except OSError:
        return False
