"""Tables of results, as pages show them: rows of studies in, lines of Markdown out."""

import statistics

from dreal_tf.experiments.studies.arms import OURS
from dreal_tf.experiments.studies.comparison import comparisons, paired_difference
from dreal_tf.experiments.studies.files import load_study, title_of
from dreal_tf.experiments.studies.table import aligned_lines, plain_lines, summary

# Arms of the overview, in its order, in a few words; `comparison_arms` says it in full.
OVERVIEW = {
    "no_attention": "the network without its attention",
    "longer": "half as many epochs again",
    "attention_rate_2": "attention learns twice as fast",
    "attention_rate_10": "attention learns ten times as fast",
    "comparative": "**the method**",
    "direct": "the true direction in the critic's place, obeyed in full",
    "paper": "the critic as one reads it in the paper, obeyed in full, at weight 0.1",
    "paper_pushed": "the same by the exact estimator, at the method's weight",
    "shuffled": "a critic taught by other images, heeded as far as it is trusted",
    "shuffled_pushed": "the same, obeyed in full",
}


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


def controls_lines(studies):
    """What the method gains over each of the other arms, seed by seed.

    Args:
        studies: dict from the name of a study of gain to its rows.
    Returns:
        List of str, Markdown; points of test accuracy with their 95 % interval and the exact sign-flip
        test's p.
    Example:
        >>> rows = [{"arm": arm, "seed": seed, "seconds": 1.0, "accuracy": value}
        ...     for arm, values in (("direct", (0.5, 0.5)), ("comparative", (0.75, 0.75)))
        ...     for seed, value in enumerate(values)]
        >>> controls_lines({"gain_cifar10_se": rows})[2]
        '| `direct` | +25.00 (+25.00 to +25.00), p = 0.500 |'
    """
    cells = [[f"`{OURS}` less", *(f"`{name}`" for name in studies)]]
    for control in OVERVIEW:
        found = [_accuracy_of_ours_less(control, rows) for rows in studies.values()]
        if control == OURS or not any(found):
            continue
        said = [_interval(less) + (f", p = {p}" if (p := _p(less)) else "") for less in found]
        cells.append([f"`{control}`", *said])
    return plain_lines(cells)


def _accuracy_of_ours_less(control, rows):
    """In points; None where the two have no seed in common."""
    two = [
        {n: row[n] for n in ("arm", "seed", "accuracy")}
        for row in rows
        if row["arm"] in (OURS, control)
    ]
    less = comparisons(two, control).get(OURS, {}).get("accuracy")
    return None if less is None else _scaled(less, 100)


def overview_lines(found):
    """All studies of gain in one table: what each arm adds to the baseline.

    Args:
        found: dict of dicts of `Difference`, see `gains`.
    Returns:
        List of str, Markdown; points of test accuracy with their 95 % interval.
    Example:
        >>> gained = {"comparative": paired_difference([2.0, 3.0], [1.0, 1.0])}
        >>> for line in overview_lines({"gain_cifar10_se": gained}):
        ...     print(line)
        | arm | what it is | `gain_cifar10_se`, 2 seeds |
        |---|---|---|
        | `comparative` | **the method** | +1.50 (-4.85 to +7.85) |
    """
    headings = ["arm", "what it is"]
    for name, of_arm in found.items():
        seeds = max((value.seeds for value in of_arm.values()), default=0)
        headings.append(f"`{name}`, {seeds} seeds")
    cells = [headings]
    for arm, said in OVERVIEW.items():
        gained = [_interval(of_arm.get(arm)) for of_arm in found.values()]
        if any(gained):
            cells.append([f"`{arm}`", said, *gained])
    return plain_lines(cells)


def results_lines(study, rows):
    """A study's rows as a table: each arm, and seed by seed what it gains over the one it is held to.

    Args:
        study: `Study` of "train", with `against`; `judged_on` says of which images.
        rows: sequence of dicts, see `dreal_tf.experiments.studies.rows`.
    Returns:
        List of str, Markdown: accuracy, of identities mAP, in percent, mean and standard deviation over
        seeds; paired differences of it, and on test images of cross entropy or rank-1, with their 95 %
        interval (Student's t) and the exact sign-flip test's p; the median of seconds of training.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True).replace(arms={"a": {}, "b": {}}, against="a")
        >>> rows = [{"arm": arm, "seed": s, "seconds": 9.0, "accuracy": v + 0.001 * s,
        ...     "training_seconds": 5.0} for arm, v in (("a", 0.5), ("b", 0.75)) for s in (0, 1)]
        >>> for line in results_lines(study, rows):
        ...     print(line)
        | arm | seeds | test accuracy |           points over `a` |     p | training |
        |-----|------:|--------------:|--------------------------:|------:|---------:|
        | `a` |     2 |  50.05 ± 0.07 |                           |       |      5 s |
        | `b` |     2 |  75.05 ± 0.07 | +25.00 (+25.00 to +25.00) | 0.500 |      5 s |
    """
    heading, quantity, compared = _judged_by(study, rows)
    cells = [["arm", "seeds", heading]]
    cells[0] += [part for *_, said in compared for part in (said, "p")] + ["training"]
    gains_of = comparisons(rows, study.against)
    for arm in study.arms:
        mine = [row for row in rows if row["arm"] == arm]
        if not mine:
            continue
        found = summary([100 * row[quantity] for row in mine])
        spread = "" if found.seeds == 1 else f" ± {found.deviation:.2f}"
        line = [f"`{arm}`", str(found.seeds), f"{found.mean:.2f}{spread}"]
        for name, unit, digits, _ in compared:
            gained = gains_of.get(arm, {}).get(name)
            gained = None if gained is None else _scaled(gained, unit)
            line += [_interval(gained, digits), _p(gained)]
        seconds = statistics.median(row["training_seconds"] for row in mine)
        cells.append([*line, f"{seconds:.0f} s"])
    return aligned_lines(cells)


