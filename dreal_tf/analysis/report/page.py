"""The page of a report: its sections, figures and tables as one HTML file."""

import csv
import dataclasses
import functools
import io
import math
import re
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from dreal_tf.data.files import csv_cell
from dreal_tf.visualization.style import DARK, LIGHT, as_svg

TEMPLATE = "report.html.jinja"
PIXELS_PER_INCH = 96  # Of CSS.
MISSING = "–"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: str, its heading.
        form: str, the format of its numbers, as of `format`; empty for text.
    """

    name: str
    form: str = ""


class Table(NamedTuple):
    """Numbers in rows.

    Attributes:
        name: str, of the CSV file, without ending.
        columns: sequence of `Column`, or of str: headings of text.
        rows: sequence of sequences of str, numbers or None.
        caption: str, one sentence.
        flowing: bool. Rows are pairs of a name and a value, which may flow into several columns.
    Example:
        >>> table = Table("values", ["module", Column("value", ".2f")], [("conv2_1/se", 0.125)])
        >>> table.cells(), table.csv()
        ([['conv2_1/se', '0.12']], 'module,value\\nconv2_1/se,0.125\\n')
    """

    name: str
    columns: list
    rows: list
    caption: str = ""
    flowing: bool = False

    @property
    def headings(self):
        """List of `Column`."""
        return [c if isinstance(c, Column) else Column(c) for c in self.columns]

    def cells(self):
        """The rows as a reader sees them: lists of str."""
        forms = [column.form for column in self.headings]
        return [[written(*pair) for pair in zip(row, forms, strict=True)] for row in self.rows]

    def csv(self):
        """The rows as CSV text, numbers in full, names as `csv_cell` writes them."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.headings])
        writer.writerows(map(csv_cell, row) for row in self.rows)
        return text.getvalue()


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure and its numbers.

    Attributes:
        figure: `matplotlib.figure.Figure` in the light style.
        numbers: `Table` of the drawn values; its name is that of the files, its caption the figure's.
        alt: str, a description for readers who do not see the figure.
    """

    figure: Figure
    numbers: Table
    alt: str

    @property
    def width(self):
        """The width of the figure on a page (pixels)."""
        return round(PIXELS_PER_INCH * self.figure.get_figwidth())

    @functools.cached_property
    def svg(self):
        """The figure as the text of an SVG file."""
        return as_svg(self.figure, LIGHT.ground)

    @property
    def inline(self):
        """The figure as an element `svg` of a page, once for light ground and for dark.

        Its colours are variables of the page's style sheet. Its ids begin with the figure's name, so that
        they are unique in the page.
        """
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub("<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        for name, colour in LIGHT.colours().items():
            svg = svg.replace(colour.lower(), f"var(--figure-{name})")
        return Markup(re.sub(r'( id="|href="#|url\(#)', rf"\1{self.numbers.name}-", svg))


class Fact(NamedTuple):
    """A number that stands alone.

    Attributes:
        name, value: str.
        note: str, a number to compare it with; may be empty.
    """

    name: str
    value: str
    note: str = ""


class ReportSection(NamedTuple):
    """A part of a report.

    Attributes:
        name: str, its anchor: lower case, no blanks.
        title: str.
        text: tuple of str: paragraphs that say what is shown and how to read it; of an empty section the
            one sentence that says why it is empty.
        pictures: tuple of `Picture`.
        tables: tuple of `Table`, shown.
        facts: tuple of `Fact`, shown first.
        empty: bool. The run has nothing to show here.
    """

    name: str
    title: str
    text: tuple
    pictures: tuple = ()
    tables: tuple = ()
    facts: tuple = ()
    empty: bool = False


def written(value, form=""):
    """A number as a reader sees it: a true minus sign, a dash for None and nan.

    Args:
        value: number, str or None.
        form: str, as of `format`; a str stays as it is.
    Returns:
        Str.
    Example:
        >>> written(-0.125, "+.1f"), written(-0.0001, ".2f"), written(None, ".1f"), written("conv2-1")
        ('−0.1', '0.00', '–', 'conv2-1')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, str):
        return value
    text = format(value, form)
    if re.fullmatch("[+-][0.]+", text):  # Rounded to 0, which has no sign.
        text = text[1:]
    return text.replace("-", "−")


def page_text(title, subtitle, sections, files):
    """The page of a report.

    Args:
        title, subtitle: str.
        sections: sequence of `ReportSection`.
        files: str, the folder of the figures' files, relative to the page.
    Returns:
        Str, HTML. Text is escaped; figures are elements `svg`, whose colours follow the reader's preference.
    Example:
        >>> text = page_text("mine", "", [ReportSection("end", "The <end>", ())], "report")
        >>> "The &lt;end&gt;" in text
        True
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dreal_tf.analysis.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        files=files,
        light=LIGHT.colours(),
        dark=DARK.colours(),
    )
