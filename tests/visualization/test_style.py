"""The style that all figures share."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from dreal_tf.visualization.style import (
    DARK,
    LIGHT,
    STYLES,
    as_png,
    as_svg,
    dress,
    new_figure,
    styled,
)


def luminance(colour):
    """As WCAG 2.1 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one, two):
    darker, lighter = sorted([luminance(one), luminance(two)])
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_colours_stand_out_from_the_ground(style):
    for colour in (style.baseline, style.ours, *style.series):
        assert contrast(colour, style.ground) >= 3.0, colour  # WCAG's least for graphics ...
    for colour in (style.text, style.muted):
        assert contrast(colour, style.ground) >= 4.5, colour  # ... and for type.


# Machado, Oliveira and Fernandes, 2009, table 1: severity 1, linear RGB.
COLOUR_BLIND = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("kind", COLOUR_BLIND)
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_baseline_and_ours_are_told_apart_by_colour_blind_readers(style, kind):
    seen = [
        np.clip(np.array(COLOUR_BLIND[kind]) @ np.array(to_rgb(colour)) ** 2.2, 0, 1) ** (1 / 2.2)
        for colour in (style.baseline, style.ours)
    ]
    assert np.linalg.norm(seen[0] - seen[1]) > 0.4


def figure_in(style):
    with styled(style):
        figure = new_figure(3, 2)
        axes = dress(figure.add_subplot(), style)
        axes.plot([0, 1], [0, 1], color=style.ours, label="ours")
        axes.set(title="title", xlabel="x", ylabel="y")
        axes.legend()
    return figure


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_what_is_drawn_after_the_context_has_its_colours_too(style):
    figure = figure_in(style)
    as_png(figure)
    (axes,) = figure.axes
    assert {tick.label1.get_color() for tick in axes.xaxis.get_major_ticks()} == {style.muted}
    labels = [axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()]
    assert {text.get_color() for text in labels} == {style.text}


def test_a_ground_is_only_where_one_is_asked_for():
    figure = figure_in(DARK)
    clear = np.asarray(Image.open(io.BytesIO(as_png(figure))))
    solid = np.asarray(Image.open(io.BytesIO(as_png(figure, ground=DARK.ground))))
    assert clear[0, 0, 3] == 0 and (clear[..., 3] == 255).any()
    assert solid[0, 0].tolist() == [0x0D, 0x11, 0x17, 255]


def test_pictures_have_their_size_and_svg_is_the_same_each_time():
    figure = figure_in(LIGHT)
    assert Image.open(io.BytesIO(as_png(figure, dots=100))).size == (300, 200)
    svg = as_svg(figure)
    assert svg == as_svg(figure) and "<dc:date>" not in svg and LIGHT.ours.lower() in svg
