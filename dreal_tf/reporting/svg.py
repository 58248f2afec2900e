"""Figures as SVG text, and as SVG that takes the colours and the type of the page it stands in."""

import io
import re

import matplotlib
from markupsafe import Markup, escape

from dreal_tf.figures import LIGHT

POINTS, PIXELS = 72, 96  # Of an inch: in SVG files, and on pages.
LARGE = 500_000  # Letters from which a figure's paths are rounded to tenths of a point.


def theme_variables(style):
    """The colours of a style as a page's variables.

    Args:
        style: `dreal_tf.figures.Style`.
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
