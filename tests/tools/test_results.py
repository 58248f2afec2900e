"""Tables of results: the pages show the rows that are checked in."""

import doctest

import numpy as np
import pytest
import results
import statements
from fresh_process import REPOSITORY
from results import (
    BLOCK,
    PAGES,
    controls_lines,
    filled,
    gain_intervals,
    gains,
    kept_rows,
    kept_studies,
    overview_lines,
    tables,
)

from dreal_tf.errors import InputError
from dreal_tf.experiments.study import bundled_studies


@pytest.fixture(scope="module")
def current():
    return tables()


@pytest.mark.parametrize("module", [results, statements])
def test_the_examples_run(module):
    attempted = doctest.testmod(module)
    assert attempted.failed == 0 and attempted.attempted


def rows_of(name="accuracy", **arms):
    return [
        {"arm": arm, "seed": seed, "seconds": 1.0, "training_seconds": 10.0 + seed, name: value}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_pages_hold_the_tables_of_the_rows_that_are_checked_in(page, current):
    text = (REPOSITORY / page).read_text()
    assert filled(text, current) == text, "python tools/results.py --write"


def test_every_table_is_on_a_page_and_every_block_has_its_end(current):
    texts = [(REPOSITORY / page).read_text() for page in PAGES]
    shown = {name for text in texts for _, name, *_ in BLOCK.findall(text)}
    assert shown == set(current)
    for text in texts:
        assert text.count("<!-- table: ") == text.count("<!-- end -->") == len(BLOCK.findall(text))


def test_studies_are_selected_by_the_beginning_of_their_names_and_only_with_rows():
    studies = kept_studies("critic_")
    assert studies["critic_actor_only"] == kept_rows("critic_actor_only")
    assert all(name.startswith("critic_") and rows for name, rows in studies.items())


def test_every_study_of_gain_and_settings_is_on_a_page_with_its_results_or_as_not_run():
    text = "".join((REPOSITORY / page).read_text() for page in PAGES)
    for name in bundled_studies():
        if name.startswith(("gain_", "settings_")):
            assert (f"<!-- table: {name} -->" in text) == bool(kept_rows(name)), name
            assert f"dreal-tf study {name} " in text or f"| `{name}` |" in text, name


def test_gains_are_paired_by_seed_in_points():
    rows = rows_of(baseline=[0.5, 0.6, 0.7], comparative=[0.51, 0.62])
    rows.append({"arm": "comparative", "seed": 9, "accuracy": 0.9})  # No baseline of that seed.
    gained = gains({"gain_cifar10_se": rows})["gain_cifar10_se"]["comparative"]
    assert gained.mean == pytest.approx(1.5) and gained.seeds == 2
    # Differences 1 and 2: standard error 0.5, Student's t of one degree 12.706.
    assert gained.high - gained.mean == pytest.approx(12.706 * 0.5, rel=1e-3)


def test_the_overview_has_a_line_an_arm_and_a_column_a_study():
    of_studies = gains(
        {
            "gain_cifar10_se": rows_of(baseline=[0.6, 0.7], no_attention=[0.58, 0.66]),
            "gain_cifar10_cbam": rows_of(baseline=[0.5], direct=[0.51]),
        }
    )
    heading, _, *lines = overview_lines(of_studies)
    assert "| `gain_cifar10_se`, 2 seeds | `gain_cifar10_cbam`, 1 seeds |" in heading
    # -2 and -4 points: mean -3, standard error 1.
    assert [line.split(" | ")[0] for line in lines] == ["| `no_attention`", "| `direct`"]
    assert lines[0].endswith("| -3.00 (-15.71 to +9.71) |  |") and lines[1].endswith("|  | +1.00 |")


def test_the_method_is_held_to_each_control_seed_by_seed():
    rows = rows_of(comparative=[0.6, 0.8], no_attention=[0.7, 0.6], paper=[0.5, 0.5])
    lines = controls_lines({"gain_cifar10_se": rows, "gain_cifar10_cbam": rows[:2]})
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| `no_attention`", "| `paper`"]
    # -10 and +20 points: mean 5, standard error 15, Student's t of one degree 12.706.
    assert "| +5.00 (-185.59 to +195.59), p = 1.000 |" in lines[2]
    assert "| +20.00 (" in lines[3] and lines[3].endswith("|  |")


def test_a_block_of_a_table_that_is_not_there_is_refused():
    text = "before\n<!-- table: haedroom -->\nold\n<!-- end -->\nafter"
    with pytest.raises(InputError, match="'haedroom'. Did you mean 'headroom'"):
        filled(text, {"headroom": ["| new |"]})


def test_the_figure_shows_means_and_intervals_study_by_study():
    random = np.random.default_rng(0)
    arms = {arm: random.normal(0.5, 0.01, 8) for arm in ("baseline", "comparative", "direct")}
    of_studies = gains({"gain_cifar10_se": rows_of(**arms), "gain_cifar10_cbam": rows_of(**arms)})
    axes = gain_intervals(of_studies, ["longer", "comparative", "direct"]).axes
    assert [a.get_title("left") for a in axes] == ["cifar10 se", "cifar10 cbam"]
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["comparative", "direct"]
    for number, arm in enumerate(("comparative", "direct")):
        (bars,) = axes[0].containers[number].lines[2]
        (low, _), (high, _) = bars.get_segments()[0]
        gained = of_studies["gain_cifar10_se"][arm]
        assert (low, high) == pytest.approx((gained.low, gained.high))
