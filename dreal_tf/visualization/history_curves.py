"""Quantities of the modules over training, as a run's history has them. Pure functions."""

import numpy as np

from dreal_tf.modules import stage_name

FEWEST = 3  # Points below which a correlation says nothing.


def course(rows, name):
    """One quantity over training.

    Args:
        rows: sequence of dicts, see `dreal_tf.training.callbacks.history_file.read_history`.
        name: str, a column such as "val_accuracy".
    Returns:
        Float array (epochs,), nan where an epoch lacks it; None where all do.
    Example:
        >>> course([{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.0}], "loss").tolist()
        [2.0, 1.0]
    """
    values = np.array([row.get(name, np.nan) for row in rows], float)
    return values if np.isfinite(values).any() else None


def module_courses(rows, quantity):
    """A quantity of every module over training.

    Args:
        rows: as of `course`.
        quantity: str, such as "reward" or "val_gain".
    Returns:
        Dict from module to float array (epochs,), in the order of the network's depth.
    Example:
        >>> rows = [{"epoch": 0, "reward/conv10_1/se": 0.5, "reward/conv9_1/se": 0.25, "loss": 1.0}]
        >>> {module: values.tolist() for module, values in module_courses(rows, "reward").items()}
        {'conv9_1/se': [0.25], 'conv10_1/se': [0.5]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    modules = [name.partition("/")[2] for name in names if name.startswith(f"{quantity}/")]
    courses = {module: course(rows, f"{quantity}/{module}") for module in sorted(modules, key=depth)}
    return {module: values for module, values in courses.items() if values is not None}


def depth(module):
    """A key that sorts modules by their place in the network: numbers as numbers.

    Logs are in the order of the alphabet, where conv10 comes before conv9.

    Example:
        >>> sorted(["conv10_1/se", "conv9_2/se"], key=depth)
        ['conv9_2/se', 'conv10_1/se']
    """
    place, _, suffix = module.partition("/")
    digits = "".join(c if c.isdigit() else " " for c in place).split()
    return place.rstrip("0123456789_"), *map(int, digits), suffix


def stage_correlations(critiques, rewards):
    """Whether critiques follow rewards: correlation over training, all modules of a stage together.

    Both mostly rise with the accuracy, so the correlation of their changes from epoch to epoch
    stands beside: it is what is left when the common rise is gone.

    Args:
        critiques, rewards: dicts from module to float array (epochs,).
    Returns:
        Dict from stage to dict: `points` (pairs of module and epoch), `correlation` and
        `of_changes` (Pearson's r, or None where there are fewer than three points or nothing varies).
    Example:
        >>> found = stage_correlations({"conv2_1/se": np.array([0.0, 1.0, 3.0, 4.0])},
        ...                            {"conv2_1/se": np.array([1.0, 2.0, 4.0, 5.0])})
        >>> found["conv2"]["points"], round(found["conv2"]["correlation"], 3)
        (4, 1.0)
    """
    found = {}
    both = [module for module in critiques if module in rewards]
    for stage in dict.fromkeys(stage_name(module) for module in both):
        here = [module for module in both if stage_name(module) == stage]
        levels = [np.concatenate([of[m] for m in here]) for of in (critiques, rewards)]
        changes = [np.concatenate([np.diff(of[m]) for m in here]) for of in (critiques, rewards)]
        found[stage] = {
            "points": int(np.isfinite(levels).all(axis=0).sum()),
            "correlation": _correlation(*levels),
            "of_changes": _correlation(*changes),
        }
    return found


def _correlation(one, other):
    there = np.isfinite(one) & np.isfinite(other)
    one, other = one[there], other[there]
    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])
