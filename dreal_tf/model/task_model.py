"""The task of a model: what it answers, and the losses that its network is trained by."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.model.replicated import ReplicatedModel
from dreal_tf.replicas import never_empty, per_replica


class TaskModel(ReplicatedModel):
    """A network with its task loss, which may have parts over its embeddings.

    Attributes:
        network: the plain network.
        trajectory_network: the same with auxiliary outputs.
        embedding_losses: `EmbeddingLosses`, or None. They are part of the task loss in training, and are
            not taken on validation data, whose batches hold no chosen identities.
    """

    embedding_losses, _evaluating = None, False

    def build(self, input_shape):
        """Nothing is left to make: network and critic are built."""

    def call(self, images, training=None):
        if training:
            return self.network(images, training=True)
        count = tf.shape(tf.nest.flatten(images)[0])[0]
        return self.network(never_empty(images), training=False)[:count]

    def evaluate(self, *args, **kwargs):
        self._evaluating = True
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._evaluating = False

    def take_embedding_losses(self, losses):
        """Takes losses over the network's features on.

        Args:
            losses: `EmbeddingLosses`, or None.
        Raises:
            InputError: if the network has no such features.
        """
        if losses is None:
            return
        network = self.trajectory_network
        if "feature" not in network.output:
            raise InputError(
                "Expected a network with a neck, whose features the losses of embeddings are over. "
                f"Received: {network.name!r}, which gives {', '.join(network.output)}. Build it with "
                "neck=True, which in a recipe is backbone.neck."
            )
        if not losses.built:
            losses.build(network.output["feature"].shape)
        self.embedding_losses = losses
        self.embedding_metrics = {name: keras.metrics.Mean(name=name) for name in losses.names}

    def task_loss(self, images, labels, outputs, sample_weight, held=(), training=True):
        """The compiled loss, regularisers and, in training, the losses of embeddings.

        Args:
            images, labels, sample_weight: of a batch.
            outputs: dict, what the network gave for it.
            held: sequence of scalars, what layers added in a held pass.
            training: bool.
        Returns:
            Float scalar, scaled for the sum over replicas.
        """
        logits = outputs["logits"]
        loss = self.compute_loss(images, labels, logits, sample_weight, training=training)
        # What layers added in the held pass; Keras itself adds weight regularisers.
        added = [tf.cast(keras.ops.sum(term), loss.dtype) for term in held]
        loss = tf.add_n([loss, *map(per_replica, added)])
        if self.embedding_losses is None or not training:
            return loss
        total, parts = self.embedding_losses(outputs["feature"], labels, training=True)
        for name, part in parts.items():
            self.embedding_metrics[name].update_state(part, sample_weight=tf.shape(labels)[0])
        return loss + per_replica(total)

    def get_metrics_result(self):
        result = super().get_metrics_result()
        if self.embedding_losses is not None and self._evaluating:
            for name in self.embedding_metrics:
                result.pop(name)
        return result


def task_step(model, data):
    """A training step of a `TaskModel` without a critic, by its task loss alone.

    Args:
        model: `TaskModel`, compiled.
        data: what `fit` takes a batch to be.
    Returns:
        Dict of logs.
    """
    images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        outputs = model.trajectory_network(images, training=True)
        task_loss = model.task_loss(images, labels, outputs, sample_weight)
        scaled = model.optimizer.scale_loss(task_loss)
    variables = model.network.trainable_variables
    model.optimizer.apply(tape.gradient(scaled, variables), variables)
    whole = task_loss * model.distribute_strategy.num_replicas_in_sync
    model.loss_tracker.update_state(whole, sample_weight=tf.shape(labels)[0])
    return model.compute_metrics(images, labels, outputs["logits"], sample_weight)
