"""Modules that earn nothing taken out of a trained network."""
