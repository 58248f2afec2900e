"""The trained model: a network whose attention actors climb a critic."""

import keras
import tensorflow as tf

from dreal_tf.method.critics import CRITICS
from dreal_tf.method.instruments import InstrumentMetrics, Instruments
from dreal_tf.method.rewards import HeldUpdates, RewardMeter, targets_of, true_directions
from dreal_tf.model.climb import add_climb, compared
from dreal_tf.model.clipping import clipped, clipping_of, clipping_off
from dreal_tf.model.factual_pass import FactualPass
from dreal_tf.model.learner import Learner, after
from dreal_tf.model.metrics import StepMetrics
from dreal_tf.model.plain_step import plain_step
from dreal_tf.model.settings import check_settings
from dreal_tf.model.task import outputs_are_logits
from dreal_tf.model.task_model import TaskModel, task_step
from dreal_tf.model.trust import Trust
from dreal_tf.networks.backbones import Trajectory, plain_network
from dreal_tf.replicas import (
    check_clipping,
    check_replicas,
    finite_everywhere,
    never_empty,
    nonempty_share,
    replica_seed,
    scaled_for,
)


@keras.saving.register_keras_serializable("dreal_tf")
class DREAL(TaskModel):
    """Trains a network's attention by reward: a critic predicts it, the actors climb the critic.

    Predicts, evaluates, saves and exports as the network alone; the critic is used in training only.
    While the attribute `waiting` is True it trains as plain Keras does, see `callbacks.TeachFrom`.

    Args:
        network: functional `keras.Model` from images to a dict of `logits`, and `states` and
            `actions` by module name, such as `residual_network` gives.
        critic: "comparative", "paper", "direct", "shuffled", a `dreal_tf.method.critics.Critic`, or None:
            the baseline, trained as plain Keras trains it.
        actor_weight: float >= 0. Weight of the actor loss (lambda, no unit).
        actor_warmup: int >= 0. Steps over which that weight rises from 0 (optimizer steps).
        estimator: "sampled" (one ablated step per measured image) or "exact" (all of them).
        reward_fraction: float in (0, 1]. Share of each training batch that is measured.
        validation_fraction: float in (0, 1]. Share of each validation batch that is measured,
            exactly.
        instrument_fraction: float in [0, 1]. Share of the validation images on which the critic's
            advice is tried, see `dreal_tf.method.instruments`; 0: never.
        baseline: "mean", "static" or "identity": the action of an ablated step.
        penalty: float >= 0. Minus the reward of a wrong answer (gamma, no unit).
        update: "simultaneous" (one critic forward for both losses) or "alternating" (the critic
            moves first).
        trust: bool. Whether each actor heeds the critic as far as its advice was borne out, see
            `dreal_tf.model.Trust`; False: always in full, as in the paper.
        stages: collection of str, such as {"conv4"}, to which the method is restricted, or None.
        seed: int. Seed of the draws of the estimator.
        embedding_losses: `dreal_tf.model.EmbeddingLosses` that join the task loss, or None.
    Raises:
        ValueError: if the network has no auxiliary outputs or no actors, or an argument is unknown.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = DREAL(network)
        >>> model.compile("sgd", critic_optimizer="adam",
        ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(np.random.rand(8, 8, 8, 1), np.arange(8), verbose=0)
        >>> sorted(history.history)[:4]
        ['actor_loss', 'climb_cosine', 'climb_ratio', 'critic_loss']
    Source: Li, Chen 2020 (see `dreal_tf.method.rewards`). Choices of this project are listed in the README.
    """

    def __init__(
        self,
        network,
        critic="comparative",
        actor_weight=0.1,
        actor_warmup=0,
        estimator="sampled",
        reward_fraction=0.25,
        validation_fraction=0.25,
        instrument_fraction=1 / 16,
        baseline="mean",
        penalty=1.0,
        update="simultaneous",
        trust=True,
        stages=None,
        seed=0,
        embedding_losses=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings = dict(
            actor_weight=actor_weight,
            actor_warmup=actor_warmup,
            estimator=estimator,
            reward_fraction=reward_fraction,
            validation_fraction=validation_fraction,
            instrument_fraction=instrument_fraction,
            baseline=baseline,
            penalty=penalty,
            update=update,
            trust=trust,
            stages=None if stages is None else sorted(stages),
            seed=seed,
        )
        check_settings(network, critic, self.settings)
        self.trajectory_network = network
        self.network = plain_network(network)
        self.critic = CRITICS[critic]() if isinstance(critic, str) else critic
        self.instruments, self.waiting = None, False
        self.take_embedding_losses(embedding_losses)
        if self.critic is not None:
            self.trajectory = Trajectory(network, stages)
            if not self.critic.built:
                classes = self.network.output_shape[-1]
                self.critic.build(self.trajectory.specs, classes)
            self.trust = Trust(len(self.trajectory.specs)) if trust else None
            alternating = update == "alternating"
            self.learner = Learner(self.critic, self.trajectory, self.trust, alternating)
            explored = dict(exploration=self.critic.exploration, noise=self.critic.noise)
            self.meter = RewardMeter(network, self.trajectory, baseline, penalty, **explored)
            self.step_metrics = StepMetrics(self.trajectory.modules)
            if instrument_fraction:
                parts = network, self.trajectory, self.critic, self.meter
                self.instruments = Instruments(*parts, fraction=instrument_fraction)
                self.instrument_metrics = InstrumentMetrics(self.trajectory.modules)
        self.build(self.network.input_shape)

    def compile(self, optimizer="sgd", critic_optimizer="adam", loss=None, **kwargs):
        """Configures training; takes all that `keras.Model.compile` takes.

        Args:
            optimizer: moves the network: weights and actors.
            critic_optimizer: moves the critic alone.
            loss: categorical cross entropy; its `from_logits` says what the network ends in.
        Raises:
            ValueError: if the loss is none over exclusive classes, or contradicts the network, or a
                setting is known to fail under replicas.
        """
        optimizer = scaled_for(self.dtype_policy.name, keras.optimizers.get(optimizer))
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        optimizers = [self.optimizer]
        if self.critic is not None:
            self.meter.from_logits = outputs_are_logits(loss, self.network)
            self.critic_optimizer = keras.optimizers.get(critic_optimizer)
            optimizers.append(self.critic_optimizer)
            check_clipping(self.optimizer)
            self.clipping = clipping_of(self.optimizer)
        check_replicas(optimizers, kwargs.get("jit_compile", "auto"), self.steps_per_execution)
        # Unbuilt, an optimizer would be built inside the step, which fails under replicas.
        self.optimizer.build(self.network.trainable_variables)
        if self.critic is not None:
            self.critic_optimizer.build(self.critic.trainable_variables)

    def train_step(self, data):
        data = nonempty_share(data)
        if self.critic is None:
            return task_step(self, data) if self.embedding_losses else super().train_step(data)
        if self.waiting:
            return plain_step(self, data)
        factual = self.factual_pass(data)
        measurement = self.measure(factual)
        lesson = self.learn(factual, measurement)
        actor_weight = self.actor_weight()  # Of this step, which the move ends.
        self.move_network(factual, measurement, lesson)
        self._log(factual, lesson, actor_weight, measurement)
        return self.compute_metrics(*factual.judged)

    def factual_pass(self, data):
        """The network's answer to a batch and the task loss L_c, whose gradient moves W and theta.

        Args:
            data: what `fit` takes a batch to be: images, labels and sample weights.
        Returns:
            `FactualPass`.
        """
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape(persistent=self.critic.needs_directions) as tape:
            with HeldUpdates(self.network) as held:
                outputs = self.meter.factual(images, training=True)
            judged = images, labels, outputs["logits"], sample_weight
            task_loss = self.task_loss(images, labels, outputs, sample_weight, held.losses)
            scaled = self.optimizer.scale_loss(task_loss)
            targets = targets_of(labels, outputs["logits"].shape[-1], sample_weight)
            log_p = self._log_p_asked_for(outputs["logits"], targets)
        gradients = clipped(tape.gradient(scaled, self.network.trainable_variables), self.optimizer)
        hindsight = self._hindsight(tape, log_p, outputs, targets)
        return FactualPass(judged, targets, outputs, task_loss, gradients, hindsight, held)

    def measure(self, factual):
        """Measures some of the pass's actions by an extra pass: the rewards.

        Args:
            factual: `FactualPass`.
        Returns:
            `dreal_tf.method.rewards.Measurement`.
        """
        targets, outputs = factual.targets, factual.outputs
        seed = replica_seed(self.settings["seed"], self.optimizer.iterations)
        drawn = self.meter.draw(targets, self.settings["reward_fraction"], seed)
        measure = self.meter.exact if self.settings["estimator"] == "exact" else self.meter.measure
        return measure(factual.judged[0], targets, outputs, drawn, factual.batch_statistics())

    def learn(self, factual, measurement):
        """Moves the critic by L_r, and says how the actors climb it: the gradient of L_q.

        Args:
            factual: `FactualPass`.
            measurement: `dreal_tf.method.rewards.Measurement` of some of its actions.
        Returns:
            `dreal_tf.model.learner.Lesson`.
        """
        scale_loss = self.optimizer.scale_loss
        return self.learner.learn(factual, measurement, self._move_critic, scale_loss)

    def move_network(self, factual, measurement, lesson):
        """Moves W and theta by both gradients, and what else the pass had moved.

        Args:
            factual: `FactualPass`.
            measurement: `dreal_tf.method.rewards.Measurement` of some of its actions.
            lesson: `dreal_tf.model.learner.Lesson`.
        """
        gradients = list(factual.gradients)
        if self.settings["actor_weight"]:  # At 0 the step is plain Keras's, operation by operation.
            add_climb(gradients, lesson.climb, self.actor_weight(), self._places_of_theta())
        gradients = after([measurement.difference, lesson.critiques], gradients)
        with clipping_off(self.optimizer, self.clipping):
            self.optimizer.apply(gradients, self.network.trainable_variables)
        factual.held.write_back()

    def test_step(self, data):
        if self.critic is None:
            return super().test_step(data)
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        present = never_empty(images)
        classes = self.network.output_shape[-1]
        targets = never_empty(targets_of(labels, classes, sample_weight))
        with tf.GradientTape() as tape:
            outputs = self.meter.factual(present)
            log_p = self._log_p_asked_for(outputs["logits"], targets)
        logits = outputs["logits"][: tf.shape(labels)[0]]
        real = {"logits": logits}
        task_loss = self.task_loss(images, labels, real, sample_weight, training=False)

        drawn = self.meter.same_images(targets, self.settings["validation_fraction"])
        measurement = self.meter.exact(present, targets, outputs, drawn, exploration=("baseline",))
        hindsight = self._hindsight(tape, log_p, outputs, targets)
        factual = FactualPass((images, labels), targets, outputs, task_loss, hindsight=hindsight)
        lesson = self.learner.test(factual, measurement)
        self._log(factual, lesson, self.actor_weight(), measurement)
        if self.instruments is not None:
            pass_, verdict = (present, targets, outputs), (lesson.critiques, hindsight)
            self.instruments.log(self.instrument_metrics, pass_, verdict, measurement)
        logs = self.compute_metrics(images, labels, logits, sample_weight)
        return logs | (self.instrument_metrics.all() if self.instruments else {})

    def _log_p_asked_for(self, logits, targets):
        """The labels' log probabilities, for a tape to see, where the critic needs directions."""
        asked = self.critic.needs_directions
        return self.meter.true_log_probability(logits, targets.labels) if asked else None

    def _hindsight(self, tape, log_p, outputs, targets):
        directions = None
        if log_p is not None:
            actions = [outputs["actions"][module] for module in self.trajectory.modules]
            directions = true_directions(tape, log_p, actions)
        return self.meter.hindsight(outputs["logits"], targets.labels, directions)

    def _move_critic(self, gradients):
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            # A step that overflows is left out for the network; it must not reach the critic.
            gradients = finite_everywhere(gradients)
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
            gradients = [tf.where(finite, gradient, 0.0) for gradient in gradients]
        if gradients:
            self.critic_optimizer.apply(gradients, self.critic.trainable_variables)

    def actor_weight(self):
        """The actor loss's weight in this step, float scalar."""
        weight, warmup = self.settings["actor_weight"], self.settings["actor_warmup"]
        progress = tf.cast(self.optimizer.iterations, tf.float32) / max(warmup, 1)
        return weight * tf.minimum(progress, 1.0) if warmup else tf.constant(weight, tf.float32)

    def _places_of_theta(self):
        """Where each variable of theta stands among those of the network."""
        places = {id(v): n for n, v in enumerate(self.network.trainable_variables)}
        return [places[id(v)] for v in self.trajectory.variables]

    def _log(self, factual, lesson, actor_weight, measurement):
        task_loss = factual.task_loss * self.distribute_strategy.num_replicas_in_sync
        critic_loss, actor_loss = lesson.critic_loss, lesson.actor_loss
        total = task_loss + critic_loss + actor_weight * actor_loss
        present = tf.shape(factual.judged[1])[0]  # 0 where a replica has no share of a batch.
        self.loss_tracker.update_state(total, sample_weight=present)
        self.step_metrics.update_state(
            {"task_loss": task_loss, "critic_loss": critic_loss, "actor_loss": actor_loss},
            present,
            lesson,
            factual.targets,
            measurement,
        )
        if lesson.climb is not None and factual.gradients is not None:  # Both move the actors.
            of_task = [factual.gradients[place] for place in self._places_of_theta()]
            self.step_metrics.update_climb(compared(of_task, lesson.climb, actor_weight), present)

    def get_metrics_result(self):
        if self.critic is not None:
            self.step_metrics.climbing = not self._evaluating
        if self.instruments is not None:
            self.instrument_metrics.told = self._evaluating  # Training has not used them.
        result = super().get_metrics_result()
        if self.critic is None or self.waiting:
            result["task_loss"] = result["loss"]  # So that both are read by one name.
        return result

    def get_config(self):
        parts = {"network": self.trajectory_network, "critic": self.critic}
        parts |= {"embedding_losses": self.embedding_losses}
        serialized = {k: keras.saving.serialize_keras_object(part) for k, part in parts.items()}
        return super().get_config() | dict(self.settings) | serialized

    @classmethod
    def from_config(cls, config, custom_objects=None):
        loaded = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("network", "critic", "embedding_losses")
        }
        return cls(**(config | loaded))

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.critic is not None:
            critic_optimizer = keras.saving.serialize_keras_object(self.critic_optimizer)
            config["critic_optimizer"] = critic_optimizer
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
