"""What `dreal-tf audit --critic` prints."""

from dreal_tf.cli.output import aligned

HEADINGS = (
    "module",
    "alignment [95 %]",
    "positive",
    "r2: all",
    "right",
    "held",
    "differences: reference",
    "permuted",
    "noise",
    "direction [95 %]",
)


def critic_lines(found):
    """What was measured as aligned lines, one a module.

    Args:
        found: dict, see `dreal_tf.auditing.critic.measure_critic`.
    Returns:
        List of str.
    Example:
        >>> interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
        >>> found = {"alignment": {"gate/se": interval | {"positive": 1.0}},
        ...     "r2": {"gate/se": {"all": 0.5, "right": None, "held": 0.25}},
        ...     "differences": {"gate/se": {"reference": 0.5, "permuted": 0.0, "noise": -1.0}},
        ...     "direction": {"gate/se": interval | {"along": 0.5, "random": 0.0}}}
        >>> critic_lines(found)[1].split()[:6]
        ['gate/se', '0.500', '[0.250,', '0.750]', '1.000', '0.500']
    """
    rows = [HEADINGS]
    for module, alignment in found["alignment"].items():
        r2, differences = found["r2"][module], found["differences"][module]
        numbers = [alignment["positive"], *r2.values(), *differences.values()]
        rows.append(
            [
                module,
                _interval(alignment, 3),
                *(_number(number, 3) for number in numbers),
                _interval(found["direction"][module], 4),
            ]
        )
    return aligned(rows)


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(found, digits):
    mean, low, high = (_number(found[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
