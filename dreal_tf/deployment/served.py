"""Networks as they are served: from bytes to probabilities and class names, or to embeddings."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.model.settings import ends_in_softmax
from dreal_tf.networks.backbones import embedding_network


class Served:
    """A plain network with the preparation of its images before it, and class names after it.

    Args:
        network: `keras.Model` from one tensor of images to logits, or to probabilities where it ends
            in a softmax, (batch, classes).
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing`, or None: the images are then normalised float32
            images, and the classes have no names.
    Attributes:
        network, preprocessing: the same.
        gives: str, the name of the output.
        image_shape: tuple (height, width, channels), as the network takes them.
    Raises:
        InputError: if the network has other inputs or outputs, or no image size is known.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8))
        >>> served = Served(network)
        >>> round(float(tf.reduce_sum(served.probabilities(tf.zeros((1, 8, 8, 1))))), 4)
        1.0
    """

    gives = "probabilities"

    def __init__(self, network, preprocessing=None):
        inputs = keras.tree.flatten(network.input)  # Keras 3.10 loads a network of one as a list.
        one_in = len(inputs) == 1 and len(inputs[0].shape) == 4
        one_out = isinstance(network.output, keras.KerasTensor) and len(network.output.shape) == 2
        if not (one_in and one_out):
            raise InputError(
                "Expected a network from one tensor of images to logits (batch, classes). Received: "
                f"{network.name!r}, from {_shapes(network.input)} to {_shapes(network.output)}. Give "
                "the plain network, such as DREAL.network; one of several inputs exports itself, by Keras's "
                "own `network.export(folder)`."
            )
        self.network = network
        self.preprocessing = preprocessing
        self.image_shape = tuple(inputs[0].shape[1:])
        if preprocessing is not None:
            self.image_shape = tuple(preprocessing.image_shape)
        if None in self.image_shape:
            raise InputError(
                "Expected a network of one image size, or data that says which. Received: "
                f"{network.name!r}, for images of {self.image_shape}, and no data. Give `data`."
            )
        self.softmax = tf.identity if ends_in_softmax(network) else tf.nn.softmax

    def probabilities(self, inputs):
        """Probabilities of normalised images.

        Args:
            inputs: float32 tensor (batch, *image_shape).
        Returns:
            Float32 tensor (batch, classes).
        """
        return self.softmax(tf.cast(self.network(inputs, training=False), tf.float32))

    def output(self, inputs):
        """The output that `gives` names, for normalised images, one row an image."""
        return self.probabilities(inputs)

    def of_pixels(self, images):
        """The output for images of bytes that have the network's size.

        Args:
            images: uint8 (or float32) tensor (batch, *image_shape), values from 0 to 255.
        """
        if self.preprocessing is None:
            return self.output(tf.cast(images, tf.float32))
        return self.output(self.preprocessing.normalised(images))

    def of_any_size(self, images):
        """The signature `serving_default`.

        Args:
            images: uint8 tensor (batch, height, width, channels), of any one height and width.
        Returns:
            Dict: `probabilities` (batch, classes), `class_index` (batch,) int32, and `class_name`
            (batch,) str, of the likeliest class.
        """
        probabilities = self.probabilities(self.preprocessing(images))
        likeliest = tf.argmax(probabilities, axis=1, output_type=tf.int32)
        names = tf.gather(tf.constant(self.preprocessing.class_names), likeliest)
        return {"probabilities": probabilities, "class_index": likeliest, "class_name": names}

    def raw(self, inputs):
        """The signature `raw`: a dict with the output for normalised images."""
        return {self.gives: self.output(inputs)}


class ServedEmbedding(Served):
    """A network with the preparation of its images before it, up to embeddings of unit length.

    Args:
        network: `keras.Model` of this package, from images to logits.
        preprocessing: see `Served`.
    Example:
        >>> served = ServedEmbedding(plain_network(residual_network((8, 8, 1), 10, depth=8)))
        >>> round(float(tf.norm(served.output(tf.ones((1, 8, 8, 1))))), 4)
        1.0
    """

    gives = "embedding"

    def __init__(self, network, preprocessing=None):
        super().__init__(embedding_network(network), preprocessing)

    def output(self, inputs):
        """Embeddings of normalised images.

        Args:
            inputs: float32 tensor (batch, *image_shape).
        Returns:
            Float32 tensor (batch, dimensions), rows of unit length.
        """
        return tf.cast(self.network(inputs, training=False), tf.float32)

    def of_any_size(self, images):
        """The signature `serving_default`: a dict with `embedding`.

        Args:
            images: uint8 tensor (batch, height, width, channels), of any one height and width.
        """
        return {self.gives: self.output(self.preprocessing(images))}


def _shapes(tensors):
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), tensors)