def _judged_by(study, rows):
    """Heading and name of what a study is judged by, and what is compared: name, unit, digits, heading."""
    over = f"over `{study.against}`"
    if any("mAP" in row for row in rows):
        rank = ("rank_1", 100, 2, f"rank-1, points {over}")
        return "mAP", "mAP", [("mAP", 100, 2, f"points {over}"), rank]
    if study.judged_on == "validation":
        name = "validation_accuracy"
        return "validation accuracy", name, [(name, 100, 2, f"points {over}")]
    compared = [("accuracy", 100, 2, f"points {over}")]
    if any("cross_entropy" in row for row in rows):
        compared.append(("cross_entropy", 1, 3, f"cross entropy, nats {over}"))
    return "test accuracy", "accuracy", compared


def climb_lines(study, rows):
    """How the actor loss pushed in the last epoch, arm by arm.

    Args:
        study: `Study`.
        rows: sequence of dicts, see `dreal_tf.experiments.studies.rows`.
    Returns:
        List of str, Markdown: means over seeds and their 95 % intervals of `actor_grad_cosine`,
        `actor_grad_ratio` and the mean trust of the modules.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True)
        >>> row = {"arm": "direct", "seed": 0, "actor_grad_cosine": 1.0, "actor_grad_ratio": 8.0, "val_trust/a": 0.5}
        >>> climb_lines(study, [row])[2]
        '| `direct` | 1 | 1.00 | 8.00 | 0.50 |'
    """
    cells = [["arm", "seeds", "`actor_grad_cosine`", "`actor_grad_ratio`", "trust"]]
    for arm in study.arms:
        mine = [row for row in rows if row["arm"] == arm and "actor_grad_cosine" in row]
        if not mine:
            continue
        trusts = [[v for n, v in row.items() if n.startswith("val_trust/")] for row in mine]
        columns = [[row[name] for row in mine] for name in ("actor_grad_cosine", "actor_grad_ratio")]
        columns.append([sum(trust) / len(trust) for trust in trusts])
        line = [f"`{arm}`", str(len(mine))]
        for found in map(summary, columns):
            interval = "" if found.seeds == 1 else f" ({found.low:.2f} to {found.high:.2f})"
            line.append(f"{found.mean:.2f}{interval}")
        cells.append(line)
    return plain_lines(cells)


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
    over = ("accuracy, points over the start", "cross entropy, nats over the start")
    cells = [["study", "learns from", "networks", *over]]
    for name, rows in studies.items():
        study = load_study(name)
        for arm in study.arms:
            mine = [row for row in rows if row["arm"] == arm]
            if not mine:
                continue
            end, line = f"@{study.options_of(arm).steps}", [f"`{name}`", f"`{arm}`", str(len(mine))]
            for quantity, unit, digits in (("accuracy", 100, 2), ("log_p", -1, 3)):
                ends, starts = ([unit * row[quantity + at] for row in mine] for at in (end, "@start"))
                line.append(_interval(paired_difference(ends, starts), digits))
            cells.append(line)
    return plain_lines(cells)


def not_run_lines(names):
    """Studies that nobody has run yet.

    Args:
        names: iterable of str, of bundled studies.
    Returns:
        List of str, Markdown.
    Example:
        >>> not_run_lines(["gain_cifar10_srm"])[2][:66]
        '| `gain_cifar10_srm` | 11 × 8 | 10,000 images of CIFAR-10 at 16×16'
    """
    cells = [["study", "arms × seeds", "trained on"]]
    for name in names:
        study, asked = load_study(name), title_of(name).partition(": ")[2]
        cells.append([f"`{name}`", f"{len(study.arms)} × {len(study.seeds)}", asked.rstrip(".")])
    return plain_lines(cells)


def _scaled(found, unit):
    """A difference in another unit; its p value knows none."""
    return found._replace(mean=unit * found.mean, low=unit * found.low, high=unit * found.high)


def _interval(found, digits=2):
    if found is None:
        return ""
    interval = f" ({found.low:+.{digits}f} to {found.high:+.{digits}f})" if found.seeds > 1 else ""
    return f"{found.mean:+.{digits}f}{interval}"


def _p(found):
    return "" if found is None or found.seeds == 1 else f"{found.p_value:.3f}"
