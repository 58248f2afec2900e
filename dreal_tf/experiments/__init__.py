"""Many trainings of a recipe: studies compare arms over seeds, searches look for the best settings."""
