"""A recipe and a search space as Keras Tuner's HyperModel, for any of its tuners."""

import keras_tuner

from dreal_tf.errors import InputError
from dreal_tf.training.builder import build


class RecipeHyperModel(keras_tuner.HyperModel):
    """Builds and trains a recipe with the values that a tuner has drawn.

    `tuner.search()` needs no data: the recipe brings it.

    Args:
        recipe: `dreal_tf.Recipe`.
        space: `dreal_tf.experiments.tuning.Space`.
    Raises:
        InputError: if the recipe does not take what the space has.
    Example:
        >>> space = Space({"dreal.actor_weight": Range(0.01, 1.0, log=True)})
        >>> hypermodel = RecipeHyperModel(load_recipe("digits_resnet8_se", smoke=True), space)
        >>> type(hypermodel.build(keras_tuner.HyperParameters())).__name__
        'DREAL'
    """

    def __init__(self, recipe, space):
        super().__init__()
        space.check(recipe)
        self.recipe = recipe
        self.space = space

    def recipe_of(self, hp):
        """The recipe with what was drawn.

        Args:
            hp: `keras_tuner.HyperParameters`.
        Returns:
            `dreal_tf.Recipe`.
        """
        return self.recipe.replace(self.space.changes(self.space.declare(hp)))

    def build(self, hp):
        """A compiled `DREAL`.

        Raises:
            keras_tuner.errors.FatalValueError: if the recipe cannot be built; the search stops there,
                and counts no failed trial.
        """
        try:
            model, self._data, self._callbacks = build(self.recipe_of(hp))
        except InputError as error:
            raise keras_tuner.errors.FatalValueError(str(error)) from error
        return model

    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        """Trains on the recipe's data for the recipe's epochs; `fit`'s own arguments win."""
        if not args and "x" not in kwargs:
            kwargs = {"x": self._data.train, "validation_data": self._data.validation} | kwargs
        kwargs = {"epochs": self.recipe_of(hp).schedule.epochs, "shuffle": False} | kwargs
        return model.fit(*args, callbacks=[*self._callbacks, *callbacks], **kwargs)
