"""What a recipe says: a training run, fully described; from text, to text, and changed by path."""

import json
import typing
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field

import dreal_tf
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.recipe_sections import (
    CONVOLUTION_KINDS,
    Attention,
    Augment,
    Backbone,
    Data,
    Dreal,
    Optim,
    PositiveFloat,
    Run,
    Schedule,
    Section,
)

__all__ = [
    "Attention",
    "Augment",
    "Backbone",
    "Data",
    "Dreal",
    "Optim",
    "PositiveFloat",
    "Recipe",
    "Run",
    "Schedule",
    "Section",
    "whole_path",
]


SCHEMA = 2  # Of recipe.json. Version 1 carried no number.
# Fields of schema 1 by their new names.
RENAMED = {
    "backbone.neck": "bnneck",
    "dreal.baseline": "reference_action",
    "optim.rate": "learning_rate",
    "optim.critic_rate": "critic_learning_rate",
    "optim.backbone_rate": "backbone_lr_multiplier",
    "optim.attention_rate": "attention_lr_multiplier",
    "optim.head_rate": "head_lr_multiplier",
}


class Recipe(Section):
    """A training run, fully described.

    Example:
        >>> recipe = Recipe(schedule=Schedule(epochs=3))
        >>> recipe.replace({"dreal.actor_weight": "0.5"}).dreal.actor_weight
        0.5
    """

    name: Annotated[str, Field(pattern=r"^\w[^/\\]*$")] = "unnamed"  # Also of the run's folder.
    data: Data = Data()
    augment: Augment = Augment()
    backbone: Backbone = Backbone()
    attention: Attention = Attention()
    dreal: Dreal = Dreal()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    run: Run = Run()

    def replace(self, changes):
        """A recipe with some fields changed.

        With another `attention.kind`, every field of that section that is not given too becomes that
        kind's own: what suits one kind means little to another. Only `identity_start`, which protects
        the weights around the modules, is kept; kinds that replace a convolution cannot have it.
        `attention.kind=none` leaves nothing to teach, so it also sets `dreal.enabled` to False unless
        that is given too.

        Args:
            changes: dict from dotted path, such as "optim.learning_rate", to the new value; a str is read as
                the field's type.
        Returns:
            `Recipe`.
        Raises:
            InputError: if a path is unknown or a value does not fit its field.
        """
        tree = self.model_dump()
        kind = changes.get("attention.kind", self.attention.kind)
        if kind != self.attention.kind:
            kept = self.attention.identity_start and kind not in CONVOLUTION_KINDS
            tree["attention"] = Attention(identity_start=kept).model_dump()
        if changes.get("attention.kind") == "none":
            tree["dreal"]["enabled"] = False
        for path, value in changes.items():
            section, _, field = path.partition(".")
            if path in RENAMED:
                raise InputError(
                    f"Expected a recipe path. Received: {path!r}, the old name of "
                    f"'{section}.{RENAMED[path]}'. Give the new one."
                )
            if path not in self.paths():
                raise unknown_name("recipe path", path, self.paths())
            if field:
                kind = type(self).model_fields[section].annotation.model_fields[field].annotation
                text = str in (kind, *typing.get_args(kind))
                tree[section][field] = value if text and value != "null" else _parsed(value)
            else:
                tree[section] = value
        return _validated(tree)

    def shrunk(self):
        """The recipe with its kinds, stages and losses, but seconds long and on generated images.

        Returns:
            `Recipe`.
        Example:
            >>> Recipe().shrunk().data.name
            'generated'
        """
        small, identities = self.backbone.name == "resnet", self.data.images_per_identity is not None
        return self.replace(
            {
                "data.name": "generated",
                "data.folder": None,
                "data.image_size": None,
                "data.shape": (16, 16, 3) if small else (64, 64, 3),
                "data.image_width": None,
                "data.images_per_identity": 4 if identities else None,
                "data.classes": 8 if identities else 4,
                "data.images": 96 if identities else 64,
                "data.batch_size": 16,
                "data.train_limit": None,
                "data.validation_fraction": 0.1,
                "backbone.stride_placement": "3x3",
                "backbone.weights": None,
                "backbone.frozen": None,
                "backbone.depth": 8 if small else 18,
                "backbone.width": 0.25 if small else 0.125,
                "attention.reduction": 2 if self.attention.kind in ("se", "cbam") else None,
                "attention.blocks": None,
                "attention.pruned": None,
                "schedule.epochs": 2,
                "schedule.warmup_epochs": min(self.schedule.warmup_epochs, 1.0),
                "dreal.start_epoch": 0,
                "dreal.actor_warmup": min(self.dreal.actor_warmup, 2),
                "run.start": None,
                "run.figures": 0.0,
            }
        )

    def reading(self, data_dir):
        """The recipe with its data somewhere else.

        Args:
            data_dir: str, path or None: a folder, or the address of one in a bucket; None leaves the
                recipe as it is.
        Returns:
            `Recipe`.
        Example:
            >>> Recipe().reading("gs://mine/tfds").data.folder
            'gs://mine/tfds'
        """
        return self if data_dir is None else self.replace({"data.folder": whole_path(data_dir)})

    @classmethod
    def paths(cls):
        """All dotted paths of a recipe.

        Example:
            >>> "schedule.epochs" in Recipe.paths()
            True
        """
        paths = ["name"]
        for name, field in cls.model_fields.items():
            if name != "name":
                paths += [f"{name}.{inner}" for inner in field.annotation.model_fields]
        return paths

    def to_json(self):
        """The recipe as indented JSON text, with its schema and the version that wrote it."""
        written_by = {"schema": SCHEMA, "dreal_tf": dreal_tf.__version__}
        return json.dumps(written_by | self.model_dump(mode="json"), indent=2) + "\n"

    @classmethod
    def from_json(cls, text, source="the text"):
        """The recipe that `to_json` wrote, of this version or an earlier one.

        Args:
            text: str.
            source: str, named in errors.
        Raises:
            InputError: if it is not one.
        """
        try:
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"Expected a recipe as JSON. Received: {source}, which is not JSON ({error}). "
                "Give a recipe.json that a run has written."
            ) from error
        return _validated(_of_this_schema(tree, source))


