"""A run as one page: what it is, what it is worth, and what its attention does."""
