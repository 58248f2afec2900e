"""A run without the modules that earn nothing: a new run."""

import json

from dreal_tf.auditing.sources import unvaried
from dreal_tf.builder import build_network, load_weights
from dreal_tf.pruning.new_run import write_start, write_without_tuning
from dreal_tf.pruning.plan import plan_pruning
from dreal_tf.pruning.pruned_recipe import pruned_recipe
from dreal_tf.pruning.request import check_request
from dreal_tf.run_directory import full_disk_said, write_whole
from dreal_tf.trained_run import finished_run, run_data
from dreal_tf.training import train


def prune(
    run_path,
    threshold=None,
    keep=None,
    epochs=0,
    images=2000,
    out=None,
    data_dir=None,
    track=None,
    callbacks=(),
):
    """Makes a new run of a finished one, without the attention modules that earn nothing.

    Modules are judged on validation images: the test split, on which accuracies are given, has no
    say in what goes. A module goes unless its static action, in place of its own, is known to cost
    more than the threshold: unless the 95 % interval of log p(A) - log p(Ā) lies above it; nor may
    all that goes be known to cost more together. It is folded into the BatchNorm before it or taken
    out, see `dreal_tf.pruning.ways_out`. A layer of several modules goes whole or stays.

    The new run is a run like any other; its recipe names the blocks that go without attention. An
    interrupted fine-tuning goes on where it was; the run given stays as it is.

    Args:
        run_path: str or path of a finished run.
        threshold: float. What a module must be known to be worth more than to stay (nats). None
            stands for 0.
        keep: int, in place of `threshold`: how many modules stay, those worth most.
        epochs: int. Of fine-tuning, see `dreal_tf.pruning.pruned_recipe.fine_tuning`; 0 for none.
        images: int >= 2. Validation images to judge on, at most.
        out: str or path of the new run, or None for `<run>_pruned` beside it.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
        callbacks: sequence of further Keras callbacks, of fine-tuning.
    Returns:
        Dict, as `pruning` in the new run's `metrics.json`: `run` and `out` (paths; `out` None where
        nothing goes: nothing is written then), `threshold`, `keep`, `epochs`, `images`; `modules` (by
        name: `done`, "folded", "removed" or "kept"; `reason`; `value`, `low`, `high` in nats); `cost`,
        what all that went costs together, before any fine-tuning, on the validation images; `before`
        and `after`: `accuracy` and `loss` on the test split, `parameters`, `multiply_adds`,
        `milliseconds` for an image.
    Raises:
        InputError: if something is asked for that does not go together, or `out` holds something.
        RunError: if an epoch of fine-tuning cannot be carried out.
    """
    request = check_request(run_path, threshold, keep, epochs, images, out)
    with full_disk_said(request.out.path):
        note = request.kept_note() if epochs and request.out.started else None
        if note is None:
            note = _judged(request, data_dir, track)
        if note["out"] is None:
            return _said(note)
        if epochs:
            recipe = request.out.read_recipe().reading(data_dir)
            train(recipe, request.out.path, callbacks=callbacks)
        metrics = request.out.read_metrics()
        note["after"] |= {name: metrics[name] for name in ("accuracy", "loss")}
        metrics["pruning"] = _said(note)
        write_whole(request.out.metrics, json.dumps(metrics, indent=2) + "\n")
        request.note.unlink()
    return _said(note)


def _said(note):
    return {name: value for name, value in note.items() if name != "asked"}


def _judged(request, data_dir, track):
    """Judges the modules and, if some go, writes the run without them, but for fine-tuning."""
    run = finished_run(request.run.path)
    recipe = run.read_recipe().reading(data_dir)
    data = run_data(run, unvaried(recipe))
    network = build_network(recipe, data.image_shape, len(data.class_names))
    load_weights(network, run.network)
    plan = plan_pruning(network, data, request.rule, request.images, recipe.run.seed, track)
    old = run.read_metrics()
    note = {
        "asked": request.asked,
        **request.asked,
        "out": str(request.out.path) if plan.places else None,
        "images": plan.images,
        "modules": plan.modules,
        "cost": plan.cost,
        "before": {name: old[name] for name in ("accuracy", "loss")},
        "after": {},
    }
    if plan.places:
        write = write_start if request.epochs else write_without_tuning
        write(request, pruned_recipe(recipe, plan), (network, plan.network), data, note)
    return note
