"""What a search comes to: table, rows, figure, and the best recipe against the method left out."""

import csv
import io

from dreal_tf.experiments.tuning.directory import write_json
from dreal_tf.experiments.tuning.scores import Objective
from dreal_tf.experiments.tuning.trials import seconds_of
from dreal_tf.training.run_directory import write_whole

COLUMNS = ("trial", "status", "score", "best_epoch", "epochs", "seconds")


def results_of(folder, search, count, best):
    """All that a search has found.

    Args:
        folder: `SearchDirectory` whose runs have ended.
        search: `dreal_tf.experiments.tuning.Search`.
        count: int. How many trials were asked for.
        best: str, number of the best trial.
    Returns:
        Dict: `objective`, `direction`, `tuner`; `exhausted`, whether the space had no more to try;
        `trials`, a list of dicts as of `Trial.read`; `best`, `baseline` and `best_baseline` (None
        where no such run is needed), dicts with `score`, `best_epoch`, `epochs`, `seconds`,
        `validation_accuracy`, and the test split's `accuracy` and `loss`; of the best also `trial`,
        `values` and `recipe`, the path that replays it; `improvement`, by how much the best is better
        in `score` (validation) and `accuracy` (test) over `baseline` and over `best_baseline`.
    """
    objective = Objective(search.objective)
    left_out = ("curve", "recipe", "message")
    trials = [
        {name: value for name, value in trial.read().items() if name not in left_out}
        for trial in folder.ended_trials()
    ]
    chosen = next(trial for trial in trials if trial["trial"] == best)
    whole = _run(folder.best, objective)
    whole |= {"trial": best, "values": chosen["values"], "recipe": str(folder.best.recipe)}
    baselines = {"baseline": _run(folder.baseline, objective), "best_baseline": None}
    if folder.best_baseline.finished:
        baselines["best_baseline"] = _run(folder.best_baseline, objective)
    improvement = {
        name: {
            "score": objective.improvement(whole["score"], run["score"]),
            "accuracy": whole["accuracy"] - run["accuracy"],
        }
        for name, run in baselines.items()
        if run is not None
    }
    return {
        "objective": objective.name,
        "direction": objective.direction,
        "tuner": search.tuner,
        "exhausted": len(trials) < count,
        "trials": trials,
        "best": whole,
        **baselines,
        "improvement": improvement,
    }


def _run(run, objective):
    """A run that was trained to its end; its score is None where it does not log the objective."""
    metrics = run.read_metrics()
    curve = objective.curve(run.history)
    best_epoch, score = objective.best(curve)
    tested = {name: metrics[name] for name in ("validation_accuracy", "accuracy", "loss")}
    found = {"score": score, "best_epoch": best_epoch, "epochs": len(curve)}
    return found | {"seconds": seconds_of(run)} | tested


def write_results(folder, search, found):
    """Writes rows, table and figure, and last what says that the search is finished.

    Args:
        folder: `SearchDirectory`.
        search: `dreal_tf.experiments.tuning.Search`.
        found: dict, see `results_of`.
    """
    from dreal_tf.experiments.tuning.figure import search_figure

    write_whole(folder.rows, rows_text(found))
    write_whole(folder.table, "\n".join(table_lines(found, search.recipe.name)) + "\n")
    figure = search_figure(found, search.space)
    for path in (folder.figure, folder.figure.with_suffix(".svg")):
        figure.savefig(path, dpi=160)
    write_json(folder.results, found)


def rows_text(found):
    """The trials as the text of a CSV file, the recipe without the method first.

    Args:
        found: dict, see `results_of`.
    Returns:
        str.
    """
    paths = list(found["best"]["values"])
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *paths], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerow(found["baseline"] | {"trial": "baseline", "status": "completed"})
    for trial in found["trials"]:
        writer.writerow(trial | trial["values"])
    return text.getvalue()


def table_lines(found, name):
    """Two tables as Markdown: the best run against those without the method, and all trials.

    Args:
        found: dict, see `results_of`.
        name: str, of the recipe.
    Returns:
        List of str.
    """
    objective, best = found["objective"], found["best"]
    runs = [["run", objective, "test accuracy", "improvement", "on test"]]
    runs.append([f"best, trial {best['trial']}", said(best["score"]), said(best["accuracy"]), "", ""])
    titles = {"baseline": "without the method", "best_baseline": "best, without the method"}
    for run, title in titles.items():
        if found[run] is not None:
            better = found["improvement"][run]
            scores = said(found[run]["score"]), said(found[run]["accuracy"])
            runs.append([title, *scores, said(better["score"], "+"), said(better["accuracy"], "+")])
    paths = list(best["values"])
    trials = [["trial", objective, "epoch", "epochs", "seconds", *paths]]
    for trial in found["trials"]:
        score = said(trial["score"]) if trial["status"] == "completed" else trial["status"]
        moment = "-" if trial["best_epoch"] is None else str(trial["best_epoch"])
        row = [trial["trial"], score, moment, str(trial["epochs"]), f"{trial['seconds']:.0f}"]
        trials.append([*row, *(_value(trial["values"][path]) for path in paths)])
    count = len(found["trials"])
    top = max if found["direction"] == "max" else min
    scores = [trial["score"] for trial in found["trials"] if trial["score"] is not None]
    equal = scores.count(top(scores))
    shared = f" {equal} trials share the best score; the first of them counts." if equal > 1 else ""
    return [
        f"# {name}: {count} trials by {found['tuner']} search",
        "",
        *aligned(runs),
        "",
        f"Improvement: of the best over that row. In {objective} it is flattered, as the best of {count} "
        "was chosen by it; the test split was read once for each row, and chose nothing. One seed."
        + shared,
        "",
        *aligned(trials),
    ]


def aligned(cells):
    """Rows of text as a Markdown table that reads well as it is; the first is its head.

    Args:
        cells: list of lists of str.
    Returns:
        List of str.
    Example:
        >>> for line in aligned([["run", "score"], ["best", "0.5"]]):
        ...     print(line)
        | run  | score |
        |------|------:|
        | best |   0.5 |
    """
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    lines = []
    for row in cells:
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join([row[0].ljust(widths[0]), *rest])} |")
    lines.insert(1, f"|{'|'.join(rule)}|")
    return lines


def said(value, sign=""):
    """A number with four decimals.

    Args:
        value: float or None.
        sign: str: "+" to show the sign of what is above 0, too.
    Returns:
        str; "-" where there is none.
    Example:
        >>> said(0.25, "+"), said(None)
        ('+0.2500', '-')
    """
    return "-" if value is None else f"{value:{sign}.4f}"


def _value(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
