"""Data sets as tf.data, and the sections of a recipe that describe them."""
