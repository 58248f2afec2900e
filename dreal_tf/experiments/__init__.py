"""Many trainings of a recipe: studies and searches."""
