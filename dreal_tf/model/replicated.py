"""Keras's model, mended where it goes wrong on several replicas."""

import keras
import tensorflow as tf

from dreal_tf.keras_internals import compiled_metrics
from dreal_tf.method.rewards import normalizers_of
from dreal_tf.replicas import agree


class ReplicatedModel(keras.Model):
    """A model whose replicas agree before it is judged or kept, and that takes uneven batches.

    BatchNorm's moving averages are each replica's own. Keras judges with all of them and keeps the
    first's; here they are averaged before `evaluate` (and so before validation), at the end of
    `fit`, and before `save`, `save_weights` and `export`. Under several workers all of them must call
    these alike.
    """

    _agreement = None  # Compiled when it is first needed.

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.under_strategy = tf.distribute.has_strategy()

    @property
    def loss_tracker(self):
        """The metric that Keras logs as "loss"."""
        return next(metric for metric in self.metrics if metric.name == "loss")

    def evaluate(self, *args, **kwargs):
        self.average_statistics()
        return super().evaluate(*args, **kwargs)

    def fit(self, *args, **kwargs):
        history = super().fit(*args, **kwargs)
        self.average_statistics()
        return history

    def save(self, *args, **kwargs):
        self.average_statistics()
        return super().save(*args, **kwargs)

    def save_weights(self, *args, **kwargs):
        self.average_statistics()
        return super().save_weights(*args, **kwargs)

    def export(self, *args, **kwargs):
        self.average_statistics()
        return super().export(*args, **kwargs)

    def average_statistics(self):
        """Gives every replica the mean of the replicas' moving averages."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return  # Nothing to agree on; no walk through the network at every evaluation.
        if self._agreement is None:
            norms = normalizers_of(self)
            statistics = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
            self._agreement = tf.function(lambda: agree(statistics))
        with self.distribute_strategy.scope():
            self._agreement()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self._make_metrics(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _make_metrics(self, y, y_pred):
        """Makes the compiled metrics, if they are not there, beside the graph that is traced.

        Keras makes their variables inside the graph of a first step, which TensorFlow then traces
        once more, without them: twice the time, and half as much memory again.
        """
        metrics = compiled_metrics(self)
        if metrics is None or metrics.built or self.under_strategy:
            return  # Under a strategy Keras has made them before any step.

        def beside(creator, **arguments):
            return creator(**arguments | {"experimental_enable_variable_lifting": False})

        with tf.init_scope(), tf.variable_creator_scope(beside):
            metrics.build(y, y_pred)

    def _make_function(self, step_function):
        if not isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return super()._make_function(step_function)

        # Over several workers Keras averages logs along their first axis; scalars have none.
        def step(data):
            return tf.nest.map_structure(lambda log: tf.reshape(log, [1]), step_function(data))

        return super()._make_function(step)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras builds from the mean of the replicas' shares of a batch, which fails where these
        # differ in size; the first share does as well.
        if iterator is not None and self.under_strategy:
            *_, batches = next(iter(iterator))
            local = self.distribute_strategy.experimental_local_results
            data_batch = tf.nest.map_structure(lambda part: local(part)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)
