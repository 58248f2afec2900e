"""Finds and loads studies: bundled ones, and `.py` files of one's own."""

from pathlib import Path

import pydantic

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.experiments.studies.study import Study, study_error
from dreal_tf.training.recipe_files import load_python, recipes_folder, text_of_file


def bundled_studies():
    """Names of the bundled studies.

    Example:
        >>> "critic_climb" in bundled_studies()
        True
    """
    return sorted(path.stem for path in (recipes_folder() / "studies").glob("[a-z]*.py"))


def title_of(name):
    """What a bundled study asks: the first line of its docstring.

    Args:
        name: str.
    Returns:
        str.
    Example:
        >>> title_of("gain_cifar10_srm")
        'Does the method gain anything: 10,000 images of CIFAR-10 at 16×16, ResNet-8 with SRM.'
    """
    return text_of_file(recipes_folder() / "studies" / f"{name}.py", "study").partition("\n")[0]


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
        >>> load_study("critic_climb").what
        'climb'
    """
    path = Path(study)
    if path.suffix != ".py":
        if str(study) not in bundled_studies():
            raise unknown_name("study", str(study), bundled_studies())
        path = recipes_folder() / "studies" / f"{study}.py"
    try:
        made = load_python(path, "study", Study, smoke)
    except InputError as error:
        if isinstance(error.__cause__, pydantic.ValidationError):
            raise study_error(error.__cause__, str(path)) from error
        raise
    return made.model_copy(update={"name": f"{path.stem}_smoke" if smoke else path.stem})
