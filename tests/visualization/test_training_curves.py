"""Figures of training and of mistakes: what is drawn is what was given."""

import numpy as np
import pytest

from dreal_tf.visualization.mistakes import confusion_figure, mistakes_figure
from dreal_tf.visualization.style import DARK, as_png
from dreal_tf.visualization.training_curves import critic_curves, learning_curves, module_curves

EPOCHS = np.arange(1, 4)
MODULES = [f"conv{stage}_{block}/se" for stage in (2, 3, 4) for block in (1, 2, 3)]


def courses(shift=0.0):
    return {module: np.array([0.1, 0.2, 0.3]) * n + shift for n, module in enumerate(MODULES)}


def test_every_module_has_a_panel_with_what_was_predicted_and_measured():
    figure = critic_curves(EPOCHS, courses(), courses(0.5), (courses(1.0), courses(2.0)), [1.5])
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == MODULES
    for axes, module in zip(panels, MODULES, strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
        assert np.allclose(drawn["critique Q"], courses()[module])
        assert np.allclose(drawn["reward R"], courses(0.5)[module])
        assert np.allclose(drawn["critique Q, validation"], courses(1.0)[module])
        assert np.allclose(drawn["reward R, validation"], courses(2.0)[module])
        assert axes.get_lines()[-1].get_xdata()[0] == 1.5  # Where the rate fell.


def test_panels_without_a_module_are_not_drawn():
    some = dict(list(courses().items())[:4])
    figure = critic_curves(EPOCHS, some, some)
    assert sum(axes.get_visible() for axes in figure.axes) == 4 < len(figure.axes)


def test_a_module_without_a_critique_is_left_out():
    figure = critic_curves(EPOCHS, {MODULES[1]: np.zeros(3)}, courses())
    assert [axes.get_title(loc="left") for axes in figure.axes] == [MODULES[1]]


@pytest.mark.parametrize("count, owners", [(3, MODULES[:3]), (9, ["conv2", "conv3", "conv4"])])
def test_few_modules_have_a_colour_each_and_many_share_their_stages(count, owners):
    some = dict(list(courses().items())[:count])
    figure = module_curves(EPOCHS, {"gain": some, "alignment": some})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == owners
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == count and len({line.get_color() for line in lines}) == len(owners)


def test_curves_of_two_runs_have_two_colours():
    ours = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2]}
    figure = learning_curves(ours, {"loss": [2.5, 1.5]})
    lines = figure.axes[0].get_lines()
    assert [list(line.get_ydata()) for line in lines] == [[2.0, 1.0], [2.1, 1.2], [2.5, 1.5]]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert not figure.axes[1].get_lines()  # No accuracy was given.


def test_a_hundred_classes_are_shaded_but_not_written():
    counts = np.eye(120, dtype=int) * 3
    counts[5, 7] = 1
    figure = confusion_figure(counts, [f"class {n}" for n in range(120)])
    axes = figure.axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares[5, 7] == 25 and shares[5, 5] == 75 and shares[0, 0] == 100
    assert not axes.texts and max(figure.get_size_inches()) < 10
    assert "class 3" not in [label.get_text() for label in axes.get_yticklabels()]


def test_shares_are_those_of_the_label():
    figure = confusion_figure([[1, 3], [0, 0]], ["cat", "dog"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["25", "75"]


@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_are_shown_with_label_answer_and_probability(channels):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, channels), "uint8")
    names = ["cat"] * 6 + ["a very long name of a class"]
    figure = mistakes_figure(images, names, names[::-1], np.linspace(0.9, 0.3, 7))
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 7
    assert [text.get_text() for text in shown[1].texts] == ["cat", "cat 80.0 %"]
    assert shown[0].texts[1].get_text() == "a very long nam… 90.0 %"
    drawn = np.asarray(shown[2].images[0].get_array())
    assert (drawn == (images[2] if channels == 3 else images[2][..., 0])).all()


def test_all_can_be_drawn_on_dark_ground():
    figures = (
        critic_curves(EPOCHS, courses(), courses(), style=DARK),
        module_curves(EPOCHS, {"gain": courses()}, style=DARK),
        learning_curves({"accuracy": [0.1]}, style=DARK),
        confusion_figure(np.eye(3), "abc", style=DARK),
    )
    for figure in figures:
        assert len(as_png(figure, dots=40, ground=DARK.ground)) > 500
