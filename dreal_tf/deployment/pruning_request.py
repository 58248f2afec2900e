"""A request to prune a run, checked before any work begins; nothing here needs TensorFlow."""

from typing import NamedTuple

from dreal_tf.analysis.inputs import check_images
from dreal_tf.deployment.pruning_rule import Rule
from dreal_tf.errors import InputError
from dreal_tf.storage import locked, read_json
from dreal_tf.training.recipe import Recipe, whole_path
from dreal_tf.training.run_directory import RunDirectory, finished_run

NOTE = "pruning.json"  # In an unfinished run: the request, and its results so far.


class PruningRequest(NamedTuple):
    """A checked request to prune a run.

    Attributes:
        run: `RunDirectory` of the run to prune, finished and with its network.
        recipe: `Recipe` of that run, with its data where it lies now.
        out: `RunDirectory` of the run to make.
        rule: `Rule`.
        epochs: int, of fine-tuning.
        images: int, validation images that modules are evaluated on.
    """

    run: RunDirectory
    recipe: Recipe
    out: RunDirectory
    rule: Rule
    epochs: int
    images: int

    @property
    def options(self):
        """Every option but the new run's path, as JSON can hold it."""
        return {
            "run": whole_path(self.run.path),
            "threshold": self.rule.threshold,
            "keep": self.rule.keep,
            "epochs": self.epochs,
            "images": self.images,
        }

    @property
    def note(self):
        """Path of the note in the new run."""
        return self.out.path / NOTE

    def read_note(self):
        """The note of an interrupted pruning with the same options, or None."""
        note = self._any_note()
        return note if note is not None and note["options"] == self.options else None

    def _any_note(self):
        if not self.note.is_file():
            return None
        cure = "Remove the folder, and prune again."
        return read_json(self.note, "the note of an interrupted pruning", cure, {"options": dict})

    def check_out(self):
        """Refuses a folder for the new run that holds anything but the rest of this pruning."""
        if self.out.is_new or self.read_note() is not None:
            return
        if (note := self._any_note()) is not None:
            given = ", ".join(f"{name}={value}" for name, value in note["options"].items())
            raise InputError(
                f"Expected the options of the pruning that {str(self.out.path)!r} was left with. Received: others "
                f"than {given}. Repeat those to continue, choose another --out, or remove the folder."
            )
        raise InputError(
            f"Expected a new folder for the pruned run. Received: {str(self.out.path)!r}, which is "
            "not empty. Choose another --out, or remove it."
        )


def check_request(run_path, threshold=None, keep=None, epochs=0, images=2000, out=None, data_dir=None):
    """Refuses a request that cannot be carried out.

    Args:
        run_path, threshold, keep, epochs, images, out, data_dir: see `dreal_tf.prune`.
    Returns:
        `PruningRequest`.
    Raises:
        InputError: if there is no finished run, its network has no attention, a number makes no
            sense, or `out` contains something else.
    """
    rule = checked_rule(threshold, keep)
    check_images(images)
    if epochs < 0:
        raise InputError(f"Expected epochs of fine-tuning. Received: epochs={epochs}. Give 0 for none.")
    run = finished_run(run_path)
    run.read_metrics()  # Refuses an unfinished run.
    recipe = run.read_recipe().reading(data_dir)
    if recipe.attention.kind == "none":
        raise InputError(
            f"Expected a network with attention. Received: {str(run.path)!r}, with "
            "attention.kind='none'. There is nothing to prune; name another run."
        )
    named = run.path.resolve() if run.path.name in ("", "..") else run.path
    out = RunDirectory(out or named.with_name(f"{named.name}_pruned"))
    request = PruningRequest(run, recipe, out, rule, epochs, images)
    with locked(out.path):  # It can be written; and the lock of a killed command goes.
        request.check_out()
    return request


def checked_rule(threshold, keep):
    """The `Rule` of a threshold or a number to keep; refuses both together, and values without sense."""
    if threshold is not None and keep is not None:
        raise InputError(
            f"Expected a threshold or a number to keep. Received: threshold={threshold}, keep={keep}. "
            "Leave one of them out."
        )
    if keep is not None and keep < 0:
        raise InputError(
            f"Expected a number of modules to keep. Received: keep={keep}. Give 0 to remove every "
            "module that can be removed."
        )
    if threshold is not None and not abs(threshold) < float("inf"):
        raise InputError(
            f"Expected a threshold in nats. Received: threshold={threshold}. Give a number such as 0.01."
        )
    return Rule(0.0 if threshold is None else threshold, keep)
