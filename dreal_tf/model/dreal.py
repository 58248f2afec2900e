"""DREAL: a network whose attention modules are actors, and the critic that trains them.

The training step is a deterministic policy gradient (Silver et al. 2014). The critic learns from
counterfactuals, one action replaced at a time, in the spirit of COMA (Foerster et al. 2018).

W: weights of backbone and head; theta: weights of the actors; phi: weights of the critic.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dreal_tf.errors import InputError, check_objects
from dreal_tf.method.critics import CRITICS, Critic
from dreal_tf.method.finite import all_finite, propagate_nonfinite
from dreal_tf.method.formulas import actor_loss, targets_of, true_action_gradients
from dreal_tf.method.instruments import Instruments
from dreal_tf.method.metrics import InstrumentMetrics, MethodMetrics
from dreal_tf.method.rewards import DeferredUpdates, RewardEstimator
from dreal_tf.method.rows import predicted_differences
from dreal_tf.method.summary import summarise_method
from dreal_tf.model.gradients import (
    RelativeWeight,
    Trust,
    available_after,
    clip,
    clipping_of,
    clipping_off,
    gradient_products,
    gradients_of_actions,
    ratio_and_cosine,
    summed,
    weights_of_modules,
)
from dreal_tf.model.progress_bar import with_progress_bar
from dreal_tf.model.settings import (
    Settings,
    check_classes,
    check_critic,
    check_modules,
    is_optimizer,
    is_over_classes,
    outputs_are_logits,
)
from dreal_tf.networks.attaching import AttachedNetwork, with_auxiliary_outputs
from dreal_tf.networks.backbones import Trajectory, plain_network
from dreal_tf.replicas import (
    ReplicatedModel,
    assert_nonempty_shard,
    check_clipping,
    check_replicas,
    finite_everywhere,
    pad_empty_shard,
    per_replica,
    replica_seed,
    scaled_for,
    without_padding,
)
from dreal_tf.retrieval.metric_losses import EmbeddingLosses


def _unpacked(data):
    """Images, labels and sample weights of a batch, as `fit` passes it.

    Images become tensors, since a step that runs eagerly may be given arrays, which no tape can watch.
    Labels and weights may each be the only array of a list or dict, since the network has one output.
    """
    images, *others = keras.utils.unpack_x_y_sample_weight(data)
    flat = [tf.nest.flatten(part) for part in others]
    others = [part[0] if len(part) == 1 else part for part in flat]
    return tf.nest.map_structure(tf.convert_to_tensor, images), *others


def _of_network(name):
    """An attribute of the model that is its network's."""
    return property(lambda model: getattr(model.network, name))


class FactualPass(NamedTuple):
    """The network's outputs for a batch, with its own actions.

    Attributes:
        images, labels, sample_weight: the batch. In evaluation under replicas all attributes but the
            labels, their weights and the loss may be padded.
        outputs: dict of `logits` (batch, classes); `states`, `actions`, dicts of tensors (batch, ...) by
            module name; and `cached_activations`, see `dreal_tf.method.rewards.CounterfactualPass`.
        targets: `dreal_tf.method.formulas.Targets`.
        loss: float scalar, the task loss, scaled for the sum over replicas.
        gradients: list of tensors or None, the task loss's gradient for each trainable variable of
            the network (W and theta), scaled by the optimizer's loss scale; None in evaluation, or if
            the task loss is not to move the network.
        privileged: `dreal_tf.method.types.PrivilegedInputs`; None without a critic.
        deferred: `dreal_tf.method.rewards.DeferredUpdates` of a pass in training mode; None at
            inference.
    """

    images: object
    labels: object
    sample_weight: object
    outputs: dict
    targets: object
    loss: object
    gradients: object = None
    privileged: object = None
    deferred: object = None


class UpdateResult(NamedTuple):
    """The critic's results, from before its update, except `dq_da` with `update="alternating"`.

    Attributes:
        critiques: float tensor (batch, modules).
        critic_loss: float scalar, a mean over the samples.
        actor_loss: float scalar, a mean over the batch; logged only.
        trust: float tensor (modules,).
        dq_da: list of tensors, one per module, shaped like its action (batch, ...): the gradient of the
            critiques; None in evaluation.
    """

    critiques: object
    critic_loss: object
    actor_loss: object
    trust: object
    dq_da: object = None


