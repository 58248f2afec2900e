"""Results: mappings with the keys of `--json`, typed attributes, and tables."""

import json
from pathlib import Path

import pytest

from dreal_tf.results import (
    AuditResult,
    CriticResult,
    ExportResult,
    Match,
    Prediction,
    Predictions,
    PruneResult,
    RunMetrics,
    SearchResult,
)


def test_a_result_is_the_mapping_that_json_holds():
    metrics = {"accuracy": 0.75, "loss": 0.5, "reward/conv2_1/se": 0.125}
    trained = RunMetrics(metrics, Path("runs/mine"))
    assert trained == metrics and dict(trained) == metrics and len(trained) == 3
    assert trained["loss"] == trained.loss == 0.5 and "gain/conv2_1/se" not in trained
    with pytest.raises(AttributeError):
        trained.run = Path("elsewhere")


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
    value = {"value": 0.5, "low": 0.25}
    audited = AuditResult({"modules": {"b/se": {"stage": "b", "mean": value, "static": value}}})
    rows = audited.to_pandas()
    assert rows["ablation"].tolist() == ["mean", "static"] and rows["low"].tolist() == [0.25] * 2
    parts = {"alignment": {"mean": 0.5}, "r2": {"all": None}, "differences": {"noise": -1.0}}
    parts["direction"] = {"mean": 0.125}
    table = CriticResult({part: {"b/se": numbers} for part, numbers in parts.items()}).to_pandas()
    assert table.loc["b/se", ("alignment", "mean")] == 0.5 and table.shape == (1, 4)
