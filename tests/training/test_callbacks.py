import logging

import keras
import numpy as np
import pytest
from support import compiled, logits_loss, small_data, small_network

from dreal_tf import DREAL
from dreal_tf.errors import InputError, RunError
from dreal_tf.method.critics import DirectCritic
from dreal_tf.training.callbacks import (
    SCHEMA,
    BestNetwork,
    Checkpoint,
    HistoryFile,
    StopOnNaN,
    read_history,
    restore_last,
)

IMAGES, LABELS = small_data(24)


def fit(model, folder, epochs=3, callbacks=()):
    best = BestNetwork(folder, swap=next(iter(callbacks), None))
    checkpoint = Checkpoint(folder / "checkpoints", best)
    history = HistoryFile(folder / "history.csv")
    model.fit(
        IMAGES,
        LABELS,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        validation_data=(IMAGES, LABELS),
        callbacks=[*callbacks, history, best, checkpoint],
    )
    return best, checkpoint


def fresh_model(run_eagerly=False, **options):
    keras.utils.set_random_seed(1)
    model = DREAL(small_network(dropout=0.2), actor_weight=0.5)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9, **options),
        keras.optimizers.Adam(0.01),
        loss=logits_loss(),
        metrics=["accuracy"],
        run_eagerly=run_eagerly,
    )
    return model


def everything(model):
    variables = model.network.variables + model.critic.variables
    variables += model.optimizer.variables + model.critic_optimizer.variables
    return [v.numpy() for v in variables]


def epochs_of(history, logs_by_epoch):
    for epoch, logs in logs_by_epoch.items():
        history.on_epoch_begin(epoch)
        history.on_epoch_end(epoch, logs)


def test_a_row_cut_short_at_any_byte_is_written_again(tmp_path):
    path = tmp_path / "history.csv"
    logs = {
        0: {"loss": 0.5},
        1: {"loss": 0.25, "reward": 0.125},
        2: {"loss": 0.1},
    }  # A column comes later.
    epochs_of(HistoryFile(path), logs)
    text = path.read_bytes()
    whole = read_history(path, 3)
    assert [row["loss"] for row in whole] == [0.5, 0.25, 0.1] and whole[1]["reward"] == 0.125
    for end in range(text.rindex(b"\n", 0, -1) + 1, len(text)):
        path.write_bytes(text[:end])
        assert read_history(path, 2) == whole[:2]
        resumed = HistoryFile(path)
        epochs_of(resumed, {2: logs[2]})
        rows = read_history(path, 3)
        assert rows[:2] == whole[:2] and rows[2]["loss"] == 0.1


def test_an_epoch_adds_one_line_to_the_history(tmp_path):
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    epochs_of(history, {0: {"loss": 0.5}})
    with path.open("ab") as file:  # A mark that a rewritten file would lack.
        file.write(b"2,0.0,7.0\n")
    epochs_of(history, {1: {"loss": 0.25}})
    assert path.read_bytes().count(b"7.0") == 1 and path.read_bytes().count(b"\n") == 4


class Informed(DirectCritic):
    """Knows the true gradient, and has it tried on noisy actions: it is soon trusted."""

    exploration, noise = ("noise",), 0.1


def trusting_model():
    keras.utils.set_random_seed(1)
    settings = dict(estimator="exact", reward_fraction=1.0, actor_weight=0.5)
    return compiled(small_network(), critic=Informed(), **settings)


def test_a_resumed_run_has_the_trust_of_an_uninterrupted_one(tmp_path):
    whole, resumed = trusting_model(), trusting_model()
    fit(whole, tmp_path, epochs=4)
    for file in (tmp_path / "checkpoints").glob("epoch-4.*"):  # As if killed in the last epoch.
        file.unlink()
    _, checkpoint = fit(resumed, tmp_path, epochs=4)
    assert checkpoint.epochs_done == 4
    assert np.min(whole.trust.weights_now()) > 0.1  # The actors follow the critic.
    np.testing.assert_array_equal(resumed.trust.sums, whole.trust.sums)
    for one, two in zip(everything(whole), everything(resumed), strict=True):
        np.testing.assert_array_equal(one, two)


