"""ImageNet weights of `keras.applications`: file names, local folder and download."""

import os
from pathlib import Path

import keras

from dreal_tf.errors import InputError

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# MD5 sums of the files, from Keras 3.15.1.
HASHES = {
    50: "2cb95161c43110f7111970584f804107",
    101: "f1aeb4b969a6efcfb50fad2f0c20cfc5",
    152: "100835be76be38e30d865e96f2aaae62",
}


def imagenet_file(depth, download=False):
    """The file of `keras.applications`' ImageNet weights for a residual network.

    Args:
        depth: int, 50, 101 or 152.
        download: bool. Whether to download the file if it is missing.
    Returns:
        Path.
    Raises:
        InputError: if no weights of that depth exist, or the file is missing and was not downloaded.
    """
    if depth not in HASHES:
        raise InputError(
            f"Expected a depth that keras.applications has weights of, {', '.join(map(str, HASHES))}. "
            f"Received: depth={depth}. Choose one of these, or bring a file of weights of your own."
        )
    name = f"resnet{depth}_weights_tf_dim_ordering_tf_kernels.h5"
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    path, problem = folder / name, "is not there"
    if path.is_file():
        return path
    if download:
        try:
            downloaded = keras.utils.get_file(
                name, ADDRESS + name, cache_subdir="models", file_hash=HASHES[depth]
            )
            return Path(downloaded)
        except Exception as error:  # Keras raises a bare Exception for every network error.
            problem = f"could not be downloaded ({str(error).splitlines()[0]})"
    raise InputError(
        f"Expected the ImageNet weights of ResNet-{depth} in {str(path)!r}. Received: the file "
        f"{problem}. Fetch {ADDRESS + name} and put it there, or set backbone.download=true to "
        "download it. backbone.weights=FILE takes another file, backbone.weights=null none."
    )
