"""Distribution strategies by name: the devices of this machine, several machines, a TPU."""

import os

import tensorflow as tf

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.training.cluster import cluster_of, read_cluster

STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")


def strategy_named(name):
    """The distribution strategy of a name.

    Args:
        name: str: "none", one device; "mirrored", all GPUs of this machine (all logical CPUs where
            there is no GPU); "multi_worker", all machines that TF_CONFIG names, which must be done
            before anything else is asked of TensorFlow; "tpu", the TPU of this machine, or the one
            that TPU_NAME names; "auto", multi_worker where TF_CONFIG names several workers, else
            mirrored where there are several GPUs, else none.
    Returns:
        `tf.distribute.Strategy`.
    Raises:
        InputError: if the name is unknown, or there is nothing of its kind to train on.
    Example:
        >>> strategy_named("none").num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    if name == "auto":
        name = _automatic()
    made = {"mirrored": _mirrored, "multi_worker": _multi_worker, "tpu": _tpu}
    return made[name]() if name in made else tf.distribute.get_strategy()


def _automatic():
    if cluster_of("auto") is not None:
        return "multi_worker"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "none"


def _mirrored():
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise InputError(
            "Expected several devices for the strategy 'mirrored'. Received: "
            f"{len(devices)}. Use the strategy 'auto' or 'none'."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multi_worker():
    if read_cluster() is None:
        raise InputError(
            "Expected TF_CONFIG to name all workers for the strategy 'multi_worker'. Received: no "
            "TF_CONFIG. Set it on each of them, such as "
            """TF_CONFIG='{"cluster": {"worker": ["one:2222", "two:2222"]}, """
            """"task": {"type": "worker", "index": 0}}'."""
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu():
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
