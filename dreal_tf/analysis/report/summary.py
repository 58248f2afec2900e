"""What the run is, how often it is right, and what it costs, beside its baseline."""

import numpy as np

from dreal_tf.analysis.report.gathering import paired_difference
from dreal_tf.analysis.report.page import Fact, Section, written

CHANCE = 0.05  # P values below it are called a difference.
COSTS = (  # Name, key, form and unit; counts have no form.
    ("Training", "training_seconds", ",.0f", " s"),
    ("Parameters", "parameters", "", ""),
    ("Multiply-adds", "multiply_adds", "", ""),
    ("Time of an image", "milliseconds", ".2f", " ms"),
)


def summary_section(evidence):
    """The head of a report.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    found = headline(evidence)
    text = [described(evidence.ours.recipe, len(evidence.labels))]
    if evidence.asked is not None:
        queries = evidence.ours.ranking.scores["queries"]
        text.append(
            f"It learnt identities. What counts is how it ranks others, never trained on, for {queries:,} "
            "queries; accuracy is of images held out of the identities that it was trained on."
        )
    if evidence.baseline is not None:
        text.append(_compared(evidence, found["difference"]))
    return Section("summary", "Summary", tuple(text), facts=tuple(_facts(evidence, found)))


def headline(evidence):
    """The few numbers that stand first.

    Args:
        evidence: `Evidence`.
    Returns:
        Dict: `accuracy`, and with a baseline `baseline_accuracy` and `difference`, see
        `dreal_tf.analysis.report.gathering.paired_difference`; all on the whole test split.
    """
    right = [run.probabilities.argmax(axis=1) == evidence.labels for run in evidence.runs.values()]
    found = {"accuracy": float(np.mean(right[0]))}
    if evidence.baseline is not None:
        found |= {
            "baseline_accuracy": float(np.mean(right[1])),
            "difference": paired_difference(*right, evidence.seed),
        }
    return found


def described(recipe, test_images):
    """A run in a sentence or two.

    Args:
        recipe: `dreal_tf.Recipe`.
        test_images: int.
    Returns:
        Str.
    Example:
        >>> print(described(load_recipe("digits_resnet8_se"), 360))
        A ResNet-8 with se attention, trained for 20 epochs on digits (seed 0) with the method: a comparative critic, actor weight 0.1. It was judged by the 360 images of the test split.
    """
    method = "without the method"
    if recipe.dreal.enabled:
        weight = f"actor weight {recipe.dreal.actor_weight:g}"
        method = f"with the method: a {recipe.dreal.critic} critic, {weight}"
    epochs = recipe.schedule.epochs
    return (
        f"A ResNet-{recipe.backbone.depth} with {recipe.attention.kind} attention, trained for {epochs} "
        f"{'epoch' if epochs == 1 else 'epochs'} on {recipe.data.name} (seed {recipe.run.seed}) "
        f"{method}. It was judged by the {test_images:,} images of the test split."
    )


def _compared(evidence, found):
    baseline = evidence.baseline
    taught = ", which was trained with the method too" if baseline.recipe.dreal.enabled else ""
    verdict = "may well be chance" if found["p_value"] >= CHANCE else "is more than chance gives"
    return (
        f"The baseline is {baseline.path}{taught}. It answered the same images: "
        f"{found['only_this']:,} were right in this run alone, {found['only_other']:,} in the baseline "
        f"alone. The difference between these two networks {verdict} (McNemar, p = "
        f"{found['p_value']:.2g}). Two seeds of one recipe differ too, by how much a study shows: one run "
        "of each does not say which recipe is better."
    )


def _facts(evidence, found):
    ours, other = evidence.ours.cost, evidence.baseline and evidence.baseline.cost
    if evidence.asked is not None:
        for name, score in (("Rank-1", "rank_1"), ("mAP", "mAP")):
            of_run = {run: 100 * one.ranking.scores[score] for run, one in evidence.runs.items()}
            note = f"baseline {of_run['baseline']:.2f} %" if "baseline" in of_run else ""
            yield Fact(name, f"{of_run['this run']:.2f} %", note)
    yield Fact("Test accuracy", f"{100 * found['accuracy']:.2f} %", f"{len(evidence.labels):,} images")
    if other is not None:
        between = {name: 100 * found["difference"][name] for name in ("mean", "low", "high")}
        low, high = (written(between[end], "+.2f") for end in ("low", "high"))
        yield Fact("Baseline", f"{100 * found['baseline_accuracy']:.2f} %", "the same images")
        yield Fact("Difference (points)", written(between["mean"], "+.2f"), f"95 %: {low} to {high}")
    worth = {name: run.audit and run.audit["attention"]["mean"] for name, run in evidence.runs.items()}
    said = {name: f"{written(v['value'], '.3f')} nats" for name, v in worth.items() if v}
    beside = f"baseline {said['baseline']}" if "baseline" in said else "all modules by their mean"
    yield Fact("Attention is worth", said["this run"], beside)
    for said, name, form, unit in COSTS:
        if ours[name] is not None:
            beside = other is not None and other[name] is not None
            note = f"baseline {_shown(other[name], form)}{unit}" if beside else ""
            yield Fact(said, _shown(ours[name], form) + unit, note)


def _shown(value, form):
    """A count with the unit that leaves few digits; anything else by its form."""
    if form:
        return written(value, form)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return str(value)
