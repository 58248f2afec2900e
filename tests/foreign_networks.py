"""Small networks with attention of foreign origin, each with a twin whose attention is ablated by hand."""

import keras
import numpy as np
from keras import ops

SHAPE, CLASSES = (8, 8, 3), 3


@keras.saving.register_keras_serializable("tests")
class UsersGate(keras.layers.Layer):
    """A layer of a user's own, with a multiply at its end and a weight that is in no sublayer."""

    def __init__(self, flat=False, **kwargs):
        super().__init__(**kwargs)
        self.flat = flat

    def build(self, shape):
        self.dense = keras.layers.Dense(shape[-1], name="dense")
        self.dense.build((None, 1, 1, shape[-1]))
        self.slope = self.add_weight(shape=(shape[-1],), initializer="ones", name="slope")

    def call(self, maps):
        gate = ops.sigmoid(self.dense(ops.mean(maps, axis=(1, 2), keepdims=True)) * self.slope)
        return maps * averaged(gate, self.flat, 3)

    def get_config(self):
        return super().get_config() | {"flat": self.flat}


def averaged(action, flat, axes):
    return ops.mean(action, axis=axes, keepdims=True) * ops.ones_like(action) if flat else action


def convolved(images, name="conv"):
    maps = keras.layers.Conv2D(6, 3, padding="same", name=name)(images)
    maps = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(maps)
    return keras.layers.ReLU(name=f"{name}_relu")(maps)


def classified(maps, images, activation=None, **options):
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    logits = keras.layers.Dense(CLASSES, activation, name="logits")(pooled)
    return keras.Model(images, logits, **options)


def excited(maps, name, flat=False, activation="sigmoid"):
    """Squeeze-and-excitation as `keras.applications` writes it."""
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_squeeze")(maps)
    gate = keras.layers.Conv2D(2, 1, activation="swish", name=f"{name}_se_reduce")(gate)
    gate = keras.layers.Conv2D(6, 1, activation=activation, name=f"{name}_se_expand")(gate)
    return keras.layers.multiply([maps, averaged(gate, flat, 3)], name=f"{name}_se_excite")


def squeeze_excite(flat=False):
    images = keras.Input(SHAPE)
    maps = excited(convolved(images), "block1", flat)
    return classified(convolved(maps, "conv_2"), images)


def spatial(flat=False):
    images = keras.Input(SHAPE)
    maps = convolved(images)
    gate = keras.layers.Conv2D(1, 3, padding="same")(maps)
    gate = keras.layers.BatchNormalization(name="gate_bn")(gate)
    gate = keras.layers.Activation("sigmoid", name="gate_end")(gate)
    return classified(averaged(gate, flat, (1, 2)) * maps, images)


def users_layer(flat=False):
    images = keras.Input(SHAPE)
    return classified(UsersGate(flat, name="users")(convolved(images)), images)


class UniformAttention(keras.layers.MultiHeadAttention):
    """Every query attends to all keys alike."""

    def _compute_attention(self, query, *args, **kwargs):
        return super()._compute_attention(0 * query, *args, **kwargs)


@keras.saving.register_keras_serializable("tests")
class DropPath(keras.layers.Layer):
    """Stochastic depth as many write it: sampled without a seed."""

    def call(self, rows, training=None):
        if not training:
            return rows
        kept = keras.random.uniform((keras.ops.shape(rows)[0], 1, 1)) < 0.5
        return rows * keras.ops.cast(kept, rows.dtype) * 2


def tokens(flat=False, dropout=0.0, blocks=1, drop_path=False):
    """Blocks of a vision transformer on 16 patches."""
    images = keras.Input(SHAPE)
    patches = keras.layers.Conv2D(8, 2, 2, name="patches")(images)
    hidden = keras.layers.Reshape((16, 8))(patches)
    kind = UniformAttention if flat else keras.layers.MultiHeadAttention
    for number in range(1, blocks + 1):
        normed = keras.layers.LayerNormalization()(hidden)
        layer = kind(2, 4, dropout=dropout, name=f"block_{number}_attention")
        branch = layer(normed, normed)
        hidden = keras.layers.Add()([hidden, DropPath()(branch) if drop_path else branch])
        normed = keras.layers.LayerNormalization()(hidden)
        hidden = keras.layers.Add()([hidden, keras.layers.Dense(8, "gelu")(normed)])
    pooled = keras.layers.GlobalAveragePooling1D()(hidden)
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(pooled))


