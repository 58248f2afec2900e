"""A folder of images by their embeddings, kept in files, in which the nearest to a query are found."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from dreal_tf.data import Preprocessing
from dreal_tf.deployment.prediction import LooseImages, load_network, predictor_of
from dreal_tf.deployment.served import ServedEmbedding
from dreal_tf.errors import InputError
from dreal_tf.retrieval import ApproximateIndex, nearest

METRIC = "cosine"  # Of unit-length embeddings, Euclidean distance gives the same order.
NOTE, NETWORK, EMBEDDINGS, GRAPH = "index.json", "network.keras", "embeddings.npy", "graph.faiss"


class Found(NamedTuple):
    """What lies nearest to a query.

    Attributes:
        query: str, its path.
        images: list of pairs (path of an indexed image, cosine distance), nearest first.
    """

    query: str
    images: list


def embeddings_of(embedder, paths, seen=iter):
    """The embeddings of images in files.

    Args:
        embedder: `dreal_tf.deployment.prediction.Predictor` that answers with embeddings.
        paths, seen: see `dreal_tf.deployment.prediction.predict`.
    Returns:
        List of str, their paths; float32 array (images, dimensions); and a dict from the path of each
        image that cannot be read to why.
    Raises:
        InputError: if a path does not exist, or no image can be read.
    """
    images = LooseImages(paths, embedder.prepared, embedder.preprocessing.image_shape[-1], seen)
    files, parts = [], []
    for names, batch in images:
        files += names
        parts.append(embedder.answer(batch))
    return files, np.concatenate(parts), images.broken


class ImageIndex:
    """An index in a folder: embeddings, paths of the images, and the network that embeds a query.

    Args:
        path: str or path that `build_index` wrote.
    Attributes:
        images: list of str, the paths of the indexed images, absolute.
        embeddings: float32 array (images, dimensions) of unit length; None in an approximate index,
            which keeps its own.
    Raises:
        InputError: if there is no index, or its files do not fit each other.
    """

    def __init__(self, path):
        path = Path(path)
        note = path / NOTE
        if not note.is_file():
            raise InputError(
                f"Expected an index. Received: {str(path)!r}, which has no {NOTE}. Build one with "
                "`dreal-tf index RUN FOLDER --out INDEX`."
            )
        kept = json.loads(note.read_text(encoding="utf-8"))
        self.images = kept["images"]
        network = keras.saving.load_model(path / NETWORK)
        preprocessing = Preprocessing(**kept["preprocessing"])
        self.embedder = predictor_of(ServedEmbedding(network, preprocessing))
        graph = path / GRAPH
        self._graph = ApproximateIndex.load(graph, METRIC) if kept["approximate"] else None
        self.embeddings = _loaded(path / EMBEDDINGS) if self._graph is None else None
        rows = len(self.embeddings if self._graph is None else self._graph)
        if rows != len(self.images):
            raise _damaged(path, f"{rows} embeddings of {len(self.images)} images")

    def search(self, queries, count=10, seen=iter):
        """The nearest images to each query.

        Args:
            queries: sequence of paths, of image files and folders.
            count: int >= 1. Images for each; all there are where the index has fewer.
            seen: see `dreal_tf.deployment.prediction.predict`.
        Returns:
            List of `Found`; and a dict from the path of each query that cannot be read to why.
        Raises:
            InputError: if a path does not exist, or no query can be read.
        """
        files, embeddings, broken = embeddings_of(self.embedder, queries, seen)
        if self._graph is not None:
            neighbours = self._graph.nearest(embeddings, count)
        else:
            neighbours = nearest(embeddings, self.embeddings, count, METRIC)
        found = [
            Found(file, [(self.images[p], float(d)) for p, d in zip(*row, strict=True) if p >= 0])
            for file, *row in zip(files, *neighbours, strict=True)
        ]
        return found, broken


def _loaded(file):
    try:
        return np.load(file)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(file.parent, f"{file.name}, which cannot be read ({error})") from error


def _damaged(path, received):
    return InputError(
        f"Expected an index with one embedding for each image. Received: {str(path)!r} with {received}. "
        "Build it again with `dreal-tf index`."
    )


def build_index(model, images, path, approximate=False, data=None, data_dir=None, seen=iter):
    """Embeds images and writes the index of them; everything that a search needs goes into it.

    Args:
        model: str or path of a run or a `.keras` file of this package.
        images: sequence of paths, of image files and folders.
        path: str or path of the index, a folder that is made.
        approximate: bool. Whether to keep a graph for approximate search (faiss) in place of the
            embeddings, for galleries of a million images and more.
        data, data_dir: see `dreal_tf.deployment.prediction.load_network`.
        seen: see `dreal_tf.deployment.prediction.predict`.
    Returns:
        Dict: `images` (how many), `dimensions`, and `skipped`, from the path of each image that cannot
        be read to why.
    Raises:
        InputError: if the folder exists, the network has no embedding, or as `load_network` and
            `embeddings_of`.
    """
    path = Path(path)
    if path.exists():
        raise InputError(
            f"Expected a new folder for the index. Received: {str(path)!r}, which exists. Choose "
            "another --out, or remove it."
        )
    network, preprocessing = load_network(model, data, data_dir)
    embedder = predictor_of(ServedEmbedding(network, preprocessing))
    files, embeddings, broken = embeddings_of(embedder, images, seen)
    graph = ApproximateIndex(embeddings, METRIC) if approximate else None
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    network.save(partial / NETWORK)
    if graph:
        graph.save(partial / GRAPH)
    else:
        np.save(partial / EMBEDDINGS, embeddings)
    note = {
        "images": [str(Path(file).resolve()) for file in files],
        "approximate": approximate,
        "preprocessing": preprocessing._asdict(),
    }
    (partial / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    partial.rename(path)  # An index is there whole or not at all.
    return {"images": len(files), "dimensions": embeddings.shape[1], "skipped": broken}
