"""What a pruning is asked to do: the rule that chooses the modules, and the run, checked before any work."""

import json
from typing import NamedTuple

from dreal_tf.analysis.inputs import check_images
from dreal_tf.errors import InputError
from dreal_tf.recipe import whole_path
from dreal_tf.training.run_directory import RunDirectory


class Rule(NamedTuple):
    """Which modules are to go.

    A module earns nothing where nothing shows that it is worth more than the threshold: the interval
    of log p(A) - log p(Ā), Ā its static action, does not lie above it. Its high end says what may be
    lost all the same; more images bring it down.

    Attributes:
        threshold: float, what a module must be known to be worth more than to stay (nats).
        keep: int, or None. How many modules stay, those of greatest value, whatever the threshold.
    """

    threshold: float = 0.0
    keep: int | None = None

    def kept(self, values):
        """The modules that stay, and why.

        Args:
            values: dict of values by module, each a dict of `value`, `low` and `high` (nats).
        Returns:
            Dict of str by module; those that are to go are not in it.
        Example:
            >>> values = {"a/se": {"value": 0.2, "low": 0.1, "high": 0.3},
            ...           "b/se": {"value": 0.0, "low": -0.1, "high": 0.1}}
            >>> Rule().kept(values)
            {'a/se': 'known to be worth more than 0 nats'}
            >>> Rule(keep=0).kept(values)
            {}
        """
        if self.keep is None:
            return {m: self.objection(value) for m, value in values.items() if self.objection(value)}
        ranked = sorted(values, key=lambda module: values[module]["value"], reverse=True)
        return dict.fromkeys(ranked[: self.keep], f"of the {self.keep} of greatest value")

    def objection(self, value):
        """Why what is worth `value` is not to go, or None; where a number is to stay, nothing objects."""
        if self.keep is not None or value["low"] <= self.threshold:
            return None
        return f"known to be worth more than {self.threshold:g} nats"


def chosen_actors(actors, values, rule):
    """The actors that are to go; one of several steps goes whole or not at all.

    Args:
        actors: dict of tuples of str: the modules of each actor, by its name.
        values: dict of values by module, see `Rule.kept`.
        rule: `Rule`.
    Returns:
        List of str, the actors to go; and a dict of str by module of why the others stay.
    Example:
        >>> actors = {"b_cbam": ("b/cbam_channel", "b/cbam_spatial")}
        >>> values = {"b/cbam_channel": {"value": 0.0, "low": 0.0, "high": 0.0},
        ...           "b/cbam_spatial": {"value": 0.5, "low": 0.4, "high": 0.6}}
        >>> chosen_actors(actors, values, Rule())[1]["b/cbam_channel"]
        'earns nothing, but its layer goes whole or not at all, and b/cbam_spatial stays'
    """
    kept, going = rule.kept(values), []
    for actor, modules in actors.items():
        stay = [module for module in modules if module in kept]
        if not stay:
            going.append(actor)
        for module in modules if stay else ():
            other = f"earns nothing, but its layer goes whole or not at all, and {stay[0]} stays"
            kept.setdefault(module, other)
    return going, kept


def agreed_actors(going, worth, cost_of, rule):
    """Which of the actors to go may go together: while they cost too much, the one worth most stays.

    Args:
        going: sequence of str, names of actors.
        worth: dict of float by name (nats).
        cost_of: callable from a list of names to what it costs to take them out together, a value.
        rule: `Rule`.
    Returns:
        List of str, those that may go; and a dict of str by name of why the others stay.
    Example:
        >>> def cost_of(names):
        ...     return {"value": len(names) - 1.0, "low": len(names) - 1.5, "high": len(names) - 0.5}
        >>> agreed_actors(["a", "b"], {"a": 0.2, "b": 0.1}, cost_of, Rule())
        (['b'], {'a': 'earns nothing alone; with others that go it costs 1.0000 [0.5000, 1.5000] nats'})
    """
    going, stay = list(going), {}
    while going and rule.objection(cost := cost_of(going)):
        last = max(going, key=worth.get)
        going.remove(last)
        stay[last] = f"earns nothing alone; with others that go it costs {shown(cost)} nats"
    return going, stay