@keras.saving.register_keras_serializable("dreal_tf")
class DREAL(ReplicatedModel):
    """Trains a network's attention by reward: a critic predicts it, the actors follow the critic.

    It predicts, evaluates, saves and exports as the network alone; the critic is used in training
    only. While its attribute `method_enabled` is False it trains as plain Keras does; the training
    function reads it once, when it is traced: see `dreal_tf.training.callbacks.DelayedStart`.

    Args:
        network: functional `keras.Model`: from images to a dict of `logits`, and `states` and
            `actions` by module name, such as `residual_network` gives; or any other, with one output
            (batch, classes), whose attention layers `dreal_tf.attach` finds; with critic=None it may
            have none.
        critic: "comparative", "paper", "direct", "shuffled", a `dreal_tf.method.critics.Critic`, or
            None: the baseline, trained as plain Keras trains it.
        actor_weight: float >= 0. Weight of the actor loss (no unit).
        actor_weight_mode: "relative": the weight is the length of the actor loss's gradient over that
            of the task loss's, on the weights that make a module's action, where the critic is fully
            trusted, see `dreal_tf.model.RelativeWeight`; "absolute": it is lambda, as in the paper.
        actor_warmup: int >= 0. Steps over which that weight rises from 0, counted from the first of
            the training (optimizer steps).
        estimator: "sampled" (the action of one module replaced in each sampled image) or "exact" (of
            every module in turn).
        reward_fraction: float in (0, 1]. Fraction of each training batch that is sampled.
        validation_fraction: float in [0, 1]. Fraction of each validation batch that is measured,
            every module of it. 0, without a critic: none.
        instrument_fraction: float in [0, 1]. Fraction of the validation images on which the critic's
            action gradients are tested, see `dreal_tf.method.instruments`; 0: none.
        reference_action: "mean", "static" or "identity": the action of an ablated module; or a function
            (actor, action, index) -> action, which saving needs registered with Keras.
        penalty: float >= 0. Minus the reward of a wrong prediction (gamma, no unit).
        update: "simultaneous": dQ/dA is that of the critic before its update; "alternating": that of
            the critic after it, from a second forward pass.
        trust: bool. Whether an actor follows the critic only as far as its predictions were right,
            see `dreal_tf.model.Trust`; False: always in full, as in the paper.
        stages: collection of str, such as {"conv4"}, to which the method is restricted, or None.
        seed: int. Seed of the sampling plans.
        embedding_losses: `dreal_tf.model.EmbeddingLosses` that join the task loss, or None.
    Raises:
        ValueError: if the network has no attention, or an argument is unknown.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = DREAL(network)
        >>> model.compile("sgd", critic_optimizer="adam",
        ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(np.random.rand(8, 8, 8, 1), np.arange(8), verbose=0)
        >>> sorted(history.history)[:3]
        ['actor_grad_cosine', 'actor_grad_cosine/conv2_1/se', 'actor_grad_cosine/conv3_1/se']
    Source: Li, Chen 2020 (see `dreal_tf.method.formulas`). Choices of this project are listed in the
        README.
    """

    def __init__(
        self,
        network: keras.Model,
        critic: str | Critic | None = "comparative",
        actor_weight: float = 0.5,
        actor_weight_mode: str = "relative",
        actor_warmup: int = 0,
        estimator: str = "sampled",
        reward_fraction: float = 0.25,
        validation_fraction: float = 0.25,
        instrument_fraction: float = 1 / 16,
        reference_action: str | Callable[..., Any] = "mean",
        penalty: float = 1.0,
        update: str = "simultaneous",
        trust: bool = True,
        stages: Collection[str] | None = None,
        seed: int = 0,
        embedding_losses: EmbeddingLosses | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        settings = Settings(
            actor_weight=actor_weight,
            actor_weight_mode=actor_weight_mode,
            actor_warmup=actor_warmup,
            estimator=estimator,
            reward_fraction=reward_fraction,
            validation_fraction=validation_fraction,
            instrument_fraction=instrument_fraction,
            reference_action=reference_action,
            penalty=penalty,
            update=update,
            trust=trust,
            stages=None if stages is None else tuple(sorted(stages)),
            seed=seed,
        )
        check_objects(critic=critic, embedding_losses=embedding_losses)
        network = with_auxiliary_outputs(network, bare=critic is None)
        every = Trajectory(network)
        if critic is not None:
            check_classes(network)
            check_critic(critic, every, settings)
            check_modules(every, settings)
        self.settings = settings
        self.trajectory_network = network
        self.network = plain_network(network)
        self.critic = CRITICS[critic]() if isinstance(critic, str) else critic
        self.trajectory = Trajectory(network, settings.stages if self.critic else None)
        modules = self.trajectory.modules
        explored = {}
        if self.critic is not None:
            explored = dict(exploration=self.critic.exploration, noise=self.critic.noise)
            if not self.critic.built:
                self.critic.build(self.trajectory.specs, classes=self.network.output_shape[-1])
        self.reward_estimator = RewardEstimator(
            network, self.trajectory, reference_action, penalty, **explored
        )
        self.trust = Trust(len(modules)) if self.critic is not None and trust else None
        relative = self.critic is not None and actor_weight_mode == "relative"
        self.relative_weight = RelativeWeight(len(modules)) if relative else None
        self.method_enabled = self.critic is not None
        self.method_metrics = MethodMetrics(modules, with_critic=self.critic is not None)
        self.instruments = None
        if self.critic is not None and instrument_fraction:
            parts = network, self.trajectory, self.critic, self.reward_estimator
            self.instruments = Instruments(*parts, fraction=instrument_fraction)
            self.instrument_metrics = InstrumentMetrics(modules)
        self._take_embedding_losses(embedding_losses)
        self._evaluating = False
        self.build(self.network.input_shape)

    def compile(self, optimizer="rmsprop", *args, critic_optimizer="adam", **kwargs):
        """Configures training; takes all arguments of `keras.Model.compile`, in its order.

        Args:
            optimizer: moves the network: W and theta.
            critic_optimizer: moves the critic: phi; Adam with Keras's defaults unless given. It may also stand
                second.
            loss: categorical cross entropy, alone or in a list or dict; its `from_logits` says what
                the network ends in. With critic=None any loss.
        Raises:
            ValueError: if the loss is not over exclusive classes, or contradicts the network, or a
                setting is known to fail under replicas.
        """
        if args and is_optimizer(args[0]):
            critic_optimizer, *args = args
        arguments = inspect.signature(super().compile).bind(optimizer, *args, **kwargs).arguments
        check_objects(critic_optimizer=critic_optimizer, **arguments)
        if self.critic is not None and None in (optimizer, critic_optimizer):
            raise InputError(
                "Expected an optimizer for the network and one for the critic. Received: optimizer="
                f"{optimizer!r}, critic_optimizer={critic_optimizer!r}. Give both, such as 'adam'."
            )
        if arguments.get("auto_scale_loss", True):
            optimizer = scaled_for(self.dtype_policy.name, keras.optimizers.get(optimizer))
        super().compile(**arguments | {"optimizer": optimizer})
        loss = arguments.get("loss")
        # The baseline may have any loss; rewards need one over classes.
        self.measures_rewards = self.critic is not None or bool(
            self.trajectory.modules and self.settings.validation_fraction and is_over_classes(loss)
        )
        self.method_metrics.with_rewards = self.measures_rewards
        if self.measures_rewards:
            self.reward_estimator.from_logits = outputs_are_logits(loss, self.network)
        if optimizer is None:
            return  # To evaluate only, as in plain Keras.
        optimizers = [self.optimizer]
        if self.critic is not None:
            self.critic_optimizer = keras.optimizers.get(critic_optimizer)
            optimizers.append(self.critic_optimizer)
        if self.critic is not None or self.embedding_losses is not None:
            check_clipping(self.optimizer)
            self.clipping = clipping_of(self.optimizer)
        check_replicas(optimizers, arguments.get("jit_compile", "auto"), self.steps_per_execution)
        # Unbuilt, an optimizer would be built inside the step, which fails under replicas.
        self.optimizer.build(self.network.trainable_variables)
        if self.critic is not None:
            self.critic_optimizer.build(self.critic.trainable_variables)

    # The training step, in the order in which it runs.

    def train_step(self, data):
        data = assert_nonempty_shard(data)
        if self.critic is None and self.embedding_losses is None:
            return super().train_step(data)  # The baseline: plain Keras.
        factual = self.factual_pass(data)  # The task loss L_c, and its gradient for W and theta.
        if not self.method_enabled:  # The baseline with embedding losses, or before a delayed start.
            self.update_network(factual)
            self._log(factual)
            return self._compiled_metrics(factual)
        samples = self.estimate_rewards(factual)  # A counterfactual pass, without gradient.
        result = self.update_critic(factual, samples)  # L_r moves phi.
        of_modules = self.actor_gradients(factual, result)  # L_q, for theta alone.
        push = self.push(factual, result, of_modules)  # Weighted, and as far as a critic is trusted.
        available = [samples.difference, result.critiques]
        self.update_network(factual, push, available)  # L_c moves W and theta, the push theta alone.
        self._log(factual, samples, result, of_modules, push)
        return self._compiled_metrics(factual)

    def factual_pass(self, data):
        """Runs the network on a batch: the task loss L_c and its gradient for W and theta.

        Args:
            data: a batch as `fit` takes it: images, labels and sample weights.
        Returns:
            `FactualPass`. No variable of the network has moved, BatchNorm's averages included.
        """
        images, labels, sample_weight = _unpacked(data)
        with tf.GradientTape(persistent=self._needs_true_action_gradients) as tape:
            if self._needs_true_action_gradients:
                tape.watch(images)  # So that actions are recorded even when every weight is frozen.
            with DeferredUpdates(self.network, tape) as deferred:
                outputs = self.reward_estimator.factual(images, training=True)
            loss = self.task_loss(images, labels, outputs, sample_weight, deferred.losses)
            # A NaN in the batch statistics may reach no output, see `dreal_tf.method.finite`.
            loss = tf.where(deferred.finite(), loss, float("nan"))
            scaled_loss = self.optimizer.scale_loss(loss)
            targets = targets_of(labels, outputs["logits"].shape[-1], sample_weight)
            scores = self._scores(outputs["logits"], targets)
        gradients = tape.gradient(scaled_loss, deferred.sources())  # W, theta
        privileged = self._privileged_inputs(tape, scores, outputs, targets)
        return FactualPass(
            images, labels, sample_weight, outputs, targets, loss, gradients, privileged, deferred
        )

    def estimate_rewards(self, factual):
        """Measures rewards of some actions by a counterfactual pass with the same batch statistics.

        Args:
            factual: `FactualPass`.
        Returns:
            `dreal_tf.method.types.RewardSamples`.
        """
        settings, estimator = self.settings, self.reward_estimator
        seed = replica_seed(settings.seed, self.optimizer.iterations)
        plan = estimator.sample_plan(factual.targets, settings.reward_fraction, seed)
        estimate = estimator.estimate_all if settings.estimator == "exact" else estimator.estimate
        statistics = () if factual.deferred is None else factual.deferred.batch_statistics()
        return estimate(factual.images, factual.targets, factual.outputs, plan, statistics)

    def update_critic(self, factual, samples):
        """Moves the critic by L_r, and differentiates it with respect to the actions.

        Args:
            factual: `FactualPass`.
            samples: `dreal_tf.method.types.RewardSamples` of some of its actions.
        Returns:
            `UpdateResult`.
        """
        modules = self.trajectory.emitted(factual.outputs)
        actions, phi = [module.action for module in modules], self.critic.trainable_variables
        with tf.name_scope("critic"), tf.GradientTape(persistent=True) as tape:
            tape.watch(actions)
            output = self.critic(modules, factual.privileged, samples=samples)
            critic_loss = self.critic.loss(output, samples)
            scaled_loss = per_replica(critic_loss)
        dq_da = self._dq_da(tape, output, actions)
        trust = tf.ones([len(modules)])
        if self.trust is not None:  # The critic is tested before it learns from the same samples.
            predicted = output.predicted_differences
            if predicted is None:
                predicted = predicted_differences(dq_da, actions, samples)
            trust = self.trust(predicted, samples.difference, samples.modules, samples.mask)
        gradients = tape.gradient(scaled_loss, phi) if phi else []
        gradients = available_after([*dq_da, output.critiques], gradients)
        self.apply_to_critic(gradients, factual.gradients)
        if self.settings.update == "alternating":  # The actors follow the critic that has moved.
            with tf.name_scope("moved_critic"), tf.GradientTape() as tape:
                tape.watch(actions)
                moved = self.critic(modules, factual.privileged)
            dq_da = self._dq_da(tape, moved, actions)
        logged_loss = actor_loss(output.critiques, factual.targets.weights)
        return UpdateResult(output.critiques, critic_loss, logged_loss, trust, dq_da)

    def actor_gradients(self, factual, result):
        """The deterministic policy gradient: dL_q/dtheta = dA/dtheta · dL_q/dA, before trust.

        For each action, dL_q/dA is -dQ/dA times sample weight, over batch size · modules.

        Args:
            factual: `FactualPass`.
            result: `UpdateResult`.
        Returns:
            List, one per module, of lists of tensors or None, one for each variable of theta: the
            gradient through the module's action, scaled as the task loss's.
        """
        theta = self.trajectory.variables
        with tf.name_scope("actors"), tf.GradientTape(persistent=True) as tape:
            actions = self.trajectory.propose_again(factual.outputs, factual.deferred is not None)
        scale = self.optimizer.scale_loss(per_replica(tf.ones([])))
        of_actions = gradients_of_actions(result.dq_da, factual.targets.weights, scale)
        pairs = zip(actions, of_actions, strict=True)
        return [tape.gradient(action, theta, output_gradients=part) for action, part in pairs]

    def push(self, factual, result, of_modules):
        """The actor loss's gradient for theta, weighted, each module's as far as its critic is trusted.

        Args:
            factual: `FactualPass`.
            result: `UpdateResult`.
            of_modules: from `actor_gradients`.
        Returns:
            List of tensors or None, one for each variable of theta.
        """
        factors = self.actor_weight() * result.trust  # (modules,)
        if self.relative_weight is not None:
            task = [factual.gradients[n] for n in self._positions_of_theta()]
            factors *= self.relative_weight.factors(task, of_modules, self._sizes_of_theta())
        return summed(of_modules, factors)

    def update_network(self, factual, push=None, available=()):
        """Moves W and theta by both gradients, then commits the deferred updates.

        Args:
            factual: `FactualPass`.
            push: list of tensors or None, one for each variable of theta; None: the task loss's
                gradient alone.
            available: sequence of tensors that are computed before the optimizer moves W and theta.
        """
        # Clipped before the push is added, whose size would otherwise change the scale of W's gradient.
        gradients = list(clip(factual.gradients, self.optimizer))
        # At weight 0 the task loss's gradient alone, so that even NaN in the other does nothing.
        if push is not None and self.settings.actor_weight:
            for position, gradient in zip(self._positions_of_theta(), push, strict=True):
                # A variable without a task gradient is frozen by the user.
                if gradient is not None and gradients[position] is not None:
                    gradients[position] += gradient
        gradients = available_after(available, gradients) if available else gradients
        factual.deferred.commit_trainable()
        with clipping_off(self.optimizer, self.clipping):
            self.optimizer.apply(gradients, self.network.trainable_variables)
        factual.deferred.commit()

    def apply_to_critic(self, gradients, task_gradients):
        """Moves phi.

        Args:
            gradients: list of tensors, one for each variable of phi.
            task_gradients: list of tensors or None, for W and theta; None if they do not move.
        """
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            # The network skips a step that overflows; the critic's gradients are 0 in it.
            checked = finite_everywhere([*gradients, *(task_gradients or ())])
            finite = [tf.reduce_all(tf.math.is_finite(g)) for g in checked if g is not None]
            finite = tf.reduce_all(finite)
            gradients = [g if g is None else tf.where(finite, g, 0.0) for g in gradients]
        # Some of phi may take no part: the memory's recurrent weights, if there is one module.
        pairs = zip(gradients, self.critic.trainable_variables, strict=True)
        pairs = [pair for pair in pairs if pair[0] is not None]
        if pairs:
            self.critic_optimizer.apply(*map(list, zip(*pairs, strict=True)))

    def actor_weight(self):
        """The actor loss's weight in this step, float scalar."""
        weight, warmup = self.settings.actor_weight, self.settings.actor_warmup
        progress = tf.cast(self.optimizer.iterations, tf.float32) / max(warmup, 1)
        return weight * tf.minimum(progress, 1.0) if warmup else tf.constant(weight, tf.float32)

    def test_step(self, data):
        if not self.measures_rewards:
            return super().test_step(data)
        images, labels, sample_weight = _unpacked(data)
        classes = self.network.output_shape[-1]
        padded = pad_empty_shard(images)
        targets = pad_empty_shard(targets_of(labels, classes, sample_weight))
        with tf.GradientTape() as tape:
            if self._needs_true_action_gradients:
                tape.watch(padded)
            outputs = self.reward_estimator.factual(padded)
            scores = self._scores(outputs["logits"], targets)
        logits = without_padding(outputs["logits"], tf.shape(labels)[0])
        loss = self.task_loss(images, labels, {"logits": logits}, sample_weight, training=False)
        privileged = self._privileged_inputs(tape, scores, outputs, targets)
        factual = FactualPass(
            padded, labels, sample_weight, outputs, targets, loss, privileged=privileged
        )
        plan = self.reward_estimator.fixed_plan(targets, self.settings.validation_fraction)
        samples = self.reward_estimator.estimate_all(
            padded, targets, outputs, plan, exploration=("reference",)
        )
        result = None if self.critic is None else self._judge(factual, samples)
        self._log(factual, samples, result)
        if self.instruments is not None:
            self.instruments.log(
                self.instrument_metrics,
                (padded, targets, outputs),
                (result.critiques, privileged),
                samples,
            )
        logs = self.compute_metrics(images, labels, logits, sample_weight)
        return logs | (self.instrument_metrics.all() if self.instruments else {})

    def task_loss(self, images, labels, outputs, sample_weight, added=(), training=True):
        """The compiled loss, regularisers and, in training, the losses of embeddings.

        Args:
            images, labels, sample_weight: of a batch.
            outputs: dict, the network's outputs for it.
            added: sequence of scalars, the losses that layers added in a deferred pass.
            training: bool.
        Returns:
            Float scalar, scaled for the sum over replicas.
        """
        loss = self.compute_loss(images, labels, outputs["logits"], sample_weight, training=training)
        # Keras itself adds weight regularisers.
        added = [tf.cast(keras.ops.sum(term), loss.dtype) for term in added]
        loss = tf.add_n([loss, *map(per_replica, added)])
        if self.embedding_losses is None or not training:
            return loss
        total, parts = self.embedding_losses(outputs["feature"], labels, training=True)
        for name, part in parts.items():
            self.embedding_metrics[name].update_state(part, sample_weight=tf.shape(labels)[0])
        return loss + per_replica(total)

    @property
    def _needs_true_action_gradients(self):
        return self.critic is not None and self.critic.needs_true_action_gradients

    def _scores(self, logits, targets):
        """The scores, for a tape to record, if the critic needs their gradient; else None."""
        if not self._needs_true_action_gradients:
            return None
        return self.reward_estimator.score(targets.labels, logits)

    def _privileged_inputs(self, tape, scores, outputs, targets):
        if self.critic is None:
            return None
        gradients = None
        if scores is not None:
            actions = [outputs["actions"][module] for module in self.trajectory.modules]
            gradients = true_action_gradients(tape, scores, actions)
        return self.reward_estimator.privileged_inputs(outputs["logits"], targets.labels, gradients)

    def _dq_da(self, tape, output, actions):
        """Gradient of the critiques with respect to each action; 0 if the critic ignores it."""
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(output.critiques, actions, unconnected_gradients=zero)

    def _judge(self, factual, samples):
        """`UpdateResult` without any update, for evaluation."""
        modules = self.trajectory.emitted(factual.outputs)
        output = self.critic(modules, factual.privileged, samples=samples)
        return UpdateResult(
            output.critiques,
            self.critic.loss(output, samples),
            actor_loss(output.critiques, factual.targets.weights),
            tf.ones([len(modules)]) if self.trust is None else self.trust.weights_now(),
        )

    def _positions_of_theta(self):
        """The position of each variable of theta among the trainable variables of the network."""
        positions = {id(v): n for n, v in enumerate(self.network.trainable_variables)}
        return [positions[id(v)] for v in self.trajectory.variables]

    def _sizes_of_theta(self):
        """The number of weights of each variable of theta."""
        return [math.prod(variable.shape) for variable in self.trajectory.variables]

    # Logs.

    def _log(self, factual, samples=None, result=None, of_modules=None, push=None):
        present = tf.shape(factual.labels)[0]  # 0 if this replica was given no image.
        loss = factual.loss * self.distribute_strategy.num_replicas_in_sync
        self.loss_tracker.update_state(loss, sample_weight=present)
        if samples is not None:
            images = tf.shape(factual.targets.labels)[0]
            self.method_metrics.add_rewards(samples, images)
        if result is None:
            return
        self.method_metrics.add_critic(
            result.critic_loss,
            result.actor_loss,
            result.critiques,
            result.trust,
            factual.targets.mask,
            present,
        )
        if push is not None and factual.gradients is not None:
            clipped = clip(factual.gradients, self.optimizer)
            task = [clipped[n] for n in self._positions_of_theta()]
            groups = weights_of_modules(of_modules)
            products = gradient_products(task, push, groups, self._sizes_of_theta())
            self.method_metrics.add_actor_gradients(*map(ratio_and_cosine, products), present)

    def _compiled_metrics(self, factual):
        logits = factual.outputs["logits"]
        return self.compute_metrics(factual.images, factual.labels, logits, factual.sample_weight)

    def get_metrics_result(self):
        self.method_metrics.in_training = not self._evaluating
        if self.instruments is not None:
            self.instrument_metrics.in_validation = self._evaluating
        result = super().get_metrics_result()
        if self.embedding_losses is not None and self._evaluating:
            for name in self.embedding_metrics:  # Validation batches hold no chosen identities.
                result.pop(name)
        return result

    def method_summary(self, curves=None):
        """Summarises the method in training: how hard it pushed, and which critics were trusted.

        Args:
            curves: dict from logged name to a value for each epoch; None: those of the last `fit`.
        Returns:
            `dreal_tf.method.summary.MethodSummary`, whose `line` says it in a sentence.
        Example:
            >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
            >>> print(DREAL(network, critic=None).method_summary().line)
            DREAL: off; the task loss alone trained the attention.
        """
        if curves is None:
            history = getattr(self, "history", None)
            curves = {} if history is None else history.history
        settings, modules = self.settings, self.trajectory.modules if self.critic is not None else []
        warmup = 1.0
        if settings.actor_warmup and self.compiled:
            warmup = min(1.0, float(self.optimizer.iterations) / settings.actor_warmup)
        return summarise_method(curves, modules, settings.actor_weight, settings.trust, warmup)

    # As any Keras model.

    def summary(self, line_length=None, positions=None, print_fn=None, expand_nested=True, **named):
        """Prints the layers of the network, actors among them, and of the critic, see `keras.Model.summary`."""
        super().summary(line_length, positions, print_fn, expand_nested, **named)

    def build(self, input_shape):
        """Does nothing: network and critic are built."""

    input, output = _of_network("input"), _of_network("output")
    inputs, outputs = _of_network("inputs"), _of_network("outputs")
    input_shape, output_shape = _of_network("input_shape"), _of_network("output_shape")
    output_names, operations = _of_network("output_names"), _of_network("operations")

    @property
    def layers(self):
        """The parts of the model, each once: `trajectory_network` consists of `network`'s layers."""
        return [part for part in super().layers if part is not self.network]

    def get_layer(self, name=None, index=None):
        """A part of the model by its name, or a layer of the network by its name or position."""
        parts = {part.name: part for part in self.layers}
        return parts[name] if name in parts else self.network.get_layer(name, index)

    def compute_output_shape(self, input_shape):
        return self.network.compute_output_shape(input_shape)

    def export(self, *args, **kwargs):
        """As `keras.Model.export`: the network alone."""
        self.average_statistics()
        return self.network.export(*args, **kwargs)

    def save(self, filepath, *args, **kwargs):
        if self.critic is not None and self.compiled and str(filepath).endswith((".h5", ".hdf5")):
            warnings.warn(
                "Expected a .keras file for a model with a critic. Received: "
                f"{str(filepath)!r}, a format without a second optimizer: the loaded model has a new "
                "critic optimizer, Adam. Save as .keras to continue training.",
                stacklevel=2,
            )
        return super().save(filepath, *args, **kwargs)

    def call(self, images, training=None):
        if training:
            return self.network(images, training=True)
        count = tf.shape(tf.nest.flatten(images)[0])[0]
        return without_padding(self.network(pad_empty_shard(images), training=False), count)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        # Not the outputs: Keras finds the logits of a softmax behind them.
        return loss if x is None else tf.where(all_finite(x), loss, float("nan"))

    def predict_step(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return propagate_nonfinite(super().predict_step(data), images)

    def fit(
        self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, *args, **kwargs
    ):
        callbacks = with_progress_bar(callbacks)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, *args, **kwargs)

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        *args,
        **kwargs,
    ):
        callbacks = with_progress_bar(callbacks)
        self._evaluating = True
        try:
            return super().evaluate(
                x, y, batch_size, verbose, sample_weight, steps, callbacks, *args, **kwargs
            )
        finally:
            self._evaluating = False

    def _take_embedding_losses(self, losses):
        self.embedding_losses = losses
        if losses is None:
            return
        outputs = self.trajectory_network.output
        if "feature" not in outputs:
            raise InputError(
                "Expected a network with a bnneck, whose features the embedding losses read. "
                f"Received: {self.trajectory_network.name!r}, which gives {', '.join(outputs)}. "
                "Build it with bnneck=True, which in a recipe is backbone.bnneck."
            )
        if not losses.built:
            losses.build(outputs["feature"].shape)
        self.embedding_metrics = {name: keras.metrics.Mean(name=name) for name in losses.names}

    def get_config(self):
        parts = {"network": self.trajectory_network, "critic": self.critic}
        parts |= {"embedding_losses": self.embedding_losses}
        parts |= {"reference_action": self.settings.reference_action}
        serialized = {k: keras.saving.serialize_keras_object(part) for k, part in parts.items()}
        return super().get_config() | self.settings.to_dict() | serialized

    @classmethod
    def from_config(cls, config, custom_objects=None):
        loaded = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("network", "critic", "embedding_losses", "reference_action")
        }
        absolute = {"actor_weight_mode": "absolute"}  # Until 0.1.0 every weight was.
        return cls(**(absolute | config | loaded))

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.critic is not None:
            critic_optimizer = keras.saving.serialize_keras_object(self.critic_optimizer)
            config["critic_optimizer"] = critic_optimizer
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))


