"""Calls of the public names, for mypy alone: it must see their types, and every mistake that is marked."""

from typing import assert_type

import dreal_tf
from dreal_tf.analysis.audit import Audit
from dreal_tf.analysis.audit_critic import CriticAudit
from dreal_tf.deployment.results import Predictions
from dreal_tf.training.evaluation import RunMetrics


def right_calls() -> None:
    metrics = dreal_tf.train("digits_resnet8_se", changes={"schedule.epochs": 2})
    assert_type(metrics, RunMetrics | None)
    assert_type(dreal_tf.evaluate("run").accuracy, float)
    assert_type(dreal_tf.predict("run", "photos"), Predictions)
    assert_type(dreal_tf.audit("run"), Audit)
    assert_type(dreal_tf.audit(critic="run"), CriticAudit)
    assert_type(dreal_tf.Recipe().schedule.epochs, int)
    dreal_tf.export(dreal_tf.attach(dreal_tf.residual_network((8, 8, 1), 10)), "served")


def mistakes() -> None:
    dreal_tf.train("digits_resnet8_se", sed=1)  # type: ignore[call-arg]
    dreal_tf.train(8)  # type: ignore[arg-type]
    dreal_tf.prune("run", keep="4")  # type: ignore[call-overload]
    dreal_tf.audit("run", critic="run")  # type: ignore[call-overload]
    dreal_tf.SqueezeExcite(reduction="16")  # type: ignore[arg-type]
    dreal_tf.residual_network((8, 8, 1), 10, depht=8)  # type: ignore[call-arg]
    print(dreal_tf.no_such_name)  # type: ignore[attr-defined]
