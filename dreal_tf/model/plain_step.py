"""A training step without the method, while it waits."""

import tensorflow as tf

from dreal_tf.model.clipping import clipping_off


def plain_step(model, data):
    """Trains a `DREAL` model on a batch as plain Keras trains its network.

    Args:
        model: `DREAL` with a critic, compiled; it stays as it is.
        data: what `fit` takes a batch to be.
    Returns:
        Dict of logs.
    """
    factual = model.factual_pass(data)
    with clipping_off(model.optimizer, model.clipping):
        model.optimizer.apply(factual.gradients, model.network.trainable_variables)
    factual.held.write_back()
    task_loss = factual.task_loss * model.distribute_strategy.num_replicas_in_sync
    model.loss_tracker.update_state(task_loss, sample_weight=tf.shape(factual.judged[1])[0])
    return model.compute_metrics(*factual.judged)
