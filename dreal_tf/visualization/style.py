"""The style of all figures, and their rendering to PNG and SVG."""

import contextlib
import io
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart, darkest first; markers help in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"


class Style(NamedTuple):
    """Colours of a ground.

    Attributes:
        name: str.
        text, muted, grid: colours of type; of ticks, frames and reference lines; of grid lines.
        ground: colour behind a figure, which itself is transparent.
        baseline, ours: colours of the network without and with the method, in every figure.
        series: tuple of colours for other quantities, all unlike these two.
        heat: str, the colour map of attention maps, from nothing to much.
    """

    name: str
    text: str
    muted: str
    grid: str
    ground: str
    baseline: str
    ours: str
    series: tuple
    heat: str = "inferno"

    def colours(self):
        """Dict of every colour by its name; those of `series` are `series0` and so on.

        Example:
            >>> LIGHT.colours()["ground"], DARK.colours()["series1"]
            ('#FFFFFF', '#E3A2C6')
        """
        names = ("text", "muted", "grid", "ground", "baseline", "ours")
        series = {f"series{number}": colour for number, colour in enumerate(self.series)}
        return {name: getattr(self, name) for name in names} | series


LIGHT = Style(
    "light",
    text="#1F2328",
    muted="#656D76",
    grid="#E1E4E8",
    ground="#FFFFFF",
    baseline="#D55E00",
    ours="#0072B2",
    series=("#009E73", "#B05C8C", "#8A6D00", "#5E4FA2", "#4D4D4D"),
)
# The same hues, light enough to be read on near black.
DARK = Style(
    "dark",
    text="#E6EDF3",
    muted="#9198A1",
    grid="#30363D",
    ground="#0D1117",
    baseline="#F28E4B",
    ours="#56B4E9",
    series=("#3DD6A3", "#E3A2C6", "#E5C340", "#A99BF0", "#C9D1D9"),
)
STYLES = {"light": LIGHT, "dark": DARK}


@contextlib.contextmanager
def styled(style):
    """Everything that is drawn inside the context has the type and colours of a style.

    Args:
        style: `Style`.
    Example:
        >>> with styled(DARK):
        ...     print(new_figure(4, 3).text(0, 0, "type").get_color())
        #E6EDF3
    """
    settings = {
        "text.color": style.text,
        "axes.labelcolor": style.text,
        "axes.titlecolor": style.text,
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "font.size": 8.5,
        "font.family": "DejaVu Sans",  # Comes with matplotlib, so that figures look alike anywhere.
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.5,
        "lines.solid_capstyle": "round",
        "text.parse_math": False,  # A class may be called $5.
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width, height, layout="constrained"):
    """An empty figure on transparent ground.

    Args:
        width, height: float (inches).
        layout: "constrained": matplotlib arranges the parts, which is slow if there are many. None: the
            caller places them.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> new_figure(4, 3).get_facecolor()
        (0.0, 0.0, 0.0, 0.0)
    """
    return Figure(figsize=(width, height), layout=layout, facecolor="none")


def dress(axes, style, grid="y"):
    """Reduces axes to what a reader needs: two frame lines, quiet ticks, a faint grid.

    Args:
        axes: `matplotlib.axes.Axes`.
        style: `Style`.
        grid: "x", "y", "both", or None.
    Returns:
        The axes.
    Example:
        >>> axes = dress(new_figure(4, 3).add_subplot(), LIGHT)
        >>> axes.spines["top"].get_visible()
        False
    """
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=style.muted, linewidth=0.8)
    # By name, since ticks are made when they are drawn, outside any context.
    look = dict(color=style.muted, labelcolor=style.muted, labelsize=7.5)
    axes.tick_params(which="both", length=3, width=0.8, **look)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=style.grid, linewidth=0.7)
    return axes


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
