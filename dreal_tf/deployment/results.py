"""Results of exports, predictions, searches and prunings: typed, and the mapping that `--json` prints.

`result["images"]` and `dict(result)` read that mapping; tables have `to_pandas()`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras
    import pandas as pd


class Result(Mapping[str, Any]):
    """A result; as a mapping it has the keys and values that its command prints with `--json`."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it: a dict of numbers, strings, lists and dicts."""

    def __getitem__(self, name: str) -> Any:
        return self.as_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())


@dataclass(frozen=True, eq=False, kw_only=True)
class ExportResult(Result):
    """An export beside its network, see `dreal_tf.export`.

    Attributes:
        out: Path of the exported folder.
        format, precision: str.
        images: int, compared images.
        largest_difference: float, of any probability or of any coordinate of an embedding.
        agreement: float, fraction of images with the same likeliest class, or the same nearest image.
        accuracy, network_accuracy: float, fractions, of the export and the network; None without labels.
        least_cosine: float, of an image's two embeddings; None for a network that gives probabilities.
        megabytes: float. milliseconds: float, median of one image.
        variables, multiply_adds: int.
        beside: dict of the last three figures of the other network, or None.
    """

    out: Path
    format: str
    precision: str
    images: int
    largest_difference: float
    least_cosine: float | None = None
    agreement: float
    accuracy: float | None = None
    network_accuracy: float | None = None
    megabytes: float
    milliseconds: float
    variables: int
    multiply_adds: int
    beside: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """All figures but `out` and those that are None, see `Result.as_dict`."""
        return {
            name: value for name, value in vars(self).items() if name != "out" and value is not None
        }


class Prediction(NamedTuple):
    """The predicted classes of one image.

    Attributes:
        image: str, its path.
        classes: list of pairs (class name, probability), likeliest first.
    """

    image: str
    classes: list[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class Predictions(Result):
    """Predictions for images in files, see `dreal_tf.predict`.

    Attributes:
        predictions: list of `Prediction`.
        skipped: dict from the path of each unreadable image to the reason.
    Example:
        >>> Predictions([Prediction("a.png", [("cat", 0.75)])], {}).to_pandas()["class"].tolist()
        ['cat']
    """

    predictions: list[Prediction]
    skipped: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Keys `predictions` and `skipped`, see `Result.as_dict`."""
        predictions = [
            {"image": image, "classes": [{"class": name, "probability": p} for name, p in classes]}
            for image, classes in self.predictions
        ]
        return {"predictions": predictions, "skipped": _skipped(self.skipped)}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each image and class: `image`, `class`, `probability`."""
        import pandas as pd

        rows = [(image, *named) for image, classes in self.predictions for named in classes]
        # Paths that are not UTF-8 do not fit into pandas's own strings.
        table = pd.DataFrame(rows, columns=["image", "class", "probability"], dtype=object)
        return table.astype({"probability": float})


@dataclass(frozen=True, eq=False)
class IndexResult(Result):
    """A new index of images, see `dreal_tf.index`.

    Attributes:
        index: Path of its folder.
        images: int, indexed images.
        dimensions: int, of an embedding.
        skipped: dict from the path of each unreadable image to the reason.
    """

    index: Path
    images: int
    dimensions: int
    skipped: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Every attribute by its name, see `Result.as_dict`."""
        return vars(self) | {"index": str(self.index), "skipped": _skipped(self.skipped)}


class Match(NamedTuple):
    """The nearest images to one query.

    Attributes:
        query: str, its path.
        images: list of pairs (path of an indexed image, cosine distance), nearest first.
    """

    query: str
    images: list[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class SearchResult(Result):
    """The nearest images to several queries, see `dreal_tf.search`.

    Attributes:
        queries: list of `Match`.
        skipped: dict from the path of each unreadable query to the reason.
    Example:
        >>> SearchResult([Match("a.png", [("b.png", 0.25)])], {}).to_pandas()["image"].tolist()
        ['b.png']
    """

    queries: list[Match]
    skipped: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Keys `queries` and `skipped`, see `Result.as_dict`."""
        queries = [
            {"query": query, "images": [{"image": image, "distance": d} for image, d in images]}
            for query, images in self.queries
        ]
        return {"queries": queries, "skipped": _skipped(self.skipped)}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each query and image: `query`, `rank` from 1, `image`, `distance`."""
        import pandas as pd

        rows = [
            (query, rank, *match)
            for query, images in self.queries
            for rank, match in enumerate(images, start=1)
        ]
        table = pd.DataFrame(rows, columns=["query", "rank", "image", "distance"], dtype=object)
        return table.astype({"rank": int, "distance": float})


@dataclass(frozen=True, eq=False)
class PruneResult(Result):
    """A pruned run beside the run that it comes from, see `dreal_tf.prune`.

    Attributes:
        run: str, path of the given run.
        threshold, keep, epochs: as given; `threshold` in nats.
        images: int, validation images that the modules were evaluated on.
        out: str, path of the new run; None if no module was removed.
        modules: dict by module, in depth order: `done` ("folded", "removed" or "kept"), `reason`, and
            `value`, `low`, `high` in nats.
        cost: dict: `value`, `low`, `high` and more of all removed modules together, in nats, before
            fine-tuning; None if no module was removed.
        before, after: dicts: `accuracy` and `cross_entropy` (nats) on the test split, `parameters`
            (trainable), `multiply_adds` and `milliseconds` for one image.
        difference: dict, how much more accurate the new run is on the same test images, see
            `dreal_tf.analysis.audit.accuracy_difference`; None if no module was removed.
    """

    run: str
    threshold: float
    keep: int | None
    epochs: int
    images: int
    out: str | None
    modules: dict[str, dict[str, Any]]
    cost: dict[str, Any] | None
    before: dict[str, Any]
    after: dict[str, Any]
    difference: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Every attribute by its name, see `Result.as_dict`."""
        return dict(vars(self))

    def to_pandas(self) -> pd.DataFrame:
        """A row for each module: `module`, `done`, `reason`, `value`, `low`, `high`."""
        return _table_of_modules(self.modules)


@dataclass(frozen=True, eq=False, kw_only=True)
class PrunedNetwork(Result):
    """A pruned copy of a network, see `dreal_tf.prune`.

    Attributes:
        network: `keras.Model` from images to the same output, not compiled; the given one if no module was
            removed.
        threshold, keep: as given; `threshold` in nats, or in the unit of the loss.
        images: int, images that the modules were evaluated on.
        modules, cost: see `PruneResult`.
        before, after: dicts: `loss` on these images, without regularisers, and `accuracy` where there are
            classes; `parameters` (trainable) and `multiply_adds` for one image.
        difference: dict, how much more accurate the copy is on these images, see
            `dreal_tf.analysis.audit.accuracy_difference`; None if no module was removed, or without classes.
            They chose the modules: measure on other images what the pruning costs.
    """

    network: keras.Model
    threshold: float
    keep: int | None
    images: int
    modules: dict[str, dict[str, Any]]
    cost: dict[str, Any] | None
    before: dict[str, Any]
    after: dict[str, Any]
    difference: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Every attribute but `network` by its name, see `Result.as_dict`."""
        return {name: value for name, value in vars(self).items() if name != "network"}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each module: `module`, `done`, `reason`, `value`, `low`, `high`."""
        return _table_of_modules(self.modules)


def _table_of_modules(modules: dict[str, dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame.from_dict(modules, orient="index").rename_axis("module").reset_index()


def _skipped(reasons: dict[str, str]) -> list[dict[str, str]]:
    return [{"image": path, "reason": reason} for path, reason in reasons.items()]
