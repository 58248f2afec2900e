"""Figures 1 to 3: the right numbers in the artists, in the right places."""

import io
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from dreal_tf.errors import InputError
from dreal_tf.visualization.heatmaps import GalleryRow, MapRow, galleries, heatmaps, overlaid, stretched
from dreal_tf.visualization.mistakes import mistakes_figure
from dreal_tf.visualization.module_figures import channel_attention
from dreal_tf.visualization.style import LIGHT, STYLES, as_png

RANDOM = np.random.default_rng(0)


def actions(channels):
    return SimpleNamespace(
        mean=RANDOM.random(channels),
        spread=RANDOM.random(channels) / 10,
        across_channels=0.1234,
        between_images=0.0567,
    )


OURS = {f"conv{stage}_{block}/se": actions(2**stage) for stage in (2, 3, 4) for block in (1, 2)}
BASELINE = {module: actions(len(of_module.mean)) for module, of_module in OURS.items()}


def shown(figure, style=LIGHT):
    return np.asarray(Image.open(io.BytesIO(as_png(figure, dots=60, ground=style.ground))))


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_channel_attention_draws_the_numbers(style):
    figure = channel_attention(OURS, BASELINE, style=style, columns=4)
    by_name = {axes.get_label(): axes for axes in figure.axes}
    assert list(by_name) == [f"{arm} {m}" for m in OURS for arm in ("baseline", "ours")]
    for arm, modules, colour in (("ours", OURS, style.ours), ("baseline", BASELINE, style.baseline)):
        for module, one in modules.items():
            axes = by_name[f"{arm} {module}"]
            (line,), (band,) = axes.lines, axes.collections
            np.testing.assert_array_equal(line.get_ydata(), one.mean)
            assert line.get_color() == colour
            corners = band.get_paths()[0].vertices
            edges = np.stack([one.mean - one.spread, one.mean + one.spread])
            assert corners[:, 1].min() == pytest.approx(edges.min())
            assert corners[:, 1].max() == pytest.approx(edges.max())
            assert [text.get_text() for text in axes.texts] == ["spread: channels 0.123, images 0.057"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert (shown(figure, style) != shown(figure, style)[0, 0]).any(axis=-1).mean() > 0.02


def test_the_baseline_stands_above_ours_and_blocks_in_depth_order():
    figure = channel_attention(OURS, BASELINE, columns=2)
    corners = {axes.get_label(): axes.get_position() for axes in figure.axes}
    for module in OURS:
        assert corners[f"baseline {module}"].y0 > corners[f"ours {module}"].y1
    assert corners["ours conv2_1/se"].x1 < corners["ours conv2_2/se"].x0
    assert corners["ours conv2_1/se"].y0 > corners["baseline conv3_1/se"].y1


def test_without_a_baseline_or_for_a_module_of_ours_alone_ours_stands_alone():
    assert len(channel_attention(OURS).axes) == len(OURS)
    few = dict(list(BASELINE.items())[:2])
    names = [axes.get_label() for axes in channel_attention(OURS, few, ("new", "old")).axes]
    assert names.count("old conv2_1/se") == 1 and len(names) == len(OURS) + 2


def test_constant_actions_are_drawn_too():
    flat = SimpleNamespace(mean=np.ones(1), spread=np.zeros(1), across_channels=0.0, between_images=0.0)
    low, high = channel_attention({"conv2_1/se": flat}).axes[0].get_ylim()
    assert low < 1 < high


def test_without_channel_actions_it_says_so():
    with pytest.raises(InputError, match="channel actions of at least one module. Received: none"):
        channel_attention({})


# Heat maps -----------------------------------------------------------------------------------------

IMAGES = RANDOM.random((5, 8, 8, 3))
MAPS = RANDOM.random((5, 4, 4))
NAMES = ["cat", "dog", "frog", "horse", "ship"]


def test_stretching_is_linear_between_middles():
    np.testing.assert_allclose(stretched([[0, 4], [8, 12]], 4, 4)[0], [0, 1, 3, 4])
    np.testing.assert_allclose(stretched([[0, 4], [8, 12]], 4, 4)[:, 0], [0, 2, 6, 8])
    np.testing.assert_array_equal(stretched(MAPS[0], 4, 4), MAPS[0])
    assert stretched(MAPS[0], 8, 8).sum() == pytest.approx(4 * MAPS[0].sum())


def test_where_a_map_is_0_the_image_shows_in_grey_and_where_it_is_greatest_the_map():
    map_ = np.zeros((8, 8))
    map_[2, 5] = 3.0
    shaded = overlaid(IMAGES[0], map_, "gray")
    grey = IMAGES[0].mean(axis=-1)
    np.testing.assert_allclose(shaded[0, 0], grey[0, 0])
    np.testing.assert_allclose(shaded[2, 5], 0.85 + 0.15 * grey[2, 5])
    np.testing.assert_allclose(overlaid(IMAGES[0], 7 * map_, "gray"), shaded)
    np.testing.assert_allclose(overlaid(IMAGES[0], map_ + 2, "gray", low=2.0), shaded)
    np.testing.assert_allclose(overlaid(IMAGES[0], 0 * map_)[..., 1], grey)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_heatmaps_show_each_image_its_maps_and_its_label(style):
    # A long name is broken, so that it stays beside its row.
    rows = [
        MapRow("conv4_1/baseline", MAPS, [f"{name} ✗" for name in NAMES], "baseline"),
        MapRow("ours", MAPS[::-1], None, "ours", ranged=True),
    ]
    figure = heatmaps(IMAGES, NAMES, rows, style, columns=3, legend="what it means")
    axes = figure.axes[0]
    pictures = [np.asarray(image.get_array()) for image in axes.images]
    assert len(pictures) == 15
    enlarged = np.repeat(np.repeat(IMAGES[1], 16, axis=0), 16, axis=1)
    np.testing.assert_array_equal(pictures[3], enlarged)
    np.testing.assert_array_equal(pictures[4], overlaid(enlarged, MAPS[1], style.heat))
    low = MAPS[3].min()
    np.testing.assert_array_equal(pictures[5], overlaid(enlarged, MAPS[3], style.heat, low))
    lefts, tops = zip(*[(i.get_extent()[0], i.get_extent()[3]) for i in axes.images], strict=True)
    assert lefts[0] == lefts[1] == lefts[2] < lefts[3] and tops[0] < tops[1] < tops[2] < tops[9]
    texts = {text.get_text(): text for text in axes.texts}
    assert {*NAMES, "cat ✗", f"{MAPS[4].min():.2f} to {MAPS[4].max():.2f}"} <= set(texts)
    assert texts["ours"].get_color() == style.ours
    assert texts["conv4_1\nbaseline"].get_color() == style.baseline
    # A label stands under the last map of its image.
    assert texts["dog"].get_position()[1] > axes.images[5].get_extent()[2]
    assert lefts[3] < texts["dog"].get_position()[0] < lefts[6]
    assert (shown(figure, style) != shown(figure, style)[0, 0]).any(axis=-1).mean() > 0.5


def test_long_labels_and_notes_take_two_lines_and_stay_apart():
    names = ["European fire salamander", "bee", "a very long name of a class that is cut short"]
    row = MapRow("ours", MAPS[:3], [f"{name} ✓" for name in names])
    figure = heatmaps(IMAGES[:3], names, [row])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes, renderer = figure.axes[0], canvas.get_renderer()
    texts = [text for text in axes.texts if text.get_text() != "ours"]
    assert "European fire\nsalamander" in [text.get_text() for text in texts]
    frames = [text.get_window_extent(renderer) for text in texts]
    pictures = [image.get_window_extent(renderer) for image in axes.images]
    for number, frame in enumerate(frames):
        apart = frames[number + 1 :] + pictures
        assert not any(frame.overlaps(other) for other in apart), texts[number].get_text()
        assert frame.y0 > figure.axes[1].get_window_extent(renderer).y1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1e-9, 14.3, "0 to 14"), (0.4996, 0.5003, "0.49960 to 0.50030"), (0.5, 0.5, "0.50 to 0.50")],
)
def test_a_range_has_two_digits_of_the_difference(low, high, expected):
    row = MapRow("ours", [[[low, high]]], ranged=True)
    figure = heatmaps(IMAGES[:1], ["one"], [row])
    assert expected in [text.get_text() for text in figure.axes[0].texts]
    assert "least" in [text.get_text() for text in figure.axes[1].texts]


