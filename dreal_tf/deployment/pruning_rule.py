"""The rule that decides which modules a pruning removes. Light."""

from typing import NamedTuple


class Rule(NamedTuple):
    """The rule that chooses the modules to remove.

    A module earns nothing unless its value is known to exceed the threshold: unless the interval of
    log p(A) - log p(Ā), Ā its static action, lies above it. The interval's high end bounds the possible
    loss; more images lower it.

    Attributes:
        threshold: float. The value above which a module stays (nats).
        keep: int, or None. How many modules stay, those of greatest value, whatever the threshold.
        unit: str, of values: "nats", or "of the loss" where the loss is no log likelihood.
    """

    threshold: float = 0.0
    keep: int | None = None
    unit: str = "nats"

    def objection(self, value):
        """The reason not to remove something of this value, or None; never one if `keep` is given.

        Args:
            value: dict of `value`, `low` and `high` (nats).
        Example:
            >>> Rule().objection({"value": 0.2, "low": 0.1, "high": 0.3})
            'known to be worth more than 0 nats'
        """
        if self.keep is not None or value["low"] <= self.threshold:
            return None
        return f"known to be worth more than {self.threshold:g} {self.unit}"


def chosen_actors(actors, values, rule):
    """The actors whose modules earn nothing by themselves; an actor of several modules is not split.

    Args:
        actors: dict of tuples of str: the modules of each actor, by its name.
        values: dict by module of dicts of `value`, `low` and `high` (nats).
        rule: `Rule`.
    Returns:
        List of str, the actors to remove; and a dict by module of the reasons why the others stay.
    Example:
        >>> actors = {"b_cbam": ("b/cbam_channel", "b/cbam_spatial")}
        >>> values = {"b/cbam_channel": {"value": 0.0, "low": 0.0, "high": 0.0},
        ...           "b/cbam_spatial": {"value": 0.5, "low": 0.4, "high": 0.6}}
        >>> chosen_actors(actors, values, Rule())[1]["b/cbam_channel"]
        'earns nothing, but its layer goes whole or not at all, and b/cbam_spatial stays'
    """
    if rule.keep is None:
        kept = {module: rule.objection(value) for module, value in values.items()}
        kept = {module: reason for module, reason in kept.items() if reason}
    else:
        ranked = sorted(values, key=lambda module: values[module]["value"], reverse=True)
        kept = dict.fromkeys(ranked[: rule.keep], f"of the {rule.keep} of greatest value")
    removed = []
    for actor, modules in actors.items():
        staying = [module for module in modules if module in kept]
        if not staying:
            removed.append(actor)
            continue
        for module in modules:
            reason = f"earns nothing, but its layer goes whole or not at all, and {staying[0]} stays"
            kept.setdefault(module, reason)
    return removed, kept


def jointly_removable(names, values, cost_of, rule):
    """The actors that may be removed together: until their cost passes, that of greatest value stays.

    Args:
        names: sequence of str, names of actors.
        values: dict of float by name (nats).
        cost_of: callable from a list of names to the cost of removing them together, a dict of `value`,
            `low` and `high` (nats).
        rule: `Rule`.
    Returns:
        List of str, the actors to remove; and a dict by name of the reasons why the others stay.
    Example:
        >>> def cost_of(names):
        ...     return {"value": len(names) - 1.0, "low": len(names) - 1.5, "high": len(names) - 0.5}
        >>> jointly_removable(["a", "b"], {"a": 0.2, "b": 0.1}, cost_of, Rule())
        (['b'], {'a': 'earns nothing alone; with others that go it costs 1.0000 [0.5000, 1.5000] nats'})
    """
    removed, kept = list(names), {}
    while removed and rule.objection(cost := cost_of(removed)):
        best = max(removed, key=values.get)
        removed.remove(best)
        kept[best] = (
            f"earns nothing alone; with others that go it costs {interval_text(cost)} {rule.unit}"
        )
    return removed, kept


def interval_text(value):
    """A cost with its interval."""
    return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
