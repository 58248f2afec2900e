"""The plain network beside its peers: `python tools/benchmarks/peers.py RECIPE`.

Peers are what a user would otherwise train: ResNet of keras.applications, and timm's SE-ResNet in PyTorch.
Shapes, batch and precision are the same; all take turns in one process, on generated images.
"""

import argparse
import importlib.util
import sys

import keras
import numpy as np

from dreal_tf.analysis.benchmark import (
    PLAIN,
    first_batch,
    generated_data,
    interleaved,
    median_interval,
    timed,
    turn_of_model,
)
from dreal_tf.cli.train import resolve
from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.training.builder import build, precision

RATE, MOMENTUM = 0.1, 0.9
KERAS_DEPTHS, TIMM_DEPTHS = (50, 101, 152), (50, 101, 152)


def peers_of(recipe):
    """The peers of a recipe's plain network, and why others are not measured.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        Dict from the peer's name to a callable (recipe, data) that returns the name of the peer's network,
        the recipe that it is compared with, and a turn; and dict from a peer's name to a str: why it is
        not measured.
    Example:
        >>> peers, missing = peers_of(load_recipe("digits_resnet8_se"))
        >>> list(peers), list(missing.values())
        ([], ['has no such network', 'has no such network'])
    """
    imagenet = recipe.backbone.name == "imagenet_resnet" and recipe.backbone.width == 1.0
    peers, missing = {}, {}
    if imagenet and recipe.backbone.depth in KERAS_DEPTHS:
        peers["keras.applications"] = _keras_turn
    else:
        missing["keras.applications"] = "has no such network"
    if not (imagenet and recipe.backbone.depth in TIMM_DEPTHS and recipe.attention.kind == "se"):
        missing["timm"] = "has no such network"
    elif (reason := _not_importable("torch", "torchvision", "timm")) is not None:
        missing["timm"] = reason
    else:
        peers["timm"] = _timm_turn
    return peers, missing


def measure_peers(recipe, rounds):
    """Our plain network and each peer, in turns.

    Args:
        recipe: `dreal_tf.Recipe`.
        rounds: int >= 1. Turns.
    Returns:
        Dict by peer of dict: `network`, `ours` (our network), `seconds` of a step of each (medians), and
        `ratio` of ours to the peer's with `low` and `high`, its 95 % interval; and `missing`, dict from a
        peer's name to why it is not measured.
    """
    peers, missing = peers_of(recipe)
    measured, data = {}, generated_data(recipe)
    for name, make in peers.items():
        network, ours, turn = make(recipe, data)
        model, _, _ = build(ours.replace({"dreal.enabled": False}), data)
        turns = {PLAIN: turn_of_model(model, first_batch(data)), name: turn}
        seconds = interleaved(turns, rounds)
        ratios = seconds[PLAIN] / seconds[name]
        low, high = median_interval(ratios)
        measured[name] = {
            "network": network,
            "ours": f"{ours.backbone.name}{ours.backbone.depth}, attention {ours.attention.kind}",
            "seconds": {arm: float(np.median(times)) for arm, times in seconds.items()},
            "ratio": float(np.median(ratios)),
            "low": low,
            "high": high,
        }
    return measured | {"missing": missing}


def _not_importable(*packages):
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def _keras_turn(recipe, data):
    """ResNet of keras.applications, which has no attention and no weight decay."""
    name = f"ResNet{recipe.backbone.depth}"
    with precision(recipe.run.precision):
        network = getattr(keras.applications, name)(
            weights=None,
            input_shape=data.image_shape,
            classes=len(data.class_names),
            classifier_activation=None,
        )
    network.compile(
        keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    ours = recipe.replace({"attention.kind": "none", "dreal.enabled": False, "optim.weight_decay": 0})
    return f"keras.applications.{name}", ours, turn_of_model(network, first_batch(data))


def _timm_turn(recipe, data):
    """SE-ResNet of timm, in PyTorch, on the same device and in the same memory layout."""
    import timm
    import torch

    name = f"seresnet{recipe.backbone.depth}"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = timm.create_model(name, num_classes=len(data.class_names))
    network = network.to(device, memory_format=torch.channels_last).train()
    decay = recipe.optim.weight_decay
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=decay)
    images, labels = (part.numpy() for part in first_batch(data))
    images = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels).long().to(device)
    half = recipe.run.precision != "float32"
    kind = torch.float16 if recipe.run.precision == "mixed_float16" else torch.bfloat16

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=kind, enabled=half):
            loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    turn = timed(step, wait=lambda loss: loss.item())
    return f"timm {name} (PyTorch {torch.__version__})", recipe, turn


def main():
    """Prints a line for each peer."""
    parser = argparse.ArgumentParser(description="Our plain network beside its peers, step by step.")
    parser.add_argument("recipe", help="Name or path.")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="changes")
    parser.add_argument("--rounds", type=int, default=15, help="Turns of each network.")
    options = parser.parse_args()
    try:
        check_at_least_one(rounds=options.rounds)
        measured = measure_peers(resolve(options.recipe, changes=options.changes), options.rounds)
    except InputError as error:
        sys.exit(f"Error: {error}")
    for name, reason in measured.pop("missing").items():
        print(f"{name}: {reason}")
    for name, peer in measured.items():
        ours, other = (1e3 * peer["seconds"][arm] for arm in (PLAIN, name))
        print(
            f"Ours ({peer['ours']}) {ours:.1f} ms a step, {peer['network']} {other:.1f} ms: "
            f"{peer['ratio']:.3f} of it ({peer['low']:.3f} to {peer['high']:.3f})."
        )


if __name__ == "__main__":
    main()
