"""An index of images by their embeddings, kept in a folder, and the search for nearest images in it."""

import io
from pathlib import Path

import numpy as np

from dreal_tf.data.preprocessing import Preprocessing
from dreal_tf.deployment.prediction import check_fit, load_network, predictor_of
from dreal_tf.deployment.results import IndexResult, Match, SearchResult
from dreal_tf.deployment.served import ServedEmbedding
from dreal_tf.errors import InputError, checked_path
from dreal_tf.retrieval import ApproximateIndex, nearest
from dreal_tf.storage import (
    SUMS,
    new_folder,
    read_json,
    read_kept,
    read_network,
    reading,
    sums_text,
    write_json,
    write_whole,
)
from dreal_tf.training.run_directory import checked_preprocessing

INDEX_AGAIN = "Build it again with `dreal-tf index`."
METRIC = "cosine"  # Euclidean distance gives the same order for embeddings of unit length.
NOTE, NETWORK, EMBEDDINGS, GRAPH = "index.json", "network.keras", "embeddings.npy", "graph.faiss"


def embed(embedder, paths, progress=iter):
    """The embeddings of images in files.

    Args:
        embedder: `dreal_tf.deployment.prediction.Predictor` that gives embeddings.
        paths, progress: see `dreal_tf.deployment.prediction.LooseImages`.
    Returns:
        List of str, their paths; float32 array (images, dimensions); and a dict from the path of each
        unreadable image to the reason.
    Raises:
        InputError: if a path does not exist, or no image can be read.
    """
    images = embedder.images(paths, progress)
    files, embeddings = [], []
    for names, batch in images:
        files += names
        embeddings.append(embedder.output(batch))
    return files, np.concatenate(embeddings), images.skipped


class ImageIndex:
    """An index in a folder: embeddings, paths of the images, and the network that embeds a query.

    Args:
        path: str or path that `build_index` wrote.
    Attributes:
        images: list of str, the paths of the indexed images, absolute.
        embeddings: float32 array (images, dimensions) of unit length; None in an approximate index,
            whose graph holds them.
    Raises:
        InputError: if there is no index, or its files do not fit each other.
    """

    def __init__(self, path):
        path = checked_path(path)
        note = path / NOTE
        if not note.is_file():
            raise InputError(
                f"Expected an index. Received: {str(path)!r}, which has no {NOTE}. Build one with "
                "`dreal-tf index RUN FOLDER --out INDEX`."
            )
        fields = {"images": list, "preprocessing": dict, "approximate": bool}
        properties = read_json(note, "an index of images", INDEX_AGAIN, fields)
        with reading(note, "an index of images", INDEX_AGAIN):
            preprocessing = Preprocessing(**checked_preprocessing(properties["preprocessing"]))
            self.images = properties["images"]
            if not all(isinstance(image, str) for image in self.images):
                raise ValueError("its images are not all paths")
        network = read_network(path / NETWORK, INDEX_AGAIN)
        check_fit(network, preprocessing, path)
        served = ServedEmbedding(network, preprocessing)
        self.embedder = predictor_of(served)
        self._graph = self.embeddings = None
        if properties["approximate"]:
            with reading(path / GRAPH, "the graph of an index", INDEX_AGAIN):
                read_kept(path / GRAPH)
            self._graph = ApproximateIndex.load(path / GRAPH, METRIC)
        else:
            with reading(path / EMBEDDINGS, "an index with one embedding for each image", INDEX_AGAIN):
                self.embeddings = np.load(io.BytesIO(read_kept(path / EMBEDDINGS)))
                _check_embeddings(self.embeddings, served.network.output_shape[-1])
        rows = len(self._graph if self.embeddings is None else self.embeddings)
        if rows != len(self.images):
            raise InputError(
                f"Expected an index with one embedding for each image. Received: {str(path)!r} with {rows} "
                f"embeddings of {len(self.images)} images. {INDEX_AGAIN}"
            )

    def search(self, queries, count=10, progress=iter):
        """The nearest images to each query.

        Args:
            queries: sequence of paths, of image files and folders.
            count: int >= 1. Images for each query; all of them if the index has fewer.
            progress: see `dreal_tf.deployment.prediction.LooseImages`.
        Returns:
            `dreal_tf.deployment.results.SearchResult`.
        Raises:
            InputError: if a path does not exist, or no query can be read.
        """
        files, embeddings, skipped = embed(self.embedder, queries, progress)
        if self._graph is not None:
            positions, distances = self._graph.nearest(embeddings, count)
        else:
            positions, distances = nearest(embeddings, self.embeddings, count, METRIC)
        matches = [
            Match(file, [(self.images[p], float(d)) for p, d in zip(*row, strict=True) if p >= 0])
            for file, *row in zip(files, positions, distances, strict=True)
        ]
        return SearchResult(matches, skipped)


def _check_embeddings(embeddings, width):
    """Embeddings of another network cannot be compared with a query's."""
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or embeddings.shape[1] != width:
        raise ValueError(f"it holds {embeddings.dtype} {embeddings.shape}, not float32 rows of {width}")
    lengths = np.linalg.norm(embeddings, axis=1)  # 0 if no feature of an image is active.
    if not np.all((np.abs(lengths - 1) < 1e-3) | (lengths == 0)):
        raise ValueError("a row is not of unit length")


def build_index(model, images, path, approximate=False, data=None, data_dir=None, progress=iter):
    """Embeds images and writes their index, which contains everything that a search needs.

    Args:
        model: str or path of a run or a `.keras` file of this package.
        images: sequence of paths, of image files and folders.
        path: str or path of a new folder.
        approximate: bool. Whether to keep a graph for approximate search (faiss) instead of the
            embeddings, for galleries of a million images and more.
        data, data_dir: see `dreal_tf.deployment.prediction.load_network`.
        progress: see `dreal_tf.deployment.prediction.LooseImages`.
    Returns:
        `dreal_tf.deployment.results.IndexResult`.
    Raises:
        InputError: if the folder exists, the network has no embedding, or as `load_network` and
            `embed`.
    """
    path = Path(path)
    with new_folder(path, "for the index") as folder:
        network, preprocessing = load_network(model, data, data_dir)
        embedder = predictor_of(ServedEmbedding(network, preprocessing))
        check_fit(network, preprocessing, model)
        files, embeddings, skipped = embed(embedder, images, progress)
        new = folder / "new"
        new.mkdir()
        network.save(new / NETWORK)
        if approximate:
            ApproximateIndex(embeddings, METRIC).save(new / GRAPH)
        else:
            np.save(new / EMBEDDINGS, embeddings)
        note = {
            "images": [str(Path(file).resolve()) for file in files],
            "approximate": approximate,
            "preprocessing": preprocessing._asdict(),
        }
        write_json(new / NOTE, note)
        write_whole(new / SUMS, sums_text(sorted(new.iterdir())))
    return IndexResult(path, len(files), embeddings.shape[1], skipped)
