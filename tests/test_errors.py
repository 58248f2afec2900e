"""Messages and paths, whatever a user has given."""

import os

import pytest

from dreal_tf.errors import InputError, RunError, checked_path, received, unknown_name
from dreal_tf.storage import check_new_folder


@pytest.mark.parametrize("kind", [InputError, RunError])
def test_a_message_is_never_long_and_keeps_its_cure(kind):
    text = str(kind(f"Expected a name. Received: {'x' * 10**6}. Choose another."))
    assert (
        len(text) < 3100 and text.startswith("Expected a name.") and text.endswith(". Choose another.")
    )


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no")


def test_any_value_can_be_shown():
    loop = []
    loop.append(loop)
    nested = []
    for _ in range(10**5):
        nested = [nested]
    for value in (
        10**5000,
        Unspeakable(),
        nested,
        loop,
        "x" * 10**6,
        "\udcff\0",
        b"\xff",
        float("nan"),
    ):
        assert 0 < len(received(value)) < 400
        assert "Received: " in str(unknown_name("recipe", value, ["digits"]))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "x" * 5000])
def test_a_path_that_no_system_holds_is_refused(name):
    for check in (checked_path, lambda path: check_new_folder(path, "to export to")):
        with pytest.raises(
            InputError, match="Expected a path that can be opened. Received: .*Choose another"
        ):
            check(name)


def test_any_other_path_passes(tmp_path):
    (tmp_path / "link").symlink_to("link")  # A circle.
    for name in (tmp_path, tmp_path / "none", tmp_path / "link", os.fsdecode(b"\xff"), "/dev/null/x"):
        assert str(checked_path(name)) == str(name)


@pytest.mark.parametrize("given", [3, None, b"run", ["run"], object()])
def test_what_is_no_path_is_refused_where_a_path_is_due(given):
    with pytest.raises(InputError, match="Expected a path: a str or a `pathlib.Path`. Received: "):
        checked_path(given)