@keras.saving.register_keras_serializable("tests")
class TransformerBlock(keras.layers.Layer):
    """A block of a vision transformer as a layer, its attention under the name it has in every block."""

    def __init__(self, flat=False, **kwargs):
        super().__init__(**kwargs)
        self.flat = flat

    def build(self, shape):
        kind = UniformAttention if self.flat else keras.layers.MultiHeadAttention
        self.norm = keras.layers.LayerNormalization(name="norm")
        self.mha = kind(2, 4, name="mha")
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="layer_scale")
        self.norm.build(shape)
        self.mha.build(shape, shape)

    def call(self, rows):
        normed = self.norm(rows)
        return rows + self.mha(normed, normed) * self.scale

    def get_config(self):
        return super().get_config() | {"flat": self.flat}


@keras.saving.register_keras_serializable("tests")
class Encoder(keras.layers.Layer):
    """Two blocks in a layer, as KerasHub has them; the flat one ablates the second."""

    def __init__(self, flat=False, **kwargs):
        super().__init__(**kwargs)
        self.flat = flat

    def build(self, shape):
        self.blocks = [
            TransformerBlock(self.flat and number == 2, name=f"layer_{number}") for number in (1, 2)
        ]
        for block in self.blocks:
            block.build(shape)

    def call(self, rows):
        for block in self.blocks:
            rows = block(rows)
        return rows

    def get_config(self):
        return super().get_config() | {"flat": self.flat}


def encoded(flat=False):
    images = keras.Input(SHAPE)
    patches = keras.layers.Conv2D(8, 2, 2, name="patches")(images)
    rows = Encoder(flat, name="encoder")(keras.layers.Reshape((16, 8))(patches))
    pooled = keras.layers.GlobalAveragePooling1D()(rows)
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(pooled))


class UniformScores(keras.layers.Attention):
    """As above, of Keras's layer of one head."""

    def _calculate_scores(self, query, key):
        return 0 * super()._calculate_scores(query, key)


def scores(flat=False):
    """Keras's `Attention` on three projections of one map."""
    images = keras.Input(SHAPE)
    rows = keras.layers.Reshape((64, 6))(convolved(images))
    query, key, value = (keras.layers.Dense(6, name=name)(rows) for name in "qkv")
    kind = UniformScores if flat else keras.layers.Attention
    attended = kind(use_scale=True, name="attend")([query, value, key])
    maps = keras.layers.Reshape((8, 8, 6))(attended)
    return classified(maps, images)


@keras.saving.register_keras_serializable("tests")
class OwnAttention(keras.layers.Layer):
    """Attention of two heads made of `Dense` layers; flat, every query attends to all keys alike."""

    def __init__(self, flat=False, **kwargs):
        super().__init__(**kwargs)
        self.flat = flat

    def build(self, shape):
        self.parts = [keras.layers.Dense(8, name=name) for name in ("query", "key", "value", "out")]
        for part in self.parts:
            part.build(shape)

    def call(self, rows):
        images, positions, _ = ops.shape(rows)
        *parts, out = self.parts
        query, key, value = (ops.reshape(part(rows), (images, -1, 2, 4)) for part in parts)
        scores = ops.softmax((0 if self.flat else 4) * ops.einsum("bqhd,bkhd->bhqk", query, key))
        attended = ops.einsum("bhqk,bkhd->bqhd", scores, value)
        return out(ops.reshape(attended, (images, positions, 8)))

    def get_config(self):
        return super().get_config() | {"flat": self.flat}


@keras.saving.register_keras_serializable("tests")
class OwnBlock(keras.layers.Layer):
    """A transformer's block whose attention is a layer of its own class."""

    def __init__(self, flat=False, **kwargs):
        super().__init__(**kwargs)
        self.flat = flat

    def build(self, shape):
        self.norm, self.drop = keras.layers.LayerNormalization(name="norm"), DropPath()
        self.attend = OwnAttention(self.flat, name="attend")
        self.widen = keras.layers.Dense(shape[-1], "gelu", name="widen")
        for part in (self.norm, self.attend, self.widen):
            part.build(shape)

    def call(self, rows):
        rows = self.drop(self.attend(self.norm(rows)))
        return rows + self.widen(rows)

    def get_config(self):
        return super().get_config() | {"flat": self.flat}


