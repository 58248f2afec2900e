"""The run in numbers, beside its baseline: accuracy, cost, recipe and environment."""

import shlex

import numpy as np

from dreal_tf.analysis.audit import accuracy_difference
from dreal_tf.analysis.report.page import Column, Fact, ReportSection, Table, written
from dreal_tf.training.recipe import OtherBackbone

CHANCE = 0.05  # P values below it are called a difference.
COSTS = {  # By cost: its fact, with form and unit (counts have neither), and its column.
    "training_seconds": ("Training", ",.0f", " s", Column("training (s)", ",.1f")),
    "parameters": ("Parameters", "", "", Column("parameters", ",d")),
    "multiply_adds": ("Multiply-adds", "", "", Column("multiply-adds, one image", ",d")),
    "milliseconds": ("Time of an image", ".2f", " ms", Column("one image (ms)", ".3f")),
}


def summary_section(evidence):
    """The head of a report.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    numbers = headline(evidence)
    text = [described(evidence.ours.recipe, len(evidence.labels))]
    if method := evidence.ours.metrics.get("method"):  # Older runs have none.
        text.append(method["line"])
    if evidence.ours.embeddings is not None:
        queries = evidence.ours.embeddings.scores["queries"]
        text.append(
            f"It learnt identities. The scores measure how it ranks others, never trained on, for {queries:,} "
            "queries; accuracy is of images held out of the identities that it was trained on."
        )
    if evidence.baseline is not None:
        text.append(_compared(evidence.baseline, numbers["difference"]))
    facts = tuple(_facts(evidence, numbers))
    return ReportSection("summary", "Summary", tuple(text), facts=facts)


def headline(evidence):
    """The numbers at the top of a report, on the whole test split.

    Args:
        evidence: `Evidence`.
    Returns:
        Dict: `accuracy`, and with a baseline `baseline_accuracy` and `difference`, see
        `accuracy_difference`.
    """
    correct = [run.probabilities.argmax(axis=1) == evidence.labels for run in evidence.runs.values()]
    numbers = {"accuracy": float(np.mean(correct[0]))}
    if evidence.baseline is not None:
        numbers["baseline_accuracy"] = float(np.mean(correct[1]))
        numbers["difference"] = accuracy_difference(*correct, evidence.seed)
    return numbers


def described(recipe, test_images):
    """A run in a sentence or two.

    Args:
        recipe: `dreal_tf.Recipe`.
        test_images: int.
    Returns:
        Str.
    Example:
        >>> print(described(load_recipe("digits_resnet8_se"), 360))
        ResNet-8 with se attention, trained for 20 epochs on digits (seed 0) with the method: a comparative critic, actor weight 0.5. It was tested on the 360 images of the test split.
    """
    method = "without the method"
    if recipe.dreal.enabled:
        weight = f"actor weight {recipe.dreal.actor_weight:g}"
        method = f"with the method: a {recipe.dreal.critic} critic, {weight}"
    epochs, kind = recipe.schedule.epochs, recipe.attention.kind
    network, attention = recipe.backbone.name, "no" if kind == "none" else kind
    if not isinstance(recipe.backbone, OtherBackbone):
        network = f"ResNet-{recipe.backbone.depth}"
    elif kind != "none" and not recipe.attention.insert_after:
        attention = "its own"
    return (
        f"{network} with {attention} attention, trained for {epochs} "
        f"{'epoch' if epochs == 1 else 'epochs'} on {recipe.data.name} (seed {recipe.run.seed}) "
        f"{method}. It was tested on the {test_images:,} images of the test split."
    )


def _compared(baseline, difference):
    method = ", which was trained with the method too" if baseline.recipe.dreal.enabled else ""
    if not difference["only_this"] and not difference["only_other"]:
        return (
            f"The baseline is {baseline.path}{method}. Both predicted the same images, and got the same ones right: "
            "on these images the two networks cannot be told apart."
        )
    chance = "may well be chance" if difference["p_value"] >= CHANCE else "is more than chance gives"
    return (
        f"The baseline is {baseline.path}{method}. Both predicted the same images: this run alone got "
        f"{difference['only_this']:,} right, the baseline alone {difference['only_other']:,}. The difference "
        f"between these two networks {chance} (McNemar, p = {difference['p_value']:.2g}). Two seeds of one "
        "recipe differ too; a study shows by how much. One run of each does not show which recipe is better."
    )


def _facts(evidence, numbers):
    ours, baseline = evidence.ours, evidence.baseline
    if ours.embeddings is not None:
        for name, score in (("Rank-1", "rank_1"), ("mAP", "mAP")):
            scores = [f"{100 * run.embeddings.scores[score]:.2f} %" for run in evidence.runs.values()]
            yield Fact(name, scores[0], f"baseline {scores[1]}" if baseline else "")
    yield Fact(
        "Test accuracy", f"{100 * numbers['accuracy']:.2f} %", f"{len(evidence.labels):,} images"
    )
    if baseline is not None:
        points = {
            end: written(100 * numbers["difference"][end], "+.2f") for end in ("mean", "low", "high")
        }
        yield Fact("Baseline", f"{100 * numbers['baseline_accuracy']:.2f} %", "the same images")
        decided = numbers["difference"]["low"] > 0 or numbers["difference"]["high"] < 0
        interval = f"95 %: {points['low']} to {points['high']}"
        yield Fact(
            "Difference (points)", points["mean"], interval if decided else f"{interval}; undecided"
        )
    values = [
        f"{written(run.audit['attention']['mean']['value'], '.3f')} nats"
        for run in evidence.runs.values()
        if run.audit
    ]
    note = f"baseline {values[1]}" if values[1:] else "all modules by their mean"
    yield Fact("Value of attention", values[0], note)
    for cost, (name, form, unit, _) in COSTS.items():
        if ours.cost[cost] is not None:
            known = baseline is not None and baseline.cost[cost] is not None
            note = f"baseline {_shown(baseline.cost[cost], form)}{unit}" if known else ""
            yield Fact(name, _shown(ours.cost[cost], form) + unit, note)


def _shown(value, form):
    """A count with the unit that leaves few digits; anything else by its form."""
    if form:
        return written(value, form)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return str(value)


def cost_section(evidence):
    """The cost of training, and of the network.

    Args:
        evidence: `Evidence`.
    Returns:
        `ReportSection`.
    """
    columns = ["run", *(column for *_, column in COSTS.values())]
    rows = [(name, *(run.cost[cost] for cost in COSTS)) for name, run in evidence.runs.items()]
    text = [
        "Training seconds are those of the run, including the effect of other work on its machine. The time "
        "of an image was measured just now, on this machine, without reading or preparing it: the fastest of "
        "a hundred calls with one image"
        + (", the two networks in turn." if evidence.baseline else "."),
    ]
    if evidence.ours.recipe.dreal.enabled:
        text.append(
            "The critics are gone after training: the method adds nothing to the network's cost."
        )
    return ReportSection("cost", "Cost", tuple(text), tables=(Table("cost", columns, rows),))


def recipe_section(evidence):
    """The recipe, field by field.

    Args:
        evidence: `Evidence`.
    Returns:
        `ReportSection`.
    """
    recipes = {name: _fields(run.recipe) for name, run in evidence.runs.items()}
    ours, other = recipes["this run"], recipes.get("baseline")
    text = ["dreal-tf train recipe.json, with the file of the run directory, replays the run."]
    caption = "The whole recipe of this run."
    tables = [Table("recipe", ("field", "value"), list(ours.items()), caption, flowing=True)]
    if other is not None:
        differ = [path for path in ours if ours[path] != other[path] and path != "data.folder"]
        rows = [(path, ours[path], other[path]) for path in differ]
        columns, caption = ("field", "this run", "baseline"), "Where the two recipes differ."
        if rows:
            tables.insert(0, Table("recipe_differences", columns, rows, caption))
        else:
            text.append("The recipe of the baseline is the same.")
    return ReportSection("recipe", "Recipe", text, tables=tables)


def _fields(recipe):
    """Every field by its dotted path, as `--set` takes it."""
    fields = {"name": recipe.name}
    for section, of_section in recipe.model_dump(exclude={"name"}).items():
        fields |= {f"{section}.{field}": _text(value) for field, value in of_section.items()}
    return fields


def environment_section(evidence):
    """The machine and the versions of the run.

    Args:
        evidence: `Evidence`.
    Returns:
        `ReportSection`.
    """
    environments = {name: _environment(run.environment) for name, run in evidence.runs.items()}
    fields = list(dict.fromkeys(field for of_run in environments.values() for field in of_run))
    if not fields:
        text = ("The run directory holds no environment.json.",)
        return ReportSection("environment", "Environment", text, empty=True)
    columns = ["what", *environments]
    rows = [(field, *(of_run.get(field) for of_run in environments.values())) for field in fields]
    tables = (Table("environment", columns, rows),)
    return ReportSection(
        "environment", "Environment", ("As noted when training began.",), tables=tables
    )


def _environment(environment):
    rows = {n: _text(value) for n, value in environment.items() if n not in ("versions", "command")}
    rows |= environment.get("versions", {})
    if "command" in environment:
        rows["command"] = shlex.join(environment["command"])
    return rows


def _text(value):
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