# A .h5 file names the class of a model without its package.
keras.saving.get_custom_objects()["DREAL"] = DREAL


def attach(network: keras.Model, gates: str | Sequence[str] = (), **settings: Any) -> DREAL:
    """A `DREAL` model around a network that you have, sharing its layers and weights.

    Attention layers of this package are found wherever they are, in nested models and in layers of
    your own. `gates` names attention of other origin: products of a map and a gate that is made of
    it (squeeze-and-excitation of `keras.applications`) or of an earlier map (GhostNetV2, MobileViTv2);
    softmaxes of scores that weigh values; `keras.layers.MultiHeadAttention` and its kin, causal or
    not; and layers of other origin that hold such attention, such as a transformer's encoder.
    `dreal_tf.find_gates` lists all of them.

    Args:
        network: functional or Sequential `keras.Model` with one output (batch, classes): logits, or
            a softmax of them. It stays as it is; `model.network` gives it back.
        gates: str or sequence of str: names of layers, or patterns such as "*_se_excite".
        **settings: those of `DREAL`.
    Returns:
        `DREAL`, to be compiled. The module of a gate called "block2a_se_excite" is
        "block2a_se_excite/gate", of attention called "block_1" it is "block_1/attention", of "mha"
        inside a layer "block_1" it is "block_1_mha/attention". If names do not tell stages, as
        "conv4_3" does, these are "stage1", "stage2", ...: consecutive modules of one size and width.
    Raises:
        InputError: if the network has no graph to be seen, has no attention, shares it between
            places, or a gate is none; the message says why, and which names come near.
    Example:
        >>> images = keras.Input((16, 16, 3))
        >>> maps = keras.layers.Conv2D(8, 3, activation="relu")(images)
        >>> gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(maps)
        >>> gate = keras.layers.Dense(8, activation="sigmoid")(gate)
        >>> gated = keras.layers.Multiply(name="first_se_excite")([maps, gate])
        >>> network = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(gated)))
        >>> model = attach(network, gates="*_se_excite")
        >>> model.trajectory.modules, model.network is network
        (['first_se_excite/gate'], True)
    """
    return DREAL(AttachedNetwork(network, gates), **settings)
