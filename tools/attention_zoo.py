"""Goes through networks that we did not write: the attention that is found, attached, and why the rest is not.

    python tools/attention_zoo.py [PART OF A NAME …]

Networks of keras.applications; of keras_hub, kimm and keras-vision-models (`kmodels`) if they can be
imported. All are randomly initialised. A network is attached if its outputs are the same afterwards and a step
of training with the comparative critic runs.
"""

import collections
import importlib
import sys

import keras
import numpy as np

import dreal_tf
from dreal_tf.errors import InputError
from dreal_tf.model.settings import ends_in_softmax
from dreal_tf.networks.attaching.attached_network import _may_attend
from dreal_tf.networks.attaching.cuts import NoGate, _at, _check, may_be_gate
from dreal_tf.networks.attaching.graph import FlatGraph

CLASSES = 5
SMALL = dict(num_layers=2, hidden_dim=16, num_heads=2, image_shape=(32, 32, 3), patch_size=8)
OF_HUB = {  # Arguments of small backbones.
    "ViTBackbone": SMALL | dict(mlp_dim=32),
    "DeiTBackbone": SMALL | dict(intermediate_dim=32),
    "DINOV2Backbone": SMALL | dict(intermediate_dim=32),
    "DINOV3Backbone": SMALL | dict(intermediate_dim=32),
    "MiTBackbone": dict(
        layerwise_depths=[1, 1], num_layers=2, layerwise_num_heads=[1, 2], layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1, layerwise_patch_sizes=[7, 3], layerwise_strides=[4, 2],
        hidden_dims=[8, 16], image_shape=(64, 64, 3),
    ),
    "SwinTransformerBackbone": dict(
        image_shape=(64, 64, 3), embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    ),
    "ViTDetBackbone": dict(
        hidden_size=16, num_layers=2, intermediate_dim=32, num_heads=2, global_attention_layer_indices=[1],
        image_shape=(64, 64, 3), patch_size=8, window_size=4,
    ),
    "MobileNetBackbone": dict(
        stackwise_expansion=[[40], [40]], stackwise_num_blocks=[1, 1], stackwise_num_filters=[[16], [16]],
        stackwise_kernel_size=[[3], [5]], stackwise_num_strides=[[2], [1]],
        stackwise_se_ratio=[[0.25], [0.25]], stackwise_activation=[["relu"], ["hard_swish"]],
        stackwise_padding=[[1], [2]], output_num_filters=32, input_num_filters=8, depthwise_filters=8,
        depthwise_stride=2, depthwise_residual=False, squeeze_and_excite=0.5, last_layer_filter=32,
        image_shape=(64, 64, 3), input_activation="hard_swish", output_activation="hard_swish",
    ),
}  # fmt: skip
OF_KIMM = {
    "ghostnet": ("GhostNetW050", "GhostNetV2W100", "GhostNetV3W050"),
    "mobilevit": ("MobileViTXXS", "MobileViTV2W050"),
    "efficientnet": ("EfficientNetB0",),
    "mobilenet_v3": ("LCNet050", "MobileNetV3W050Small"),
    "regnet": ("RegNetY002",),
    "hgnet": ("HGNetTiny",),
    "vision_transformer": ("VisionTransformerTiny16",),
}
OF_KMODELS = {  # Their sides in pixels, if they are fixed.
    "senet": {"SEResNet50": 64}, "efficientnet": {"EfficientNetB0": 64},
    "mobilenetv3": {"MobileNetV3Small075": 64}, "mobilevit": {"MobileViTXXS": 64},
    "mobilevitv2": {"MobileViTV2M050": 64}, "vit": {"ViTTiny16": 64}, "deit": {"DEiTTiny16": 64},
    "cait": {"CaiTXXS24": 64}, "pit": {"PiT_Ti": 64}, "swin": {"SwinTinyP4W7": 224},
    "swinv2": {"SwinV2TinyW8": 256}, "maxvit": {"MaxViTTiny": 224},
    "efficientformer": {"EfficientFormerL1": 224}, "mit": {"MiT_B0": 64}, "nextvit": {"NextViTSmall": 64},
    "flexivit": {"FlexiViTSmall": 64},
}  # fmt: skip
# In the reasons for what is no attention: residual branches, the classifier's softmax.
ORDINARY = ("is made of the other", "else than two", f"(None, {CLASSES})")
OF_KERAS = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0", "ResNet50")
OF_KERAS += ("ConvNeXtTiny",)


