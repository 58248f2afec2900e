"""The weights that `keras.applications` has for ImageNet: which file, and where it is looked for."""

import os
from pathlib import Path

import keras

from dreal_tf.errors import InputError

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# MD5 sums as Keras 3.15.1 has them.
HASHES = {
    50: "2cb95161c43110f7111970584f804107",
    101: "f1aeb4b969a6efcfb50fad2f0c20cfc5",
    152: "100835be76be38e30d865e96f2aaae62",
}


def imagenet_file(depth, download=False):
    """The file with `keras.applications`' ImageNet weights of a residual network.

    Args:
        depth: int, 50, 101 or 152.
        download: bool. Fetch it where it is not there yet.
    Returns:
        Path.
    Raises:
        InputError: if there is none of that depth, or it is not there and not to be fetched.
    """
    if depth not in HASHES:
        raise InputError(
            f"Expected a depth that keras.applications has weights of, {', '.join(map(str, HASHES))}. "
            f"Received: depth={depth}. Choose one of these, or bring a file of weights of your own."
        )
    name = f"resnet{depth}_weights_tf_dim_ordering_tf_kernels.h5"
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    path, said = folder / name, "is not there"
    if path.is_file():
        return path
    if download:
        try:
            fetched = keras.utils.get_file(
                name, ADDRESS + name, cache_subdir="models", file_hash=HASHES[depth]
            )
            return Path(fetched)
        except Exception as error:  # Keras wraps whatever the network says in a bare Exception.
            said = f"could not be fetched ({str(error).splitlines()[0]})"
    raise InputError(
        f"Expected the ImageNet weights of ResNet-{depth} in {str(path)!r}. Received: the file {said}. "
        f"Fetch {ADDRESS + name} and put it there, or, where this machine may fetch it itself, set "
        "backbone.download=true. backbone.weights=FILE takes another file, backbone.weights=null none."
    )
