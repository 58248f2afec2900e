"""What a report is made of: sections, their figures and their tables."""

import csv
import io
import math
from typing import NamedTuple

MISSING = "–"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: str, its heading.
        form: str, how a number is written, as of `format`; empty for text.
    """

    name: str
    form: str = ""


class Table(NamedTuple):
    """Numbers in rows.

    Attributes:
        name: str, of the CSV file, without ending.
        columns: sequence of `Column`.
        rows: sequence of sequences of str, numbers or None.
        caption: str, one sentence.
        flowing: bool. Rows are pairs of a name and a value, which may flow into several columns.
    Example:
        >>> table = Table("worth", [Column("module"), Column("value", ".2f")], [("conv2_1/se", 0.125)])
        >>> table.cells(), table.csv()
        ([['conv2_1/se', '0.12']], 'module,value\\nconv2_1/se,0.125\\n')
    """

    name: str
    columns: list
    rows: list
    caption: str = ""
    flowing: bool = False

    def cells(self):
        """The rows as a reader sees them: lists of str."""
        return [
            [written(value, column.form) for value, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]

    def csv(self):
        """The rows as CSV text, numbers in full."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows(self.rows)
        return text.getvalue()


class Picture(NamedTuple):
    """A figure and its numbers.

    Attributes:
        figure: `matplotlib.figure.Figure`.
        numbers: `Table` of what is drawn; its name is that of the files, its caption the figure's.
        alt: str, what is seen, for those who do not see it.
    """

    figure: object
    numbers: Table
    alt: str


class Fact(NamedTuple):
    """A number that stands alone.

    Attributes:
        name, value: str.
        note: str, what it is to be held against; may be empty.
    """

    name: str
    value: str
    note: str = ""


class Section(NamedTuple):
    """A part of a report.

    Attributes:
        name: str, its anchor: lower case, no blanks.
        title: str.
        text: tuple of str: paragraphs, what is seen and how to read it. Where nothing can be drawn,
            the one sentence that says why.
        pictures: tuple of `Picture`.
        tables: tuple of `Table`, shown.
        facts: tuple of `Fact`, shown first.
        left_out: bool. Nothing can be drawn of this run.
    """

    name: str
    title: str
    text: tuple
    pictures: tuple = ()
    tables: tuple = ()
    facts: tuple = ()
    left_out: bool = False


def left_out(name, title, why):
    """A section of which nothing can be drawn.

    Args:
        name, title: see `Section`.
        why: str, one sentence.
    Returns:
        `Section`.
    Example:
        >>> left_out("critics", "Critics", "The run has no critic.").text
        ('The run has no critic.',)
    """
    return Section(name, title, (why,), left_out=True)


def written(value, form=""):
    """A number as a reader sees it: a true minus sign, a dash where there is none.

    Args:
        value: number, str or None.
        form: str, as of `format`; a str stays as it is.
    Returns:
        Str.
    Example:
        >>> written(-0.125, "+.1f"), written(None, ".1f"), written("conv2-1")
        ('−0.1', '–', 'conv2-1')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, str):
        return value
    return format(value, form).replace("-", "−")
