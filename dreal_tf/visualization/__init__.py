"""The attention of a network, computed as arrays and drawn as figures. Knows no recipe and no run."""
