"""The README's table of modules is the one that its command prints."""

import pytest
from fresh_process import REPOSITORY
from module_table import markdown, module_rows

from dreal_tf.layers import ACTORS

README = (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize(
    "kinds",
    [("se", "eca"), pytest.param(tuple(ACTORS), marks=pytest.mark.slow)],
    ids=["two of them", "all"],
)
def test_the_readme_has_the_table_as_it_is(kinds):
    for line in markdown(module_rows(kinds)):
        assert line + "\n" in README, line


def test_every_kind_is_in_the_table():
    for kind, actor in ACTORS.items():
        assert f"\n| `{kind}` | `{actor.__name__}` |" in README


def test_squeeze_and_excitation_adds_what_can_be_counted_by_hand():
    """Two layers with biases in each of 3, 4, 6 and 3 blocks of 256, 512, 1024 and 2048 channels."""
    (row,) = module_rows(("se",))
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    assert row.parameters == sum(n * (2 * c * (c // 16) + c // 16 + c) for c, n in blocks.items())
    assert row.multiply_adds == sum(n * 2 * c * (c // 16) for c, n in blocks.items())
