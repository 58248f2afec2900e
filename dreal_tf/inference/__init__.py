"""Trained networks at work on images in files: their predictions, and search by their embeddings."""

from dreal_tf.inference.image_index import Found, ImageIndex, build_index
from dreal_tf.inference.network_files import load_network
from dreal_tf.inference.prediction import Prediction, Predictor, load_predictor, predict

__all__ = [
    "Found",
    "ImageIndex",
    "Prediction",
    "Predictor",
    "build_index",
    "load_network",
    "load_predictor",
    "predict",
]