def test_known_boxes_are_drawn_on_every_picture():
    boxes = [[0.0, 0.5, 0.5, 1.0], [0.25, 0.0, 1.0, 0.5]]
    axes = heatmaps(IMAGES[:2], NAMES[:2], [MapRow("ours", MAPS[:2])], boxes=boxes).axes[0]
    white = [patch for patch in axes.patches if min(patch.get_edgecolor()) > 0.99]
    assert len(white) == 4
    for patch, picture, (top, left, bottom, right) in zip(
        white, axes.images, np.repeat(boxes, 2, axis=0), strict=True
    ):
        x0, x1, y1, y0 = picture.get_extent()
        side = x1 - x0
        assert y1 - y0 == pytest.approx(side)
        corners = patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()
        expected = x0 + side * left, y0 + side * top, side * (right - left), side * (bottom - top)
        assert corners == pytest.approx(expected)


def test_grey_images_and_a_single_one_are_drawn_too():
    figure = heatmaps(IMAGES[:1, ..., :1], ["one"], [MapRow("ours", 0 * MAPS[:1])])
    image, map_ = (np.asarray(image.get_array()) for image in figure.axes[0].images)
    np.testing.assert_allclose(map_, image)


LARGE = np.zeros((2, 4096, 2048, 3), "uint8")
LARGE[:, 2048:] = 200
YES = np.ones((2, 1), bool)
FIGURES = {
    "heatmaps": lambda: heatmaps(LARGE, ["a", "b"], [MapRow("ours", np.ones((2, 4, 2)))]),
    "galleries": lambda: galleries(LARGE, ["a", "b"], [GalleryRow("ours", LARGE[:, None], YES, YES)]),
    "mistakes": lambda: mistakes_figure(LARGE, ["a", "b"], ["b", "a"], [1.0, 0.5]),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_large_images_are_drawn_with_the_pixels_of_a_picture(figure, monkeypatch):
    images = LARGE // 200 if figure == "heatmaps" else LARGE
    monkeypatch.setitem(globals(), "LARGE", images)
    tracemalloc.start()
    drawn = FIGURES[figure]()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pictures = [image.get_array() for axes in drawn.axes for image in axes.images]
    pictures = [picture for picture in pictures if picture.shape[0] > 1]  # Not the scale of colours.
    assert {picture.shape[:2] for picture in pictures} == {(1024, 512)}
    assert all(picture[:512].mean() < picture[512:].mean() for picture in pictures)
    assert peak < 3 * LARGE.nbytes
