"""The trained networks that experiments with critics stand on: one for each seed."""

from pathlib import Path

from dreal_tf.errors import InputError
from dreal_tf.experiments.studies.study import without_method
from dreal_tf.training.run_directory import RunDirectory


def network_run(networks, seed):
    """Where the network of a seed lies.

    Args:
        networks: str or path.
        seed: int.
    Returns:
        `RunDirectory`.
    Example:
        >>> network_run("networks", 2).path.as_posix()
        'networks/seed2'
    """
    return RunDirectory(Path(networks) / f"seed{seed}")


def check_network(run, recipe):
    """Whether a run is a finished one of this recipe; how the method was set matters not.

    Args:
        run: `RunDirectory`.
        recipe: `Recipe` without the method.
    Raises:
        InputError: if it is not.
    """
    if not run.finished:
        raise InputError(
            f"Expected a finished run of the plain network in {str(run.path)!r}. Received: none. "
            "Give the folder of another study's networks, or leave --networks out to train them."
        )
    theirs = run.read_recipe()
    trained_with, needed = _essence(theirs), _essence(recipe)
    wrong = [path for path in needed if trained_with[path] != needed[path]]
    wrong += ["dreal.enabled"] if theirs.dreal.enabled else []
    if wrong:
        raise InputError(
            f"Expected a network trained as the study says in {str(run.path)!r}. Received: one that "
            f"differs in {', '.join(wrong)}. Leave --networks out to train it."
        )


def _essence(recipe):
    """What a plain network's weights follow from, by path."""
    tree = without_method(recipe).model_dump(exclude={"name", "dreal"})
    del tree["data"]["folder"]
    return {f"{s}.{field}": value for s, fields in tree.items() for field, value in fields.items()}
