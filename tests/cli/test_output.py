"""Tables for the terminal."""

from dreal_tf.cli.output import table_lines


def test_columns_line_up_and_names_are_no_markup():
    lines = table_lines(["class", "images"], [["[bold]", "1"], [":smile:", "20"]])
    assert lines == ["class    images", "[bold]        1", ":smile:      20"]


def test_no_line_is_longer_than_80_characters_and_nothing_is_lost():
    cells = ["x" * 70, "y" * 50]
    lines = table_lines(["a", "b"], [cells])
    assert max(map(len, lines)) <= 80
    text = "".join(lines)
    assert text.count("x") == 70 and text.count("y") == 50