def headed(backbone, side):
    """A classifier on the last output of a backbone."""
    images = backbone.input if isinstance(backbone, keras.Function) else keras.Input((side, side, 3))
    outputs = backbone.output if isinstance(backbone, keras.Function) else backbone(images)
    last = keras.tree.flatten(outputs)[-1]
    if len(last.shape) > 2:
        last = (
            keras.layers.Flatten()(last)
            if None in last.shape[1:]
            else keras.ops.mean(last, axis=tuple(range(1, len(last.shape) - 1)))
        )
    return keras.Model(images, keras.layers.Dense(CLASSES, name="our_head")(last), name=backbone.name)


def of_kmodels(module, name, side):
    made = getattr(importlib.import_module(f"kmodels.models.{module}"), name)
    sizes = dict(input_shape=(side, side, 3)), dict(input_image_shape=side), dict(image_size=side)
    for size in sizes:  # The argument has three names.
        try:
            network = made(weights=None, num_classes=CLASSES, **size)
        except TypeError:
            continue
        single = isinstance(network, keras.Function) and len(network.outputs) == 1
        return network if single and len(network.output.shape) == 2 else headed(network, side)
    raise InputError(f"Expected a network that can be built. Received: {name}. Update this tool.")


def networks():
    """Pairs of a name and a function that builds the network, or raises ImportError."""
    keras_options = dict(weights=None, input_shape=(64, 64, 3), classes=CLASSES)
    for name in OF_KERAS:
        yield (
            f"keras.applications/{name}",
            lambda n=name: getattr(keras.applications, n)(**keras_options),
        )
    for name, arguments in OF_HUB.items():
        yield (
            f"keras_hub/{name}",
            lambda n=name, a=arguments: headed(
                getattr(importlib.import_module("keras_hub").models, n)(**a), a["image_shape"][0]
            ),
        )
    for module, names in OF_KIMM.items():
        for name in names:
            yield (
                f"kimm/{name}",
                lambda m=module, n=name: getattr(importlib.import_module(f"kimm.models.{m}"), n)(
                    include_preprocessing=False, **keras_options
                ),
            )
    for module, sides in OF_KMODELS.items():
        for name, side in sides.items():
            yield f"kmodels/{name}", lambda m=module, n=name, s=side: of_kmodels(m, n, s)


def attached_difference(network, names):
    """Attaches a network, trains a step, and gives the number of modules and the change of its outputs."""
    images = np.random.default_rng(0).random((2, *network.input_shape[1:]), "float32")
    before = np.array(network(images, training=False))
    model = dreal_tf.attach(network, names)
    after = np.array(model.trajectory_network(images, training=False)["logits"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax(network))
    model.compile("sgd", loss=loss, run_eagerly=True)
    model.train_on_batch(images, np.arange(2))
    return len(model.trajectory.modules), np.abs(after - before).max()


def reasons(network):
    """Why what looks like attention is none that can be attached."""
    graph, counts = FlatGraph(network, tries=_may_attend), collections.Counter()
    regions = [None]
    while regions:
        region = regions.pop()
        regions += graph.regions_in(region)
        for node in filter(may_be_gate, graph.nodes_in(region)):
            try:
                _check(graph, _at(graph, node))
            except (NoGate, ValueError) as reason:
                if not any(text in str(reason) for text in ORDINARY):
                    counts[str(reason)] += 1
    for error in graph.closed.values():
        layer = str(error).partition("Received: ")[2].partition(". Write")[0]
        if any(word in layer.lower() for word in ("attn", "attention", "encoder", "transformer")):
            counts[f"closed: {layer}"] += 1
    return "; ".join(f"{count} × {reason}" for reason, count in counts.most_common(3))


def row(name, make):
    try:
        network = make()
    except ImportError as error:
        return f"| {name} | not installed ({error}) | | |"
    gates = dreal_tf.find_gates(network)
    kinds = collections.Counter(gate.kind for gate in gates)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    attached = "–"
    if gates:
        modules, change = attached_difference(network, list(dict.fromkeys(gate.name for gate in gates)))
        attached = f"{modules}, outputs change by {change:.0e}"
    return f"| {name} | {listed} | {attached} | {reasons(network)} |"


def main():
    print("| network | found | attached | not attached, and why |\n|---|---|---|---|")
    for name, make in networks():
        if not sys.argv[1:] or any(part in name for part in sys.argv[1:]):
            print(row(name, make), flush=True)


if __name__ == "__main__":
    main()