def whole_path(folder):
    """A folder's path from the root, as a run may be read from elsewhere; an address stays as it is.

    Args:
        folder: str or path.
    Returns:
        Str.
    Example:
        >>> whole_path("s3://mine/tfds"), Path(whole_path("data")).is_absolute()
        ('s3://mine/tfds', True)
    """
    return str(folder) if "://" in str(folder) else str(Path(folder).expanduser().resolve())


def _of_this_schema(tree, source):
    """The JSON of a recipe with the names of this schema."""
    if not isinstance(tree, dict):
        return tree
    tree, schema, version = dict(tree), tree.get("schema", 1), tree.get("dreal_tf", "0.1.0")
    tree.pop("schema", None), tree.pop("dreal_tf", None)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(
            f"Expected a recipe of schema {SCHEMA} or earlier. Received: {source} of schema {schema!r}, "
            f"written by dreal_tf {version}. Install that version or a later one."
        )
    for path, name in RENAMED.items():
        section, _, old = path.partition(".")
        fields = tree.get(section)
        if isinstance(fields, dict) and old in fields and schema == 1:
            fields = dict(fields)
            fields[name] = fields.pop(old)
            tree[section] = fields
    exploration = (tree.get("dreal") or {}).get("exploration") if schema == 1 else None
    if exploration:
        kinds = ["reference" if kind == "baseline" else kind for kind in exploration]
        tree["dreal"] = tree["dreal"] | {"exploration": kinds}
    return tree


def _parsed(value):
    """A `--set` value: JSON where it is JSON, else the text itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _validated(tree):
    try:
        return Recipe.model_validate(tree)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(str(part) for part in problem["loc"]) or "the recipe"
        more = f" ({error.error_count() - 1} more such)" if error.error_count() > 1 else ""
        expected = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise InputError(
            f"Expected {path} to be {expected}{more}. Received: {path}={problem['input']!r}. "
            "Change it; `dreal-tf train RECIPE --print-recipe` shows all fields."
        ) from error
