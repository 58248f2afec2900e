"""Scores arrays in a folder, by us or by torchreid, and says what that took.

A file to be run by itself, `python ranking_worker.py FOLDER ours|reranked|torchreid`, as torchreid may
live in an environment without this package. The answer is a line of JSON on standard output.
"""

import importlib.util
import json
import sys
import time
import types
from pathlib import Path

SPLITS = ("query", "gallery")


def ours(arrays):
    """Scores by `dreal_tf.retrieval.score_embeddings`; see `main` for the arrays."""
    from dreal_tf.retrieval import Labels, score_embeddings

    labels = [Labels(arrays[split]["identities"], arrays[split]["cameras"]) for split in SPLITS]
    embeddings = [arrays[split]["embeddings"] for split in SPLITS]
    return score_embeddings(*embeddings, *labels).summary()


def reranked(arrays):
    """The same after k-reciprocal re-ranking."""
    from dreal_tf.retrieval import Labels, reranked_distances, score_distances

    labels = [Labels(arrays[split]["identities"], arrays[split]["cameras"]) for split in SPLITS]
    embeddings = [arrays[split]["embeddings"] for split in SPLITS]
    return score_distances(reranked_distances(*embeddings), *labels).summary()


def torchreid(arrays):
    """Scores by torchreid's distances and its evaluation."""
    import torch

    rank, distance = _torchreid_modules()
    query, gallery = (torch.from_numpy(arrays[split]["embeddings"]) for split in SPLITS)
    matrix = distance.compute_distance_matrix(query, gallery, "cosine").numpy()
    labels = [arrays[split][kind] for kind in ("identities", "cameras") for split in SPLITS]
    matching, precision = rank.evaluate_rank(matrix, *labels, max_rank=10)
    scores = {f"rank_{k}": float(matching[k - 1]) for k in (1, 5, 10)}
    return scores | {"mAP": float(precision), "cython": rank.IS_CYTHON_AVAI}


def _torchreid_modules():
    """Its ranking and distances alone: importing all of it wants torchvision and much else."""
    (home,) = importlib.util.find_spec("torchreid").submodule_search_locations
    for parts in (("torchreid",), ("torchreid", "reid")):  # The author's, and PyPI's.
        name, folder = ".".join(parts), Path(home, *parts[1:])
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
        if (folder / "metrics").is_dir():
            name = f"{name}.metrics"
            return (importlib.import_module(f"{name}.{part}") for part in ("rank", "distance"))
    raise ModuleNotFoundError("torchreid.metrics")


def peak_resident():
    """Peak resident memory of this process since it began, in MiB.

    `dreal_tf.analysis.benchmark` has the same lines: this file also runs without the package.
    """
    status = Path("/proc/self/status")
    if status.is_file():  # On Linux `resource` also counts the process that started this one.
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # Windows has none.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def main(folder, who):
    """Reads `<split>_<kind>.npy`, scores once, and prints scores, seconds and peak memory."""
    import numpy as np

    kinds = ("embeddings", "identities", "cameras")
    arrays = {s: {k: np.load(Path(folder, f"{s}_{k}.npy")) for k in kinds} for s in SPLITS}
    wall, processor = time.perf_counter(), time.process_time()
    scores = {"ours": ours, "reranked": reranked, "torchreid": torchreid}[who](arrays)
    costs = {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak": peak_resident(),
    }
    print(json.dumps({"scores": scores, **costs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
