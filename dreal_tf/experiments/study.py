"""A study: arms and seeds of a recipe, and the experiment that each of them goes through."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Field

from dreal_tf.data.sections import Count, CountOrZero, PositiveFloat, Section, expectation
from dreal_tf.errors import InputError, received, unknown_name
from dreal_tf.training.recipe import Dreal
from dreal_tf.training.recipe_files import (
    bundled_file,
    bundled_names,
    load_python,
    load_recipe,
    text_of_file,
)
from dreal_tf.training.run_directory import RunDirectory, recipe_differences

FOLDER = "studies"  # Bundled studies lie here, below the recipes.
CRITIC_PATHS = (
    "dreal.",
    "optim.critic_learning_rate",
)  # Fields that an arm on a frozen network may change.


class Directions(Section):
    """Options of the experiment "directions": a critic learns beside a frozen network and is tested."""

    steps: Count = 2000  # Training steps of the critic.
    images: Count = 2000  # Held-out test images for the tests, at most.


class ActorOnly(Section):
    """Options of the experiment "actor_only": the attention of a frozen network learns from the critic alone."""

    reinitialise: bool = True  # False: start from the trained attention.
    # Images that the actors learn from: those that the network was trained on, or its validation
    # images, which it has not seen.
    learn_from: Literal["train", "validation"] = "train"
    steps: Count = 2000  # Training steps of the actors.
    wait: CountOrZero = 0  # Steps in which the critic learns alone first; not counted.
    learning_rate: PositiveFloat = 0.005  # SGD of the actors, on L_q at weight 1.
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # The same SGD.
    decay: Literal["constant", "cosine"] = "constant"  # Schedule of that learning rate.
    probes: Count = 5  # Equally spaced steps after which the network is evaluated.
    images: Count = 4000  # Held-out test images for the evaluation, at most.


def _distinct(seeds):
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(
            f"Expected seeds that differ, at least one. Received: seeds={seeds}. Name each once."
        )
    return seeds


Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Study(Section):
    """An experiment with every arm and every seed.

    Example:
        >>> arms = {"paper": {"dreal.critic": "paper"}, "direct": {"dreal.critic": "direct"}}
        >>> study = Study(what="actor_only", recipe="digits_resnet8_se", arms=arms, seeds=(0, 1))
        >>> study.recipe_of("direct", seed=1).dreal.critic
        'direct'
    """

    name: Name = "unnamed"
    what: Literal["train", "directions", "actor_only"] = Field(
        "train", examples=["train"]
    )  # The experiment.
    recipe: str = Field(examples=["digits_resnet8_se"])  # Name or path, see `dreal-tf recipes`.
    # Recipe fields by dotted path, changed in all arms.
    changes: dict[str, object] = Field({}, examples=[{"schedule.epochs": 5}])
    # Further changes by arm. "actor_only." and "directions." stand for the options below.
    arms: dict[Name, dict[str, object]] = Field(
        min_length=1, examples=[{"baseline": {"dreal.enabled": False}, "method": {}}]
    )
    against: Name | None = None  # The arm that all others are compared with, seed by seed.
    evaluated_on: Literal["test", "validation"] = "test"  # Images behind the results of "train".
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_distinct)] = Field(
        (0, 1, 2), examples=[(0, 1, 2)]
    )
    directions: Directions = Directions()  # Options of the experiment "directions".
    actor_only: ActorOnly = ActorOnly()  # Options of the experiment "actor_only".

    @pydantic.model_validator(mode="after")
    def _consistent(self):
        for other in sorted({"directions", "actor_only"} - {self.what}):
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
        if foreign := [path for path in self.arms[arm] if not path.startswith(allowed)]:
            raise InputError(
                f"Expected an arm that changes the critic alone ({', '.join(allowed)}), as all arms "
                f"share one network. Received: {foreign[0]} in the arm {arm!r}. Put it into "
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
        return self._recipe(changes, seed, data_dir)

    def network_recipe(self, seed, data_dir=None):
        """The recipe of the network that the arms of a seed share: trained without the method.

        Args:
            seed, data_dir: see `recipe_of`.
        Returns:
            `Recipe`.
        """
        return without_method(self._recipe({}, seed, data_dir))

    def options_of(self, arm):
        """The options of the experiment in one arm.

        Args:
            arm: str.
        Returns:
            `Directions` or `ActorOnly`; None for "train", which has none.
        Raises:
            InputError: if a change does not fit.
        Example:
            >>> arms = {"slow": {"actor_only.learning_rate": 0.001}}
            >>> study = Study(what="actor_only", recipe="digits_resnet8_se", arms=arms)
            >>> study.options_of("slow").learning_rate
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

    def settings(self, arms):
        """Everything that makes the rows of some arms comparable.

        Args:
            arms: sequence of str.
        Returns:
            Dict of what JSON can hold: `study` (name), `what`, and `arms`: by arm what `settings_of` gives.
        """
        return {
            "study": self.name,
            "what": self.what,
            "arms": {arm: self.settings_of(arm) for arm in arms},
        }

    def settings_of(self, arm):
        """Everything that makes the rows of an arm comparable, by dotted path.

        Args:
            arm: str.
        Returns:
            Dict from str to what JSON can hold, without the seed and the folder of the data.
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
            fields: new values by name.
        Returns:
            `Study`.
        Example:
            >>> arms = {"paper": {"dreal.critic": "paper"}}
            >>> Study(what="train", recipe="digits_resnet8_se", arms=arms).replace(seeds=(4,)).seeds
            (4,)
        """
        return type(self).model_validate(
            {n: getattr(self, n) for n in type(self).model_fields} | fields
        )

    def _recipe(self, changes, seed, data_dir):
        # One after the other: another kind in an arm drops the fields that all arms gave to the old one.
        recipe = load_recipe(self.recipe).replace(self.changes)
        return recipe.replace(changes | {"run.seed": seed}).reading(data_dir)


