"""Figures as the bytes of picture files."""

import io

import matplotlib


def as_png(figure, dots=144, ground=None):
    """A figure as a PNG file.

    Args:
        figure: `matplotlib.figure.Figure`.
        dots: int. Pixels per inch.
        ground: colour behind it, such as `style.ground`; None: transparent.
    Returns:
        Bytes.
    Example:
        >>> as_png(new_figure(1, 1))[1:4]
        b'PNG'
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots, **_ground(ground))
    return file.getvalue()


def as_svg(figure, ground=None):
    """A figure as an SVG file; type becomes outlines, so that it looks alike anywhere.

    The same figure gives the same file each time.

    Args:
        figure: `matplotlib.figure.Figure`.
        ground: colour behind it; None: transparent.
    Returns:
        Str.
    Example:
        >>> figure = new_figure(1, 1)
        >>> as_svg(figure) == as_svg(figure)
        True
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "dreal_tf"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, **_ground(ground))
    return file.getvalue()


def _ground(ground):
    return {"transparent": True} if ground is None else {"facecolor": ground}
