"""What a study says: arms and seeds of a recipe, and the experiment that each goes through."""

from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.recipe import Dreal, PositiveFloat, Section
from dreal_tf.training.recipe_files import load_recipe

EXPERIMENTS = ("train", "directions", "climb")
CRITIC_PATHS = ("dreal.", "optim.critic_learning_rate")  # What an arm on a frozen network may change.


class Directions(Section):
    """A critic learns beside a frozen network; then its directions are judged."""

    steps: PositiveInt = 2000  # Training steps of the critic.
    images: PositiveInt = 2000  # Held-out test images it is judged on, at most.


class Climb(Section):
    """The attention of a trained network is drawn anew and learns from the critic alone."""

    reinitialise: bool = True  # False: start from the trained attention.
    # Images that the actors learn from: those that the network was trained on, or its validation
    # images, which it has not seen.
    learn_from: Literal["train", "validation"] = "train"
    steps: PositiveInt = 2000  # Training steps of the actors.
    wait: NonNegativeInt = 0  # Steps in which the critic learns alone first; not counted.
    rate: PositiveFloat = 0.005  # Learning rate of the actors' SGD, on L_q at weight 1.
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # Of that SGD.
    decay: Literal["constant", "cosine"] = "constant"  # Course of that rate.
    probes: PositiveInt = 5  # Equally spaced moments at which the network is judged.
    images: PositiveInt = 4000  # Held-out test images it is judged on, at most.


def _distinct(seeds):
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(
            f"Expected seeds that differ, at least one. Received: seeds={seeds}. Name each once."
        )
    return seeds


Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Study(Section):
    """An experiment: every arm with every seed.

    Example:
        >>> arms = {"paper": {"dreal.critic": "paper"}, "direct": {"dreal.critic": "direct"}}
        >>> study = Study(what="climb", recipe="digits_resnet8_se", arms=arms, seeds=(0, 1))
        >>> study.recipe_of("direct", seed=1).dreal.critic
        'direct'
    """

    name: Name = "unnamed"
    what: Literal["train", "directions", "climb"]  # The experiment.
    recipe: str  # A bundled recipe, see `dreal-tf recipes`.
    changes: dict[str, object] = {}  # Recipe fields by dotted path, changed in all arms.
    # Further changes by arm. "climb." and "directions." stand for the sections below.
    arms: Annotated[dict[Name, dict[str, object]], Field(min_length=1)]
    against: Name | None = None  # The arm that all others are compared with, seed by seed.
    judged_on: Literal["test", "validation"] = "test"  # Images that the results of "train" are of.
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_distinct)] = (0, 1, 2)  # Of networks and draws.
    directions: Directions = Directions()  # Of the experiment "directions".
    climb: Climb = Climb()  # Of the experiment "climb".

    @pydantic.model_validator(mode="after")
    def _consistent(self):
        for other in sorted({"directions", "climb"} - {self.what}):
            if getattr(self, other) != type(self).model_fields[other].default:
                raise InputError(
                    f"Expected options of the experiment {self.what!r} alone. Received: options in "
                    f"{other!r}. Leave them out, or choose what={other!r}."
                )
        for arm in self.arms:
            self._check_arm(arm)
        if self.against is not None and self.against not in self.arms:
            raise unknown_name("arm to compare with", self.against, self.arms)
        return self

    def _check_arm(self, arm):
        recipe = self.recipe_of(arm, self.seeds[0])
        self.options_of(arm)
        if self.what == "train":
            return
        allowed = (*CRITIC_PATHS, f"{self.what}.")
        if strange := [path for path in self.arms[arm] if not path.startswith(allowed)]:
            raise InputError(
                f"Expected an arm that changes the critic alone ({', '.join(allowed)}), as all arms "
                f"share one network. Received: {strange[0]} in the arm {arm!r}. Put it into "
                "`changes`, or choose what='train'."
            )
        if not recipe.dreal.enabled:
            raise InputError(
                f"Expected a critic in each arm of {self.what!r}. Received: dreal.enabled=False in "
                f"the arm {arm!r}. Leave it out."
            )

    def recipe_of(self, arm, seed, data_dir=None):
        """The recipe of one run.

        Args:
            arm: str.
            seed: int.
            data_dir: str, path or None. Folder of the data; None for the recipe's own.
        Returns:
            `Recipe`.
        Raises:
            InputError: if there is no such arm, or a change does not fit.
        """
        if arm not in self.arms:
            raise unknown_name("arm", arm, self.arms)
        changes = {p: v for p, v in self.arms[arm].items() if not p.startswith(f"{self.what}.")}
        return self._recipe(self.changes | changes, seed, data_dir)

    def network_recipe(self, seed, data_dir=None):
        """The recipe of the network that the arms of a seed share: trained without the method.

        Args:
            seed, data_dir: see `recipe_of`.
        Returns:
            `Recipe`.
        """
        return without_method(self._recipe(self.changes, seed, data_dir))

    def options_of(self, arm):
        """The options of the experiment in one arm.

        Args:
            arm: str.
        Returns:
            `Directions` or `Climb`; None for "train", which has none.
        Raises:
            InputError: if a change does not fit.
        Example:
            >>> arms = {"slow": {"climb.rate": 0.001}}
            >>> Study(what="climb", recipe="digits_resnet8_se", arms=arms).options_of("slow").rate
            0.001
        """
        if self.what == "train":
            return None
        options = getattr(self, self.what)
        prefix = f"{self.what}."
        changes = {p.removeprefix(prefix): v for p, v in self.arms[arm].items() if p.startswith(prefix)}
        for field in changes:
            if field not in type(options).model_fields:
                raise unknown_name(f"option of {self.what!r}", field, type(options).model_fields)
        return type(options).model_validate(options.model_dump() | changes)

    def settings_of(self, arm):
        """All that makes the rows of an arm comparable: what it does, by dotted path.

        Args:
            arm: str.
        Returns:
            Dict from str to what JSON can hold. Seed and place of the data are left out.
        """
        recipe = self.recipe_of(arm, 0).model_dump(mode="json", exclude={"name", "run"})
        del recipe["data"]["folder"]
        settings = {"what": self.what}
        for section, fields in recipe.items():
            settings |= {f"{section}.{field}": value for field, value in fields.items()}
        options = self.options_of(arm)
        if options is not None:
            dumped = options.model_dump(mode="json")
            settings |= {f"{self.what}.{field}": value for field, value in dumped.items()}
        return settings

    def replace(self, **fields):
        """A study with some fields changed, checked like any other.

        Args:
            fields: by name.
        Returns:
            `Study`.
        Example:
            >>> arms = {"paper": {"dreal.critic": "paper"}}
            >>> Study(what="climb", recipe="digits_resnet8_se", arms=arms).replace(seeds=(4,)).seeds
            (4,)
        """
        return type(self).model_validate(
            {n: getattr(self, n) for n in type(self).model_fields} | fields
        )

    def _recipe(self, changes, seed, data_dir):
        return load_recipe(self.recipe).replace(changes | {"run.seed": seed}).reading(data_dir)


