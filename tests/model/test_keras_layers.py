"""Any layer of Keras that takes images trains beside a critic as plain Keras trains it."""

import inspect

import keras
import numpy as np
import pytest
from support import logits_loss, values

from dreal_tf import DREAL, SqueezeExcite
from dreal_tf.networks.backbones import plain_network

SHAPE = (8, 8, 3)
CONVOLUTION = dict(filters=4, kernel_size=3)
# Arguments of the layers that need some.
ARGUMENTS = {
    "Activation": dict(activation="tanh"),
    "AdaptiveAveragePooling2D": dict(output_size=4),
    "AdaptiveMaxPooling2D": dict(output_size=4),
    "AlphaDropout": dict(rate=0.5),
    "AutoContrast": dict(value_range=(0, 1)),
    "AveragePooling2D": dict(pool_size=2),
    "CenterCrop": dict(height=6, width=6),
    "Conv2D": CONVOLUTION,
    "Conv2DTranspose": CONVOLUTION,
    "Dense": dict(units=4),
    "DepthwiseConv2D": dict(kernel_size=3),
    "Dropout": dict(rate=0.5),
    "EinsumDense": dict(equation="bhwc,cd->bhwd", output_shape=(8, 8, 4), bias_axes="d"),
    "GaussianDropout": dict(rate=0.5),
    "GaussianNoise": dict(stddev=0.5),
    "GroupNormalization": dict(groups=3),
    "Permute": dict(dims=(2, 1, 3)),
    "RandomBrightness": dict(factor=0.3, value_range=(0, 1)),
    "RandomColorDegeneration": dict(factor=0.3, value_range=(0, 1)),
    "RandomColorJitter": dict(value_range=(0, 1), brightness_factor=0.3),
    "RandomContrast": dict(factor=0.3, value_range=(0, 1)),
    "RandomGrayscale": dict(factor=0.5),
    "RandomHue": dict(factor=0.3, value_range=(0, 1)),
    "RandomPosterization": dict(factor=4, value_range=(0, 1)),
    "RandomRotation": dict(factor=0.3),
    "RandomSaturation": dict(factor=0.3, value_range=(0, 1)),
    "RandomSharpness": dict(factor=0.3, value_range=(0, 1)),
    "RandomTranslation": dict(height_factor=0.3, width_factor=0.3),
    "RandomZoom": dict(height_factor=0.3),
    "Rescaling": dict(scale=0.5),
    "Reshape": dict(target_shape=(4, 16, 3)),
    "Resizing": dict(height=6, width=6),
    "SeparableConv2D": CONVOLUTION,
    "SpatialDropout2D": dict(rate=0.5),
    "SpectralNormalization": dict(layer=lambda: keras.layers.Conv2D(4, 3)),
    "TimeDistributed": dict(layer=lambda: keras.layers.Dense(4)),
}
EXCLUDED = {
    "not a layer inside a network": "InputLayer InputSpec Layer Lambda Pipeline Wrapper",
    "of another backend, or from a file": "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
    "several inputs": "Add AdditiveAttention Attention Average Concatenate Dot GroupQueryAttention "
    "Maximum Minimum MultiHeadAttention Multiply Subtract",
    "vectors, sequences or volumes": "Bidirectional ConvLSTM2D GRU GRUCell LSTM LSTMCell Masking RNN "
    "RepeatVector SimpleRNN SimpleRNNCell StackedRNNCells",
    "audio, boxes, words or categories": "CategoryEncoding Discretization Embedding HashedCrossing Hashing "
    "IntegerLookup MaxNumBoundingBoxes MelSpectrogram ReversibleEmbedding STFTSpectrogram StringLookup "
    "TextVectorization",
    "draws from Python's global random numbers": "AugMix",
    # Keras itself cannot build the model, or evaluate it: another size comes out at inference.
    "not in a functional network": "Equalization RandomCrop",
}


def layers_of_images():
    """Names of all layers of Keras but those excluded; of 1D and 3D twins there are many.

    A layer with two names is listed once.
    """
    excluded = {name for names in EXCLUDED.values() for name in names.split()}
    classes = inspect.getmembers(keras.layers, inspect.isclass)
    names = [name for name, layer in classes if name == layer.__name__]
    return [name for name in names if name not in excluded and not ("1D" in name or "3D" in name)]


def parameter(name):
    """A layer's name; of the many that augment images all but one are slow."""
    augments = "preprocessing" in getattr(keras.layers, name).__module__ and name != "RandomFlip"
    return pytest.param(name, marks=[pytest.mark.slow] * augments)


def made(name):
    arguments = {k: v() if callable(v) else v for k, v in ARGUMENTS.get(name, {}).items()}
    if "seed" in inspect.signature(getattr(keras.layers, name)).parameters:
        arguments["seed"] = 7
    return getattr(keras.layers, name)(**arguments)


def network(name):
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE)
    refined, action = SqueezeExcite(2, name="conv2_1_se")(images, return_action=True)
    layer = made(name)
    hidden = keras.layers.Flatten()(layer(refined))
    logits = keras.layers.Dense(3, kernel_initializer="he_normal")(hidden)
    states, actions = {"conv2_1/se": images}, {"conv2_1/se": action}
    return keras.Model(images, {"logits": logits, "states": states, "actions": actions})


LAYERS = layers_of_images()


def test_the_layers_are_many():
    """A new argument of Keras's must not empty the list."""
    assert len(LAYERS) > 60 and {"BatchNormalization", "SpectralNormalization", "Dropout"} <= set(
        LAYERS
    )


@pytest.mark.parametrize("name", [parameter(name) for name in LAYERS])
def test_at_weight_0_two_steps_give_the_weights_of_plain_keras(name):
    random = np.random.default_rng(0)
    images = random.uniform(size=(2, 6, *SHAPE)).astype("float32")
    labels = random.integers(0, 3, (2, 6))
    plain = plain_network(network(name))
    plain.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=logits_loss(), run_eagerly=True)
    ours = DREAL(network(name), critic="paper", actor_weight=0.0, instrument_fraction=0.0)
    ours.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=logits_loss(), run_eagerly=True)
    before = values(plain.variables)
    for batch in zip(images, labels, strict=True):
        theirs = plain.train_on_batch(*batch)
        own = ours.train_on_batch(*batch, return_dict=True)["loss"]
        plain.reset_metrics(), ours.reset_metrics()
        assert own == pytest.approx(float(theirs), rel=1e-5)
    for old, one, other in zip(
        before, values(plain.variables), values(ours.network.variables), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6 * max(1.0, np.abs(old).max()))
