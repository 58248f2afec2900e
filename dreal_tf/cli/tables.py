"""Tables for the terminal, which fit into 80 columns."""

import io

from rich.console import Console
from rich.table import Table

WIDTH = 80


def table_lines(headings, rows):
    """A table as lines of text: the first column to the left, the others to the right.

    Args:
        headings: sequence of str.
        rows: sequence of sequences of str, as long as the headings.
    Returns:
        List of str, none of them longer than 80 characters: long cells are wrapped.
    Example:
        >>> table_lines(["module", "value"], [["conv2_1/se", "0.5"]])
        ['module      value', 'conv2_1/se    0.5']
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    # Names of classes and modules are no markup.
    Console(file=text, width=WIDTH, markup=False, emoji=False, highlight=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]