def bundled_studies():
    """Names of the bundled studies.

    Example:
        >>> "critic_actor_only" in bundled_studies()
        True
    """
    return bundled_names(FOLDER)


def title_of(name):
    """The question of a bundled study: the first line of its docstring.

    Args:
        name: str.
    Returns:
        str.
    Example:
        >>> title_of("gain_cifar10_srm")
        'Does the method gain anything: 10,000 images of CIFAR-10 at 16×16, ResNet-8 with SRM.'
    """
    return text_of_file(bundled_file(name, "study", FOLDER), "study").partition("\n")[0]


def load_study(study, smoke=False):
    """A study by name or path.

    Args:
        study: str or path: a bundled name, or a `.py` file with a function `study(smoke=False)`.
        smoke: bool. The study shrunk to seconds.
    Returns:
        `Study`, named after its file.
    Raises:
        InputError: if there is no such study, or it is not valid.
    Example:
        >>> load_study("critic_actor_only").what
        'actor_only'
    """
    path = bundled_file(study, "study", FOLDER)
    try:
        loaded = load_python(path, "study", Study, smoke)
    except InputError as error:
        if isinstance(error.__cause__, pydantic.ValidationError):
            raise study_error(error.__cause__, str(path)) from error
        raise
    return loaded.model_copy(update={"name": f"{path.stem}_smoke" if smoke else path.stem})


def without_method(recipe):
    """A recipe without the method, whose settings are back at their defaults.

    Args:
        recipe: `Recipe`.
    Returns:
        `Recipe`.
    Example:
        >>> without_method(Recipe(dreal={"actor_weight": 0.1})).dreal.actor_weight
        0.5
    """
    return recipe.model_copy(update={"dreal": Dreal(enabled=False)})


def network_run(networks, seed):
    """The run of the plain network that the arms of a seed share.

    Args:
        networks: str or path of the folder of all of them.
        seed: int.
    Returns:
        `RunDirectory`.
    Example:
        >>> network_run("networks", 2).path.as_posix()
        'networks/seed2'
    """
    return RunDirectory(Path(networks) / f"seed{seed}")


def check_network(run, recipe):
    """Checks that a run is finished and has trained the plain network of a recipe.

    Args:
        run: `RunDirectory`.
        recipe: `Recipe`; its settings of the method do not matter.
    Raises:
        InputError: if it is not, or has not.
    """
    if not run.finished:
        raise InputError(
            f"Expected a finished run of the plain network in {str(run.path)!r}. Received: none. "
            "Give the folder of another study's networks, or leave --networks out to train them."
        )
    theirs = run.read_recipe()
    wrong = recipe_differences(without_method(theirs), without_method(recipe))
    wrong = [path for path in wrong if path != "name"] + ["dreal.enabled"] * theirs.dreal.enabled
    if wrong:
        raise InputError(
            f"Expected a network trained as the study says in {str(run.path)!r}. Received: one that "
            f"differs in {', '.join(wrong)}. Leave --networks out to train it."
        )


def study_error(error, source):
    """An error of pydantic about a study as one of ours, in three parts.

    Args:
        error: `pydantic.ValidationError`.
        source: str, the study's file.
    Returns:
        InputError, to be raised by the caller.
    Example:
        >>> try:
        ...     Study(what="train", recipe="digits_resnet8_se", arms={"paper": {}}, seed=1)
        ... except ValueError as error:
        ...     print(str(study_error(error, "mine.py"))[-49:])
        Received: 'seed'. Did you mean 'seeds'? (mine.py)
    """
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"]) or "the whole"
    cause = (problem.get("ctx") or {}).get("error")
    if isinstance(cause, InputError):
        return InputError(f"{cause} ({source})")
    if problem["type"] == "extra_forbidden":
        section, field = problem["loc"][0], problem["loc"][-1]
        kind = {"directions": Directions, "actor_only": ActorOnly}.get(section, Study)
        what = "field of a study" if kind is Study else f"option of {section!r}"
        return InputError(f"{unknown_name(what, field, kind.model_fields)} ({source})")
    name = str(problem["loc"][0]) if problem["loc"] else ""
    examples = Study.model_fields[name].examples if name in Study.model_fields else None
    cure = f"Write for example {name}={examples[0]!r}" if examples else "Change it"
    if problem["type"] == "missing":
        return InputError(f"Expected the field `{path}` of a study. Received: none ({source}). {cure}.")
    return InputError(
        f"Expected {path} of a study {expectation(problem)}. Received: {received(problem['input'])} "
        f"({source}). {cure}; the studies under recipes/studies show more."
    )
