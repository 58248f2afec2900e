"""What `dreal-tf audit` prints of a network: a line for each module, and what the numbers mean."""

from dreal_tf.cli.output import aligned

HEADINGS = ["module"]
for _baseline in ("mean", "static"):
    HEADINGS += [f"{_baseline}: nats [95 %]", "accuracy", "p", "images"]


def value_lines(found):
    """Modules, stages of several modules, and all attention together, as aligned lines.

    Args:
        found: dict, see `dreal_tf.auditing.audit.audit`.
    Returns:
        List of str. `accuracy`: points gained by the module; `images`: percent of them helped,
        harmed and untouched.
    Example:
        >>> value = {"value": 0.5, "low": 0.25, "high": 0.75, "accuracy_drop": 0.01, "p_value": 0.5}
        >>> value |= {"helped": 0.5, "harmed": 0.25, "untouched": 0.25}
        >>> both = {"mean": value, "static": value}
        >>> found = {"modules": {"gate/se": {"stage": "gate"} | both}, "stages": {"gate": both}}
        >>> value_lines(found | {"attention": both})[1].split()[:6]
        ['gate/se', '+0.5000', '[+0.2500,', '+0.7500]', '+1.0', '0.5']
    """
    members = [module["stage"] for module in found["modules"].values()]
    rows = dict(found["modules"])
    rows |= {f"all of {s}": both for s, both in found["stages"].items() if members.count(s) > 1}
    if len(members) > 1:
        rows["all attention"] = found["attention"]
    table = [[name, *_cells(both["mean"]), *_cells(both["static"])] for name, both in rows.items()]
    return aligned([HEADINGS, *table])


def meaning(found):
    """What an audit found, in plain sentences.

    Args:
        found: dict, see `dreal_tf.auditing.audit.audit`.
    Returns:
        List of str.
    """
    sentences = [
        f"{found['images']} test images, accuracy {found['accuracy']:.3f}. A value is what log p of the "
        "label loses (nats) when a module treats all channels or places alike (mean), or all images "
        f"alike, as it treats {found['calibration_images']} training images on average (static). "
        "Accuracy: points lost with it, and McNemar's p. Images: percent that the module helps/harms/"
        f"leaves untouched (log p moves by {found['tolerance']} or less).",
    ]
    modules = found["modules"]
    best = max(modules, key=lambda module: modules[module]["mean"]["value"])
    if modules[best]["mean"]["low"] > 0:
        sentences.append(f"{best} earns most by selecting{_for_classes(found, best)}.")
    harmful = [module for module, both in modules.items() if both["static"]["high"] < 0]
    idle = [module for module in earns_nothing(found) if module not in harmful]
    if idle:
        sentences.append(f"Not seen to earn anything by looking at the image: {', '.join(idle)}.")
    if harmful:
        sentences.append(f"Seen to do harm by looking at the image: {', '.join(harmful)}.")
    return sentences


def earns_nothing(found):
    """Modules whose dependence on the image is not seen to be worth anything.

    Args:
        found: dict, see `dreal_tf.auditing.audit.audit`.
    Returns:
        List of str: modules whose interval for `static` does not lie above 0.
    Example:
        >>> earns_nothing({"modules": {"gate/se": {"static": {"low": 0.0}}}})
        ['gate/se']
    """
    return [module for module, both in found["modules"].items() if both["static"]["low"] <= 0]


def _cells(found):
    value, low, high = (f"{found[name]:+.4f}" for name in ("value", "low", "high"))
    shares = "/".join(f"{100 * found[name]:.0f}" for name in ("helped", "harmed", "untouched"))
    accuracy = f"{100 * found['accuracy_drop']:+.1f}"
    return [f"{value} [{low}, {high}]", accuracy, f"{found['p_value']:.2g}", shares]


def _for_classes(found, module):
    """For which class it is worth most and least, where there are several."""
    values = {name: both[module]["mean"]["value"] for name, both in found["classes"].items()}
    if len(values) < 2:
        return ""
    most, least = max(values, key=values.get), min(values, key=values.get)
    return f": {values[most]:+.3f} nats for {most!r}, {values[least]:+.3f} for {least!r}"
