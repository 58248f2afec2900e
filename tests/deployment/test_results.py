"""Results: mappings with the keys of `--json`, typed attributes, and tables."""

import json
from pathlib import Path

from dreal_tf.deployment.results import (
    ExportResult,
    Match,
    Prediction,
    Predictions,
    PruneResult,
    SearchResult,
)


def test_an_export_of_embeddings_has_no_accuracy():
    figures = {"format": "onnx", "precision": "float32", "images": 2, "largest_difference": 0.0}
    figures |= {"least_cosine": 1.0, "agreement": 1.0, "megabytes": 0.5, "milliseconds": 0.25}
    figures |= {"variables": 4, "multiply_adds": 8}
    exported = ExportResult(out=Path("served"), **figures)
    assert exported == figures and list(exported) == list(figures)
    assert exported.accuracy is None and exported.out == Path("served")


# A path that is not UTF-8, as the system gives it.
STRANGE = b"caf\xe9.png".decode("utf-8", "surrogateescape")


def test_predictions_and_matches_as_tables():
    predicted = Predictions([Prediction(STRANGE, [("cat", 0.75), ("dog", 0.25)])], {"b": "empty"})
    table = predicted.to_pandas()
    assert table["image"].tolist() == [STRANGE] * 2 and table["class"].tolist() == ["cat", "dog"]
    assert table["probability"].sum() == 1.0
    assert predicted["skipped"] == [{"image": "b", "reason": "empty"}]
    assert predicted["predictions"][0]["classes"][1] == {"class": "dog", "probability": 0.25}
    searched = SearchResult([Match("q", [("x", 0.0), ("y", 0.5)]), Match("r", [("x", 0.25)])], {})
    table = searched.to_pandas()
    assert table["rank"].tolist() == [1, 2, 1] and table["distance"].tolist() == [0.0, 0.5, 0.25]
    assert json.loads(json.dumps(searched.as_dict())) == searched


def test_a_row_for_each_module():
    decision = {"done": "kept", "reason": "known", "value": 0.5, "low": 0.25, "high": 0.75}
    pruned = PruneResult("a", 0.0, None, 0, 2, None, {"b/se": decision}, None, {}, {})
    assert pruned.to_pandas().to_dict("records") == [{"module": "b/se"} | decision]
    assert pruned["out"] is None and "keep" in pruned
