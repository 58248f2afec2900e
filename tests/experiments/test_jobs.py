"""Pieces of the jobs of workers."""

import keras
import numpy as np
import pytest

from dreal_tf.experiments.jobs import Probe, StopAfter, recovered, train_on_validation
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe_files import load_recipe


def test_train_on_validation_are_those_of_validation_mixed_anew_each_time():
    data = build_data(load_recipe("digits_resnet8_se"))
    unseen = train_on_validation(data, batch_size=32, seed=0)
    assert unseen.steps_per_epoch == data.sizes["validation"] // 32
    known = {image.numpy().tobytes() for batch, _ in data.validation for image in batch}
    orders = []
    for _ in range(2):
        batches = [batch.numpy() for batch, _ in unseen.train]
        assert [len(batch) for batch in batches] == [32] * unseen.steps_per_epoch
        orders.append([image.tobytes() for batch in batches for image in batch])
        assert len(set(orders[-1])) == len(orders[-1]) and set(orders[-1]) <= known
    assert orders[0] != orders[1]


def test_recovered_by_hand():
    assert recovered(0.8, 0.6, 0.7) == pytest.approx(0.5)
    assert recovered(0.8, 0.6, 0.5) == pytest.approx(-0.5)
    assert recovered(0.8, 0.6, 0.8) == pytest.approx(1.0)
    assert recovered(0.6, 0.6, 0.7) is None and recovered(0.5, 0.6, 0.7) is None


def test_probes_and_the_stop_come_at_their_steps():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    probe = Probe(lambda: int(model.optimizer.iterations), {2: "two", 5: "five", 9: "never"})
    model.fit(
        np.ones((3, 1)), np.ones(3), batch_size=1, epochs=9, verbose=0, callbacks=[probe, StopAfter(5)]
    )
    assert probe.values == {"two": 2, "five": 5} and int(model.optimizer.iterations) == 5