def own_block(flat=False):
    images = keras.Input(SHAPE)
    rows = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 2, 2, name="patches")(images))
    pooled = keras.layers.GlobalAveragePooling1D()(OwnBlock(flat, name="block")(rows))
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(pooled))


def dots(flat=False):
    """A non-local block made of `Dot` layers."""
    images = keras.Input(SHAPE)
    maps = convolved(images)
    query, key, value = (
        keras.layers.Reshape((64, 6))(keras.layers.Conv2D(6, 1, name=name)(maps)) for name in "qkv"
    )
    products = keras.layers.Dot(axes=2)([query, key]) * (0.0 if flat else 1.0)
    weights = keras.layers.Softmax(name="weights")(products)
    attended = keras.layers.Reshape((8, 8, 6))(keras.layers.Dot(axes=(2, 1))([weights, value]))
    return classified(maps + attended, images)


def decoupled(flat=False):
    """Decoupled fully connected attention: a gate of a smaller map, resized, on another branch."""
    images = keras.Input(SHAPE)
    maps = convolved(images)
    gate = keras.layers.AveragePooling2D(2)(maps)
    gate = keras.layers.DepthwiseConv2D((1, 3), padding="same")(gate)
    gate = keras.layers.DepthwiseConv2D((3, 1), padding="same", activation="sigmoid")(gate)
    gate = averaged(keras.layers.UpSampling2D(2)(gate), flat, (1, 2))
    ghost = keras.layers.Conv2D(6, 3, padding="same", name="ghost")(maps)
    return classified(keras.layers.Multiply(name="decoupled")([ghost, gate]), images)


def separable(flat=False):
    """Separable self-attention: a softmax over positions weighs the keys, their sum the values."""
    images = keras.Input(SHAPE)
    rows = keras.layers.Reshape((4, 16, 6))(convolved(images))
    scores = ops.softmax(keras.layers.Dense(1, name="query")(rows), axis=2)
    scores = averaged(scores, flat, (1, 2))
    key, value = (
        keras.layers.Dense(6, name="key")(rows),
        keras.layers.Dense(6, "relu", name="value")(rows),
    )
    context = ops.sum(keras.layers.Multiply(name="context")([key, scores]), axis=2, keepdims=True)
    return classified(keras.layers.Reshape((8, 8, 6))(value * context), images)


def causal(flat=False):
    """Attention to a position and those before it; flat, to all of these alike."""
    images = keras.Input(SHAPE)
    rows = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 2, 2, name="patches")(images))
    kind = UniformAttention if flat else keras.layers.MultiHeadAttention
    refined = kind(2, 4, name="causal")(rows, rows, use_causal_mask=True)
    pooled = keras.layers.GlobalAveragePooling1D()(rows + refined)
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(pooled))


# Builder of the network, pattern that finds its attention, module, and kind of its action.
FOREIGN = {
    "squeeze and excitation": (squeeze_excite, "*_se_excite", "block1_se_excite/gate", "channel"),
    "the gate's last layer": (squeeze_excite, "block1_se_expand", "block1_se_expand/gate", "channel"),
    "a spatial gate": (spatial, "gate_end", "gate_end/gate", "spatial"),
    "a layer of one's own": (users_layer, "users", "users/gate", "channel"),
    "heads of attention": (tokens, "block_*_attention", "block_1/attention", "pairwise"),
    "a block of one's own": (own_block, "block", "block_attend/attention", "pairwise"),
    "dot products": (dots, "weights", "weights/attention", "pairwise"),
    "a resized gate": (decoupled, "decoupled", "decoupled/gate", "spatial"),
    "separable attention": (separable, "context", "context/gate", "spatial"),
    "causal attention": (causal, "causal", "causal/attention", "pairwise"),
    "scores": (scores, "attend", "attend/attention", "pairwise"),
}


def with_random_weights(network, seed=1):
    """The network with weights that make its attention selective and its predictions differ."""
    random = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(random.normal(float("gamma" in variable.path), 0.7, variable.shape))
    return network


def images_and_labels(count=12, seed=0):
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, *SHAPE)).astype("float32")
    return images, (np.arange(count) % CLASSES).astype("int32")
