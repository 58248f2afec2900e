"""A critic trained beside a network that does not move, and actors that learn from it alone."""

import keras
import tensorflow as tf

from dreal_tf.method.formulas import targets_of
from dreal_tf.model import DREAL, FactualPass


@keras.saving.register_keras_serializable("dreal_tf")
class FrozenDREAL(DREAL):
    """Moves the critic, and the judged actors by the critic alone: L_r and L_q without L_c.

    The network runs in inference mode, so its moving averages stay as well. All layers but the
    judged actors are marked as not trainable.

    Args:
        network: see `DREAL`; its weights are those of a trained network.
        critic: see `DREAL`; not None.
        wait: int >= 0. Steps in which the critic learns alone, before the actors follow it.
        settings: of `DREAL`. At `actor_weight=0` the actors do not move.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = FrozenDREAL(network, "paper", actor_weight=1.0)
        >>> sorted({variable.path.split("/")[0] for variable in network.trainable_variables})
        ['conv2_1_se', 'conv3_1_se', 'conv4_1_se']
    """

    def __init__(self, network, critic="paper", wait=0, **settings):
        super().__init__(network, critic, **settings)
        self.wait = wait
        actors = {actor.name for actor in self.trajectory.actors}
        for layer in network.layers:
            if layer.name not in actors:
                layer.trainable = False

    @classmethod
    def of(cls, model, wait=0, **changes):
        """The same network and critic, frozen.

        Args:
            model: `DREAL`, such as `build` gives.
            wait: int >= 0.
            changes: settings of `DREAL` to change.
        Returns:
            `FrozenDREAL`, to be compiled.
        """
        settings = model.settings.to_dict() | changes
        return cls(model.trajectory_network, model.critic, wait, **settings)

    def factual_pass(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self.reward_estimator.factual(images)
            targets = targets_of(labels, outputs["logits"].shape[-1], sample_weight)
            scores = self._scores(outputs["logits"], targets)
        loss = self.task_loss(images, labels, outputs, sample_weight, training=False)
        privileged = self._privileged_inputs(tape, scores, outputs, targets)
        return FactualPass(images, labels, sample_weight, outputs, targets, loss, privileged=privileged)

    def update_network(self, factual, actor_gradients=None, weight=None, available=()):
        theta = self.trajectory.variables
        gradients = [tf.zeros_like(variable) for variable in theta]
        for position, gradient in enumerate(actor_gradients):
            if gradient is not None:
                gradients[position] = weight * gradient
        # At weight 0 as well: it counts the steps, on which the sampling plans depend.
        self.optimizer.apply(gradients, theta)

    def actor_weight(self):
        waiting = self.optimizer.iterations < self.wait
        return tf.where(waiting, 0.0, super().actor_weight())

    def get_config(self):
        return super().get_config() | {"wait": self.wait}
