"""The command line: one file per verb; `index.py` has `search` too."""
