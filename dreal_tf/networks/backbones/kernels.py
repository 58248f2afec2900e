"""Faster kernels: BatchNorm as one fused operation, convolution of small maps as a matrix product."""

import math

import keras
import numpy as np
import tensorflow as tf

# Within these limits a matrix product is up to three times faster on CPUs, at any batch size.
FEW_POSITIONS = 4  # Maximum number of positions of the result.
LARGE_KERNEL = 2**18  # Minimum number of entries of the kernel.


@keras.saving.register_keras_serializable("dreal_tf")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's BatchNorm over the channels of maps, computed by TensorFlow's fused operation.

    The results equal Keras's up to rounding, moving averages included, and take a fraction of the
    time and memory. On this backend Keras composes the layer of means, squares and products, each of
    which reads and stores whole maps. The fused operation supports neither statistics that span
    replicas, nor batch renormalization, nor weights of another type than float32; for these the layer
    calls Keras's own implementation.

    A training step of SE-ResNet-50 at 224×224 takes 21.7 % less time (95 %: 19.4 to 23.1), one of
    SE-ResNet-20 at 32×32 takes 21.9 % less (13.2 to 30.0) (`tools/benchmarks/kernels.py`, two CPU
    cores).

    Args:
        arguments: see `keras.layers.BatchNormalization`.
    Call arguments:
        inputs: float tensor (batch, height, width, channels).
    Example:
        >>> maps = np.random.normal(3.0, 2.0, (8, 4, 4, 2)).astype("float32")
        >>> normal = FusedBatchNormalization()(maps, training=True)
        >>> bool(abs(np.mean(normal)) < 1e-5), bool(abs(np.std(normal) - 1) < 1e-3)
        (True, True)
    Source: Ioffe, Szegedy 2015, arXiv 1502.03167.
    """

    def call(self, inputs, training=None, mask=None):
        by_batch = bool(training and self.trainable)
        composed = (
            (self.synchronized and by_batch) or getattr(self, "renorm", False) or mask is not None
        )
        composed |= self.variable_dtype != "float32" or len(inputs.shape) != 4
        if composed:
            return super().call(inputs, training=training, mask=mask)
        averages = [tf.zeros([0])] * 2  # The operation computes the batch's own statistics.
        if not by_batch:
            averages = [tf.convert_to_tensor(v) for v in (self.moving_mean, self.moving_variance)]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=averages[0],
            variance=averages[1],
            epsilon=self.epsilon,
            is_training=by_batch,
        )
        if not by_batch:
            return outputs
        # The operation returns the unbiased estimate of the variance; Keras keeps the biased one.
        batch, height, width = keras.ops.shape(inputs)[:3]
        count = batch * height * width
        variance *= tf.cast((count - 1) / count, tf.float32)
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            before, added = tf.convert_to_tensor(moving), current * (1.0 - self.momentum)
            moving.assign(added if _is_zero(before) else before * self.momentum + added)
        return outputs


def _is_zero(average):
    """Whether tracing already knows that an average is 0, as in a pass that defers its updates."""
    known = None if tf.executing_eagerly() else tf.get_static_value(average)
    return known is not None and not known.any()


@keras.saving.register_keras_serializable("dreal_tf")
class SmallMapConv2D(keras.layers.Conv2D):
    """Keras's convolution, computed as one matrix product if the result has few positions.

    The last maps of small images have one to four positions, and convolution kernels are optimised
    for larger maps. On small maps the product of the patches with a large kernel gives the same
    results up to rounding in a third of the time. On larger maps, and with groups or dilation, the
    layer calls Keras's own implementation.

    The product pays off on small images only. At 64×64, where the last maps are 2×2, a training step
    of SE-ResNet-50 takes 21.3 % less time (95 %: 19.0 to 30.3). At 224×224 the last maps are 7×7 and
    the layer never uses it (`tools/benchmarks/kernels.py`, two CPU cores).

    Args:
        arguments: see `keras.layers.Conv2D`.
    Call arguments:
        inputs: float tensor (batch, height, width, channels).
    Example:
        >>> layer = SmallMapConv2D(3, 3, strides=2, padding="same")
        >>> tuple(layer(np.ones((5, 4, 4, 2))).shape)
        (5, 2, 2, 3)
    """

    def call(self, inputs):
        results = self.compute_output_shape(inputs.shape)[1:]
        plain = self.groups == 1 and self.dilation_rate == (1, 1)
        plain &= self.data_format == "channels_last"
        if not plain or None in (*inputs.shape[1:3], *results):
            return super().call(inputs)
        if math.prod(results[:2]) > FEW_POSITIONS or math.prod(self.kernel.shape) < LARGE_KERNEL:
            return super().call(inputs)
        kernel = tf.reshape(tf.convert_to_tensor(self.kernel), [-1, self.filters])
        patches = tf.reshape(self._patches(inputs, results[:2]), [-1, kernel.shape[0]])
        outputs = tf.reshape(tf.matmul(patches, kernel), [-1, *results])
        if self.use_bias:
            outputs += tf.convert_to_tensor(self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def _patches(self, inputs, results):
        """The patches (batch, positions of the result · positions of the kernel, channels)."""
        height, width, channels = inputs.shape[1:]
        flat = tf.reshape(inputs, [-1, height * width, channels])
        if self.kernel_size == (1, 1) and self.strides == (1, 1):
            return flat
        rows, columns = (
            self._kernel_positions(axis, size, count)
            for axis, (size, count) in enumerate(zip((height, width), results, strict=True))
        )
        # (result y, result x, kernel y, kernel x, y, x): 1 where that kernel entry reads that position.
        selection = np.einsum("iky,jlx->ijklyx", rows, columns).reshape(-1, height * width)
        return tf.matmul(tf.constant(selection, flat.dtype), flat)

    def _kernel_positions(self, axis, size, count):
        """Mask (count, kernel, size): the position of the map that each kernel entry reads."""
        kernel, stride = self.kernel_size[axis], self.strides[axis]
        before = 0
        if self.padding == "same":
            before = max((count - 1) * stride + kernel - size, 0) // 2
        positions = np.arange(count)[:, None] * stride + np.arange(kernel)[None, :] - before
        return positions[:, :, None] == np.arange(size)