def without_method(recipe):
    """A recipe without the method, its settings forgotten: what a plain network depends on.

    Args:
        recipe: `Recipe`.
    Returns:
        `Recipe`.
    Example:
        >>> without_method(Recipe(dreal={"actor_weight": 0.5})).dreal.actor_weight
        0.1
    """
    return recipe.model_copy(update={"dreal": Dreal(enabled=False)})


def study_error(error, source):
    """What pydantic found wrong with a study, in our three parts.

    Args:
        error: `pydantic.ValidationError`.
        source: str.
    Returns:
        InputError, to be raised by the caller.
    Example:
        >>> try:
        ...     Study(what="climb", recipe="digits_resnet8_se", arms={"paper": {}}, seed=1)
        ... except ValueError as error:
        ...     print(str(study_error(error, "mine.py"))[-49:])
        Received: 'seed'. Did you mean 'seeds'? (mine.py)
    """
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"]) or "the whole"
    cause = (problem.get("ctx") or {}).get("error")
    if isinstance(cause, InputError):  # It has said all.
        return InputError(f"{cause} ({source})")
    if problem["type"] == "extra_forbidden":
        sections = {"directions": Directions, "climb": Climb}
        known = sections.get(problem["loc"][0], Study).model_fields
        return InputError(f"{unknown_name('field of a study', path, known)} ({source})")
    expected = problem["msg"].removeprefix("Input should be ")
    received = repr(problem["input"])
    received = received if len(received) <= 100 else f"{received[:100]}..."
    return InputError(
        f"Expected {path} of a study to be as it should: {expected}. Received: {received} ({source}). "
        "Change it; the bundled studies under recipes/studies show how one is written."
    )