def shown(value):
    """A value with its interval, as text.

    Example:
        >>> shown({"value": 0.01234, "low": -0.001, "high": 0.02})
        '0.0123 [-0.0010, 0.0200]'
    """
    return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def check_rule(threshold, keep):
    """The rule that was asked for.

    Args:
        threshold: float (nats), or None.
        keep: int, or None.
    Returns:
        `Rule`.
    Raises:
        InputError: if both are given, or one is no sensible number.
    Example:
        >>> check_rule(None, None).threshold
        0.0
    """
    if threshold is not None and keep is not None:
        raise InputError(
            f"Expected a threshold or a number to keep. Received: threshold={threshold}, keep={keep}. "
            "Leave one of them out."
        )
    if keep is not None and keep < 0:
        raise InputError(
            f"Expected a number of modules to keep. Received: keep={keep}. Give 0 to take out all "
            "that can be."
        )
    if threshold is not None and not abs(threshold) < float("inf"):
        raise InputError(
            f"Expected a threshold in nats. Received: threshold={threshold}. Give a number such as 0.01."
        )
    return Rule(0.0 if threshold is None else threshold, keep)


NOTE = "pruning.json"  # In a run that is being made: what was asked, and what was found so far.


class Request(NamedTuple):
    """A pruning that can be carried out.

    Attributes:
        run: `RunDirectory` of the run to prune.
        out: `RunDirectory` of the run to make.
        rule: `Rule`, which modules are to go.
        epochs: int, of fine-tuning.
        images: int, validation images that modules are judged on.
    """

    run: RunDirectory
    out: RunDirectory
    rule: Rule
    epochs: int
    images: int

    @property
    def asked(self):
        """All of it as JSON holds it, but where the new run lies."""
        rule = {"threshold": self.rule.threshold, "keep": self.rule.keep}
        run = {"run": whole_path(self.run.path)}
        return run | rule | {"epochs": self.epochs, "images": self.images}

    @property
    def note(self):
        """Path of the note in the new run."""
        return self.out.path / NOTE

    def kept_note(self):
        """The note that an interrupted pruning of the same request has left, or None."""
        if not self.note.is_file():
            return None
        note = json.loads(self.note.read_text(encoding="utf-8"))
        return note if note["asked"] == self.asked else None


def check_request(run_path, threshold=None, keep=None, epochs=0, images=2000, out=None):
    """Refuses what cannot be carried out.

    Args:
        run_path, threshold, keep, epochs, images, out: as of `dreal_tf.prune`.
    Returns:
        `Request`.
    Raises:
        InputError: if there is no finished run, its network has no attention, a number makes no
            sense, or `out` holds something else.
    """
    rule = check_rule(threshold, keep)
    check_images(images)
    if epochs < 0:
        raise InputError(f"Expected epochs of fine-tuning. Received: epochs={epochs}. Give 0 for none.")
    run = RunDirectory(run_path)
    recipe = run.read_recipe()
    run.read_metrics()  # Refuses a run that has not ended.
    if recipe.attention.kind == "none":
        raise InputError(
            f"Expected a network with attention. Received: {str(run.path)!r}, with "
            "attention.kind='none'. There is nothing to prune; name another run."
        )
    request = Request(run, RunDirectory(out or _beside(run.path)), rule, epochs, images)
    path = request.out.path
    empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not empty and request.kept_note() is None:
        raise InputError(
            f"Expected a new folder for the pruned run. Received: {str(path)!r}, which holds "
            "something. Choose another --out, or remove it."
        )
    return request


def _beside(path):
    path = path if path.name not in ("", "..") else path.resolve()
    return path.with_name(f"{path.name}_pruned")
