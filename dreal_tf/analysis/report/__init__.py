"""The report of a run: one file per section."""
