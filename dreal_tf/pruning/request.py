"""What is asked of a pruning, checked before anything is loaded."""

import json
from typing import NamedTuple

from dreal_tf.auditing.sources import check_images
from dreal_tf.errors import InputError
from dreal_tf.pruning.choice import Rule, check_rule
from dreal_tf.recipe import whole_path
from dreal_tf.run_directory import RunDirectory

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