def damage(path, part="*"):
    for file in path.parent.glob(f"{path.name}.{part}"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("part", [pytest.param("index", marks=pytest.mark.slow), "data*"])
def test_from_a_damaged_checkpoint_it_falls_back_on_the_one_before_or_stops(tmp_path, caplog, part):
    """A checkpoint holds everything, both optimizers included."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    for folder in (whole, run):
        folder.mkdir()
    uninterrupted, resumed = fresh_model(), fresh_model()
    fit(uninterrupted, whole, epochs=4)
    fit(fresh_model(), run, epochs=3)
    damage(run / "checkpoints" / "epoch-3", part)
    with caplog.at_level(logging.WARNING, "dreal_tf"):
        _, checkpoint = fit(resumed, run, epochs=4)
    assert "epoch-3 is damaged" in caplog.text and checkpoint.epochs_done == 4
    for one, two in zip(everything(uninterrupted), everything(resumed), strict=True):
        np.testing.assert_array_equal(one, two)
    one, two = (read_history(folder / "history.csv") for folder in (whole, run))
    assert [row["epoch"] for row in one] == [1, 2, 3, 4]
    assert [row | {"seconds": 0} for row in one] == [row | {"seconds": 0} for row in two]
    for epoch in (3, 4):
        damage(run / "checkpoints" / f"epoch-{epoch}")
    with pytest.raises(RunError, match="Expected a checkpoint that can be read. Received: 2 damaged"):
        fit(fresh_model(), run, epochs=5)


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1])
def test_a_checkpoint_of_another_schema_is_refused_with_the_version_that_wrote_it(
    tmp_path, monkeypatch, schema
):
    checkpoint = Checkpoint(tmp_path / "checkpoints", BestNetwork(tmp_path))
    checkpoint.set_model(fresh_model())
    checkpoint.on_train_begin()
    with monkeypatch.context() as other_version:
        other_version.setattr("dreal_tf.training.callbacks.SCHEMA", schema)
        other_version.setattr("dreal_tf.__version__", "7.8.9")
        checkpoint.on_epoch_end(0)
    message = f"Expected a checkpoint of schema {SCHEMA}.*schema {schema}, written by dreal_tf 7.8.9"
    with pytest.raises(InputError, match=message):
        fit(fresh_model(), tmp_path, epochs=2)
    with pytest.raises(InputError, match=message):
        restore_last(tmp_path / "checkpoints", fresh_model())


def test_the_best_epoch_is_kept_and_of_equals_the_first(tmp_path):
    best = BestNetwork(tmp_path)
    model = compiled()
    best.set_model(model)
    kept = []
    for epoch, accuracy in enumerate([0.3, 0.5, 0.5, 0.4]):
        model.network.get_layer("conv1").bias.assign(np.full(4, float(epoch)))
        best.on_epoch_end(epoch, {"val_accuracy": accuracy})
        kept.append(best.state["epoch"])
    assert kept == [0, 1, 1, 1]
    best.restore(model.network)
    np.testing.assert_array_equal(model.network.get_layer("conv1").bias, np.ones(4))


def test_averaged_weights_are_judged_and_kept_while_the_others_train_on(tmp_path):
    model, trained, averages = fresh_model(use_ema=True, ema_momentum=0.5), [], []
    swap = keras.callbacks.SwapEMAWeights()

    class Averages(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            trained.append(self.model.network.get_weights())
            swap.on_test_begin()
            averages.append(self.model.network.get_weights())
            swap.on_test_end()

    best, _ = fit(model, tmp_path, callbacks=[swap, Averages()])
    evaluated = fresh_model(use_ema=True, ema_momentum=0.5)
    best.restore(evaluated.network)
    accuracy = evaluated.evaluate(IMAGES, LABELS, batch_size=8, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(best.state["value"])
    theirs = averages[best.state["epoch"]]
    for kept, average in zip(evaluated.network.get_weights(), theirs, strict=True):
        np.testing.assert_allclose(kept, average, rtol=1e-5, atol=1e-6)
    pairs = zip(trained[best.state["epoch"]], theirs, strict=True)
    assert max(np.abs(one - average).max() for one, average in pairs) > 1e-3


def test_with_averaged_weights_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    rows = []
    for name, epochs in (("whole", [2]), ("part", [1, 2])):
        (tmp_path / name).mkdir()
        for until in epochs:
            swap = keras.callbacks.SwapEMAWeights()
            model = fresh_model(run_eagerly=True, use_ema=True, ema_momentum=0.5)
            fit(model, tmp_path / name, until, [swap])
        history = read_history(tmp_path / name / "history.csv")
        rows.append([row | {"seconds": 0} for row in history])
    # The swap adds and subtracts, which costs the last digits.
    for one, two in zip(*rows, strict=True):
        assert one == {name: pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in two.items()}


def test_a_loss_that_is_no_number_stops_the_run():
    model = compiled(rate=1e30)
    with pytest.raises(
        RunError, match="Expected a finite loss. Received: nan.*Lower optim.learning_rate"
    ):
        model.fit(IMAGES, LABELS, batch_size=8, epochs=3, verbose=0, callbacks=[StopOnNaN()])


def test_a_nan_on_the_second_replica_alone_stops_the_run(two_replicas):
    images = IMAGES.copy()
    images[6] = np.nan  # Images 4 to 7 of a batch of 8 go to the second replica.
    with two_replicas.scope():
        model = compiled()
    with pytest.raises(RunError, match="Received: nan"):
        model.fit(images, LABELS, batch_size=8, shuffle=False, verbose=0, callbacks=[StopOnNaN()])


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
def test_a_folder_in_the_place_of_a_checkpoint_is_named(tmp_path, suffix):
    (tmp_path / f"epoch-2.{suffix}").mkdir()
    (tmp_path / "epoch-2_temp").mkdir()  # TensorFlow's own, after a kill.
    (tmp_path / "epoch-two.index").touch()
    with pytest.raises(InputError, match=f"epoch-2.{suffix}', which is not one. Move it away"):
        restore_last(tmp_path, fresh_model())


def test_best_weights_are_read_when_a_run_goes_on_and_not_at_its_end_alone(tmp_path):
    model = fresh_model(run_eagerly=True)
    _, checkpoint = fit(model, tmp_path, epochs=1)
    (path,) = tmp_path.glob("best-*.npz")
    whole = path.read_bytes()
    with np.load(path) as archive:
        arrays = [archive[name] for name in archive.files]
    np.savez(path, *arrays[:-1])
    flipped = whole[:400] + bytes(byte ^ 1 for byte in whole[400:409]) + whole[409:]
    for content in (b"", whole[: len(whole) // 2], flipped, path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(
            InputError, match="best weights of a run. Received: .*best-0.npz', .*--fresh"
        ):
            checkpoint.on_train_begin()
    path.unlink()
    with pytest.raises(InputError, match="best-0.npz', which is not there"):
        checkpoint.on_train_begin()
