"""Trained networks at work: export, prediction, image search and pruning."""
