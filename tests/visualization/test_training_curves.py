"""Figures of training and of mistakes show the given values; a history yields curves and correlations."""

import numpy as np
import pytest

from dreal_tf.visualization.mistakes import confusion_figure, mistakes_figure
from dreal_tf.visualization.style import DARK, as_png
from dreal_tf.visualization.training_curves import (
    critic_curves,
    history_curve,
    history_curves,
    learning_curves,
    module_curves,
    stage_correlations,
)

EPOCHS = np.arange(1, 4)
MODULES = [f"conv{stage}_{block}/se" for stage in (2, 3, 4) for block in (1, 2, 3)]


def curves(shift=0.0):
    return {module: np.array([0.1, 0.2, 0.3]) * n + shift for n, module in enumerate(MODULES)}


def test_every_module_has_a_panel_with_what_was_predicted_and_measured():
    figure = critic_curves(EPOCHS, curves(), curves(0.5), (curves(1.0), curves(2.0)), [1.5])
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == MODULES
    for axes, module in zip(panels, MODULES, strict=True):
        lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
        assert np.allclose(lines["critique Q"], curves()[module])
        assert np.allclose(lines["reward R"], curves(0.5)[module])
        assert np.allclose(lines["critique Q, validation"], curves(1.0)[module])
        assert np.allclose(lines["reward R, validation"], curves(2.0)[module])
        assert axes.get_lines()[-1].get_xdata()[0] == 1.5  # There the rate fell.


def test_panels_without_a_module_are_not_drawn():
    some = dict(list(curves().items())[:4])
    figure = critic_curves(EPOCHS, some, some)
    assert sum(axes.get_visible() for axes in figure.axes) == 4 < len(figure.axes)


def test_a_module_without_a_critique_is_left_out():
    figure = critic_curves(EPOCHS, {MODULES[1]: np.zeros(3)}, curves())
    assert [axes.get_title(loc="left") for axes in figure.axes] == [MODULES[1]]


@pytest.mark.parametrize("count, owners", [(3, MODULES[:3]), (9, ["conv2", "conv3", "conv4"])])
def test_few_modules_have_a_colour_each_and_many_share_their_stages(count, owners):
    some = dict(list(curves().items())[:count])
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
    percent = np.asarray(axes.images[0].get_array())
    assert percent[5, 7] == 25 and percent[5, 5] == 75 and percent[0, 0] == 100
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
    image = np.asarray(shown[2].images[0].get_array())
    assert (image == (images[2] if channels == 3 else images[2][..., 0])).all()


def test_all_can_be_drawn_on_dark_ground():
    figures = (
        critic_curves(EPOCHS, curves(), curves(), style=DARK),
        module_curves(EPOCHS, {"gain": curves()}, style=DARK),
        learning_curves({"accuracy": [0.1]}, style=DARK),
        confusion_figure(np.eye(3), "abc", style=DARK),
    )
    for figure in figures:
        assert len(as_png(figure, dots=40, ground=DARK.ground)) > 500


def test_modules_come_in_the_order_of_depth():
    names = ["conv2_2/se", "conv10_1/se", "conv2_10/se", "conv3_1/se"]
    rows = [{"epoch": 0, **{f"reward/{name}": 0.0 for name in sorted(names)}, "val_reward/x/se": 1.0}]
    order = ["conv2_2/se", "conv2_10/se", "conv3_1/se", "conv10_1/se"]
    assert list(history_curves(rows, "reward")) == order


def test_an_epoch_that_lacks_a_value_is_no_number():
    rows = [{"epoch": 0, "loss": 1.0}, {"epoch": 1}]
    assert np.isnan(history_curve(rows, "loss")[1]) and history_curve(rows, "accuracy") is None


def test_correlations_pool_the_modules_of_a_stage():
    random = np.random.default_rng(0)
    critiques = {f"conv2_{n}/se": random.normal(size=6) for n in (1, 2)}
    rewards = {module: random.normal(size=6) for module in critiques}
    critiques["conv3_1/se"], rewards["conv3_1/se"] = np.arange(6.0), -np.arange(6.0)
    correlations = stage_correlations(critiques, rewards)
    pooled = [np.concatenate(list(of.values())[:2]) for of in (critiques, rewards)]
    assert correlations["conv2"]["points"] == 12
    assert correlations["conv2"]["correlation"] == pytest.approx(np.corrcoef(*pooled)[0, 1])
    assert correlations["conv3"]["correlation"] == pytest.approx(-1)
    assert correlations["conv3"]["of_changes"] is None  # Every change is the same.


def test_a_common_rise_alone_does_not_correlate_changes():
    rise, wiggle = np.arange(8.0), np.array([0, 1, 0, 1, 0, 1, 0, 1])
    correlations = stage_correlations({"a_1/se": rise + wiggle}, {"a_1/se": rise - wiggle})["a"]
    assert correlations["correlation"] > 0.7 and correlations["of_changes"] == pytest.approx(-1)


def test_two_epochs_say_nothing():
    correlations = stage_correlations(
        {"a_1/se": np.array([0.0, 1.0])}, {"a_1/se": np.array([0.0, 1.0])}
    )
    assert correlations["a"] == {"points": 2, "correlation": None, "of_changes": None}


def test_epochs_without_a_measured_reward_have_no_curve():
    rows = [
        {
            "epoch": 1,
            "reward_measured": 0.0,
            "reward/a": 0.0,
            "val_reward_measured": 8.0,
            "val_reward/a": 0.5,
        },
        {
            "epoch": 2,
            "reward_measured": 4.0,
            "reward/a": 0.25,
            "val_reward_measured": 8.0,
            "val_reward/a": 0.0,
        },
    ]
    (training,) = history_curves(rows, "reward").values()
    assert np.isnan(training[0]) and training[1] == 0.25
    assert history_curves(rows, "val_reward")["a"].tolist() == [0.5, 0.0]
    assert history_curves(rows[:1], "reward") == {}
