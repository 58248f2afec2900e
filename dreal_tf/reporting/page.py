"""A report as one HTML page that needs nothing else."""

import jinja2

from dreal_tf.figures import DARK, LIGHT
from dreal_tf.reporting.svg import inline_svg, svg_text, theme_variables

TEMPLATE = "report.html.jinja"


def page_text(title, subtitle, sections, files):
    """The page of a report.

    Args:
        title, subtitle: str.
        sections: sequence of `dreal_tf.reporting.section.Section`.
        files: str, the folder of the figures' files, as seen from the page.
    Returns:
        Str, HTML. Text is escaped; figures stand in it as SVG.
    Example:
        >>> from dreal_tf.reporting.section import Section
        >>> text = page_text("mine", "", [Section("end", "The <end>", ())], "report")
        >>> "The &lt;end&gt;" in text
        True
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dreal_tf.reporting", "."),
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
