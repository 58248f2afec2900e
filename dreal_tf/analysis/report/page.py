"""The page of a report: its sections, figures and tables as one HTML file."""

import csv
import io
import math
import re
from typing import NamedTuple

import jinja2
import matplotlib
from markupsafe import Markup, escape

from dreal_tf.visualization.style import DARK, LIGHT

POINTS, PIXELS = 72, 96  # Of an inch: in SVG files, and on pages.
LARGE = 500_000  # Letters from which a figure's paths are rounded to tenths of a point.


def theme_variables(style):
    """The colours of a style as a page's variables.

    Args:
        style: `dreal_tf.visualization.style.Style`.
    Returns:
        Dict from the variable's name to the colour.
    Example:
        >>> theme_variables(LIGHT)["--figure-ground"]
        '#FFFFFF'
    """
    colours = {
        f"--figure-{field}": value
        for field, value in style._asdict().items()
        if str(value).startswith("#")
    }
    return colours | {f"--figure-series-{n}": colour for n, colour in enumerate(style.series)}


# What is drawn in the light style's colours takes the page's in their place; all else is data.
THEME = {colour.lower(): variable for variable, colour in theme_variables(LIGHT).items()}
THEME["#000000"] = THEME[LIGHT.text.lower()]


def svg_text(figure):
    """A figure as SVG whose type stays type, so that the page can set it and readers can find it.

    Args:
        figure: `matplotlib.figure.Figure`.
    Returns:
        Str.
    Example:
        >>> from matplotlib.figure import Figure
        >>> svg_text(Figure(figsize=(1, 1)))[-7:]
        '</svg>\\n'
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # Two reports of a run are equal.
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dreal_tf"}):
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return text.getvalue()


def inline_svg(text, name, alt):
    """A figure as a part of a page: light on dark ground and dark on light.

    Args:
        text: str, see `svg_text`.
        name: str, the figure's, which its ids in the page begin with.
        alt: str, what is seen.
    Returns:
        `markupsafe.Markup`. The light style's colours have become the page's variables, such as
        `var(--figure-text)`; the width in pixels is the variable `--width`.
    Example:
        >>> from matplotlib.figure import Figure
        >>> figure = Figure(figsize=(2, 1))
        >>> print(inline_svg(svg_text(figure), "empty", "Nothing & nobody.")[:86])
        <svg role="img" aria-label="Nothing &amp; nobody." style="--width: 192px" viewBox="0 0
    """
    body = text[text.index("<svg") :]
    opening, _, body = body.partition(">")
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"font-family: [^\";]*;? ?", "", body)
    body = re.sub(r"\b(id=\"|url\(#|href=\"#)", rf"\g<1>{name}-", body)
    body = re.sub(r"#[0-9a-fA-F]{6}\b", _themed, body)
    digits = 2 if len(body) < LARGE else 1
    body = re.sub(r'(?<= d=")[^"]*', lambda found: _rounded(found.group(), digits), body)
    box = re.search(r'viewBox="([^"]*)"', opening).group(1)
    width = round(float(box.split()[2]) * PIXELS / POINTS)
    opening = f'<svg role="img" aria-label="{escape(alt)}" style="--width: {width}px" viewBox="{box}">'
    return Markup(opening + body.strip())


def _rounded(path, digits):
    """A path with fewer digits and no line breaks: a page need not be more exact than a screen."""
    return re.sub(rf"(\.\d{{{digits}}})\d+", r"\1", " ".join(path.split()))


def _themed(found):
    variable = THEME.get(found.group().lower())
    return f"var({variable})" if variable else found.group()


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


TEMPLATE = "report.html.jinja"


def page_text(title, subtitle, sections, files):
    """The page of a report.

    Args:
        title, subtitle: str.
        sections: sequence of `dreal_tf.analysis.report.page.Section`.
        files: str, the folder of the figures' files, as seen from the page.
    Returns:
        Str, HTML. Text is escaped; figures stand in it as SVG.
    Example:
        >>> from dreal_tf.analysis.report.page import Section
        >>> text = page_text("mine", "", [Section("end", "The <end>", ())], "report")
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
        drawn=_drawn,
        light=theme_variables(LIGHT),
        dark=theme_variables(DARK),
    )


def _drawn(picture):
    name = picture.numbers.name
    return inline_svg(svg_text(picture.figure), name, picture.alt)
