"""A trained network becomes a file that runs without this package."""

from dreal_tf.exporting.exporter import export
from dreal_tf.exporting.formats import FORMATS, PRECISIONS
from dreal_tf.exporting.outside import format_of
from dreal_tf.exporting.outside import load as load_export
from dreal_tf.exporting.run_export import export_run
from dreal_tf.exporting.served import Served, ServedEmbedding

__all__ = [
    "FORMATS",
    "PRECISIONS",
    "Served",
    "ServedEmbedding",
    "export",
    "export_run",
    "format_of",
    "load_export",
]
