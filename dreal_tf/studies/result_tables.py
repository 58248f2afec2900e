"""Tables of results, as pages show them: rows of studies in, lines of Markdown out."""

from dreal_tf.studies.comparison import comparisons, paired_difference
from dreal_tf.studies.files import load_study
from dreal_tf.studies.table import summary

# Arms of the overview, in its order.
OVERVIEW = (
    "longer",
    "attention_rate_2",
    "attention_rate_10",
    "comparative",
    "paper",
    "direct",
    "shuffled",
)


def gains(studies):
    """What each arm of each study gains over the baseline, seed by seed.

    Args:
        studies: dict from the name of a study of gain to its rows.
    Returns:
        Dict by study of dicts by arm of `Difference`, of test accuracy in points.
    Example:
        >>> rows = [{"arm": arm, "seed": 0, "seconds": 1.0, "accuracy": value}
        ...     for arm, value in (("baseline", 0.5), ("comparative", 0.75))]
        >>> gains({"gain_cifar10_se": rows})["gain_cifar10_se"]["comparative"].mean
        25.0
    """
    return {
        name: {
            arm: _scaled(quantities["accuracy"], 100)
            for arm, quantities in comparisons(rows, load_study(name).against).items()
            if "accuracy" in quantities
        }
        for name, rows in studies.items()
    }


def overview_lines(found):
    """All studies of gain in one table: what attention is worth, and what each arm adds.

    Args:
        found: dict of dicts of `Difference`, see `gains`.
    Returns:
        List of str, Markdown; points of test accuracy with their 95 % interval, and in brackets the
        exact sign-flip test's p of the arm `comparative`.
    Example:
        >>> gained = {"comparative": paired_difference([2.0, 3.0], [1.0, 1.0])}
        >>> overview_lines({"gain_cifar10_se": gained})[2][:44]
        '| `gain_cifar10_se` | 2 |  |  |  |  | +1.50 '
    """
    arms = ("attention itself", *(f"`{arm}`" for arm in OVERVIEW))
    lines = [f"| study | seeds | {' | '.join(arms)} |", "|" + "---|" * (2 + len(arms))]
    for name, of_arm in found.items():
        without = of_arm.get("no_attention")
        worth = "" if without is None else _said(-without.mean, -without.high, -without.low)
        cells = [worth, *(_interval(of_arm.get(arm)) for arm in OVERVIEW)]
        seeds = max((value.seeds for value in of_arm.values()), default=1)
        lines.append(f"| `{name}` | {seeds} | {' | '.join(cells)} |")
    return lines


