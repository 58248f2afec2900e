"""Two logical CPUs, so that replicas run anywhere; the same bits each time."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts jobs in the background so, and commands under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import keras
import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.experimental.enable_op_determinism()


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state and leaves no graph behind."""
    keras.utils.set_random_seed(0)
    yield
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(scope="session")
def two_replicas():
    """A strategy over two logical CPUs; one for all tests, or their collective keys would collide."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
