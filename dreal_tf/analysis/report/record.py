"""The recipe, the cost and the environment of a run."""

import shlex

from dreal_tf.analysis.report.page import Column, Section, Table

COSTS = {
    "training_seconds": Column("training (s)", ",.1f"),
    "parameters": Column("parameters", ",d"),
    "multiply_adds": Column("multiply-adds, one image", ",d"),
    "milliseconds": Column("one image (ms)", ".3f"),
}


def cost_section(evidence):
    """What training took, and what the network costs.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    columns = [Column("run"), *COSTS.values()]
    rows = [(name, *(run.cost[what] for what in COSTS)) for name, run in evidence.runs.items()]
    text = [
        "Training seconds are those of the run, with whatever else its machine did. The time of an "
        "image was taken just now, on this machine, without reading or preparing it: the fastest of a "
        "hundred calls with one image" + (", the two networks in turn." if evidence.baseline else "."),
        "The critics are gone after training: the method adds nothing to what the network costs.",
    ]
    if not evidence.ours.recipe.dreal.enabled:
        text.pop()
    return Section("cost", "Cost", tuple(text), tables=(Table("cost", columns, rows),))


def recipe_section(evidence):
    """What was asked for, field by field.

    Args:
        evidence: `Evidence`.
    Returns:
        `Section`.
    """
    recipes = {name: _flat(run.recipe) for name, run in evidence.runs.items()}
    ours, other = recipes["this run"], recipes.get("baseline")
    text = ("dreal-tf train recipe.json, with the file of the run directory, replays the run.",)
    tables = []
    if other is not None:
        differ = [path for path in ours if ours[path] != other[path] and path != "data.folder"]
        rows = [(path, ours[path], other[path]) for path in differ]
        if rows:
            columns = [Column("field"), Column("this run"), Column("baseline")]
            tables.append(Table("recipe_differences", columns, rows, "Where the two recipes differ."))
        else:
            text += ("The recipe of the baseline is the same.",)
    columns = [Column("field"), Column("value")]
    caption = "The whole recipe of this run."
    tables.append(Table("recipe", columns, list(ours.items()), caption, flowing=True))
    return Section("recipe", "Recipe", text, tables=tuple(tables))


def environment_section(evidence):
    """What the run was carried out with.

    Args:
        evidence: `Evidence`.
    Returns:
        `Section`.
    """
    stored = {name: _environment(run.environment) for name, run in evidence.runs.items()}
    fields = list(dict.fromkeys(field for found in stored.values() for field in found))
    columns = [Column("what"), *map(Column, stored)]
    rows = [(field, *(found.get(field) for found in stored.values())) for field in fields]
    text = ("As noted when the training began.",)
    if not fields:
        text = ("The run directory holds no environment.json.",)
    tables = (Table("environment", columns, rows),) if rows else ()
    return Section("environment", "Environment", text, tables=tables, left_out=not fields)


def _flat(recipe):
    """Every field by its dotted path, as `--set` would be given it."""
    flat = {"name": recipe.name}
    for section, fields in recipe.model_dump(exclude={"name"}).items():
        flat |= {f"{section}.{field}": _said(value) for field, value in fields.items()}
    return flat


def _said(value):
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _environment(found):
    rows = {name: _said(value) for name, value in found.items() if name not in ("versions", "command")}
    rows |= found.get("versions", {})
    if "command" in found:
        rows["command"] = shlex.join(found["command"])
    return rows
