"""Data sets as tf.data: what a recipe's `data.name` stands for, and a user's own arrays."""

from functools import partial

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import KNOWN_SETS, known_set
from dreal_tf.data.decoding import UnreadableImage, decoded, inspect_image, unreadable
from dreal_tf.data.digits import digits
from dreal_tf.data.examples import draw_examples, drawn_batches
from dreal_tf.data.fashion_mnist import fashion_mnist
from dreal_tf.data.folder import image_folder
from dreal_tf.data.generated import generated, generated_like
from dreal_tf.data.identities import RetrievalSet, identity_set
from dreal_tf.data.identity_layouts import LAYOUTS
from dreal_tf.data.identity_sampler import IdentitySampler
from dreal_tf.data.image_files import opening_problem
from dreal_tf.data.listing import list_files, summary_of
from dreal_tf.data.options import Options
from dreal_tf.data.pipeline import worker_share
from dreal_tf.data.prepared import prepared_data_set
from dreal_tf.data.preprocessing import Preprocessing
from dreal_tf.data.splits import EpochClock, Splits

# The key is what a recipe calls `data.name`. Any other is a set of TensorFlow Datasets.
DATA_SETS = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "folder": image_folder,
    "generated": generated,
    **{name: partial(identity_set, name) for name in LAYOUTS},
}

__all__ = [
    "DATA_SETS",
    "KNOWN_SETS",
    "LAYOUTS",
    "EpochClock",
    "IdentitySampler",
    "Options",
    "Preprocessing",
    "RetrievalSet",
    "Splits",
    "UnreadableImage",
    "decoded",
    "digits",
    "draw_examples",
    "drawn_batches",
    "fashion_mnist",
    "from_arrays",
    "generated",
    "generated_like",
    "identity_set",
    "image_folder",
    "inspect_image",
    "known_set",
    "list_files",
    "opening_problem",
    "prepared_data_set",
    "summary_of",
    "unreadable",
    "worker_share",
]
