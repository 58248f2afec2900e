"""Tables for the terminal."""

from dreal_tf.cli.output import csv_lines, table_lines


def test_columns_line_up_and_names_are_no_markup():
    lines = table_lines(["class", "images"], [["[bold]", "1"], [":smile:", "20"]])
    assert lines == ["class    images", "[bold]        1", ":smile:      20"]


def test_no_line_is_longer_than_80_characters_and_nothing_is_lost():
    cells = ["x" * 70, "y" * 50]
    lines = table_lines(["a", "b"], [cells])
    assert max(map(len, lines)) <= 80
    text = "".join(lines)
    assert text.count("x") == 70 and text.count("y") == 50


def test_no_spreadsheet_runs_a_name():
    rows = [
        ("=cmd|' /C calc'!A0.png", "+cats", -0.5),
        ("a/-b.png", "\t=1", 1.0),
        ("\uff1d1", "'=1", 0.0),
    ]
    assert csv_lines(["image", "class", "probability"], rows)[1:] == [
        "'=cmd|' /C calc'!A0.png,'+cats,-0.500000",
        "a/-b.png,'\t=1,1.000000",
        "'\uff1d1,''=1,0.000000",
    ]