def results_lines(study, rows, validated=False):
    """A study's rows as a table: each arm, and seed by seed what it gains over the one it is held to.

    Args:
        study: `Study` with `against`.
        rows: sequence of dicts, see `dreal_tf.studies.rows`.
        validated: bool. Judged on validation images, of the best epoch; otherwise on test images.
    Returns:
        List of str, Markdown: accuracy in percent, mean and standard deviation over seeds; paired
        differences of accuracy, and on test images of cross entropy, with their 95 % interval
        (Student's t) and the exact sign-flip test's p; the median of seconds of training.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True).replace(arms={"a": {}, "b": {}}, against="a")
        >>> rows = [{"arm": arm, "seed": s, "seconds": 9.0, "accuracy": v + 0.001 * s,
        ...     "training_seconds": 5.0} for arm, v in (("a", 0.5), ("b", 0.75)) for s in (0, 1)]
        >>> for line in results_lines(study, rows)[2:]:
        ...     print(line)
        | `a` | 2 | 50.05 ± 0.07 |  |  |  |  | 5 s |
        | `b` | 2 | 75.05 ± 0.07 | +25.00 (+25.00 to +25.00) | 0.500 |  |  | 5 s |
    """
    said, quantity = ("validation", "validation_accuracy") if validated else ("test", "accuracy")
    compared = [(quantity, 100, 2, "points over the baseline")]
    if not validated:
        compared.append(("cross_entropy", 1, 3, "cross entropy, nats over the baseline"))
    headings = ["arm", "seeds", f"{said} accuracy"]
    headings += [part for *_, heading in compared for part in (heading, "p")] + ["training"]
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    gains_of = comparisons(rows, study.against)
    for arm in study.arms:
        mine = [row for row in rows if row["arm"] == arm]
        if not mine:
            continue
        found = summary([100 * row[quantity] for row in mine])
        spread = "" if found.seeds == 1 else f" ± {found.deviation:.2f}"
        cells = [f"`{arm}`", str(found.seeds), f"{found.mean:.2f}{spread}"]
        for name, unit, digits, _ in compared:
            gained = gains_of.get(arm, {}).get(name)
            gained = None if gained is None else _scaled(gained, unit)
            p = "" if gained is None or gained.seeds == 1 else f"{gained.p_value:.3f}"
            cells += [_interval(gained, digits), p]
        seconds = sorted(row["training_seconds"] for row in mine)[len(mine) // 2]
        lines.append(f"| {' | '.join([*cells, f'{seconds:.0f} s'])} |")
    return lines


def climb_lines(study, rows):
    """How the actor loss pushed in the last epoch, arm by arm.

    Args:
        study: `Study`.
        rows: sequence of dicts, see `dreal_tf.studies.rows`.
    Returns:
        List of str, Markdown: means over seeds and their 95 % intervals of `climb_cosine`,
        `climb_ratio` and the mean trust of the modules.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True)
        >>> row = {"arm": "direct", "seed": 0, "climb_cosine": 1.0, "climb_ratio": 8.0, "val_trust/a": 0.5}
        >>> climb_lines(study, [row])[2]
        '| `direct` | 1 | 1.00 | 8.00 | 0.50 |'
    """
    lines = ["| arm | seeds | `climb_cosine` | `climb_ratio` | trust |", "|---|---|---|---|---|"]
    for arm in study.arms:
        mine = [row for row in rows if row["arm"] == arm and "climb_cosine" in row]
        if not mine:
            continue
        trusts = [[v for n, v in row.items() if n.startswith("val_trust/")] for row in mine]
        columns = [[row[name] for row in mine] for name in ("climb_cosine", "climb_ratio")]
        columns.append([sum(trust) / len(trust) for trust in trusts])
        cells = []
        for found in map(summary, columns):
            interval = "" if found.seeds == 1 else f" ({found.low:.2f} to {found.high:.2f})"
            cells.append(f"{found.mean:.2f}{interval}")
        lines.append(f"| `{arm}` | {len(mine)} | {' | '.join(cells)} |")
    return lines


def headroom_lines(studies):
    """What attention gains that climbs the true direction from where it was trained.

    Args:
        studies: dict from the name of a study of headroom to its rows.
    Returns:
        List of str, Markdown: points of test accuracy and nats of cross entropy over the trained
        network, means over networks and their 95 % intervals.
    Example:
        >>> row = {"arm": "seen", "seed": 0, "seconds": 1.0, "accuracy@start": 0.5, "log_p@start": -1.0}
        >>> row |= {"accuracy@500": 0.75, "log_p@500": -0.5}
        >>> headroom_lines({"headroom_cifar10_se": [row]})[2]
        '| `headroom_cifar10_se` | `seen` | 1 | +25.00 | -0.500 |'
    """
    lines = [
        "| study | learns from | networks | accuracy, points over the start | cross entropy, nats over the start |"
    ]
    lines.append("|---|---|---|---|---|")
    for name, rows in studies.items():
        study = load_study(name)
        for arm in study.arms:
            mine = [row for row in rows if row["arm"] == arm]
            if not mine:
                continue
            end, cells = f"@{study.options_of(arm).steps}", []
            for quantity, unit, digits in (("accuracy", 100, 2), ("log_p", -1, 3)):
                ends, starts = ([unit * row[quantity + at] for row in mine] for at in (end, "@start"))
                cells.append(_interval(paired_difference(ends, starts), digits))
            lines.append(f"| `{name}` | `{arm}` | {len(mine)} | {' | '.join(cells)} |")
    return lines


def _scaled(found, unit):
    """A difference in another unit; its p value knows none."""
    return found._replace(mean=unit * found.mean, low=unit * found.low, high=unit * found.high)


def _interval(found, digits=2):
    if found is None:
        return ""
    return _said(found.mean, *((found.low, found.high) if found.seeds > 1 else ()), digits=digits)


def _said(mean, low=None, high=None, digits=2):
    interval = "" if low is None else f" ({low:+.{digits}f} to {high:+.{digits}f})"
    return f"{mean:+.{digits}f}{interval}"
