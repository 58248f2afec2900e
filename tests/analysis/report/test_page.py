"""The page and its figures as text: escaped, themed, and with nothing to fetch."""

import re
from html.parser import HTMLParser

import pytest

from dreal_tf.analysis.report.page import Column, Fact, Picture, ReportSection, Table, page_text
from dreal_tf.visualization.mistakes import confusion_figure
from dreal_tf.visualization.style import DARK, LIGHT
from dreal_tf.visualization.training_curves import learning_curves

HOSTILE = "<script>alert('$1^2$ & \"x\"')</script>"


class Page(HTMLParser):
    """Collects ids and the addresses that a browser would fetch."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.fetched, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "srcset", "xlink:href", "data") or (name == "href" and tag != "a"):
                self.fetched.append(value)


def section(name="curves", title="Curves"):
    curves = {"val_loss": [2.0, 1.0], "val_accuracy": [0.5, 0.75]}
    numbers = Table(f"{name}_numbers", [Column("epoch")], [(1,), (2,)], "How it went.")
    table = Table(f"{name}_table", [Column("what"), Column("n", ".1f")], [(HOSTILE, -0.5), ("b", None)])
    facts = (Fact("Accuracy", "75 %", HOSTILE),)
    picture = Picture(learning_curves(curves), numbers, f"Curves: {HOSTILE}")
    return ReportSection(name, title, ("See.",), (picture,), (table,), facts)


@pytest.fixture(scope="module")
def page():
    empty = ReportSection("critics", "Critics", (f"No {HOSTILE}.",), empty=True)
    sections = [section(), section("more", HOSTILE), empty]
    return page_text(HOSTILE, HOSTILE, sections, "a folder")


def test_what_comes_from_runs_is_text_and_never_markup(page):
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_no_id_occurs_twice_and_nothing_is_fetched(page):
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert len([name for name in parsed.ids if "_numbers-" not in name]) == 8  # Not of drawings.
    assert {"figure-curves_numbers", "figure-more_numbers", "critics"} <= set(parsed.ids)
    assert all(address.startswith(("data:", "#")) for address in parsed.fetched)
    assert "link" in parsed.tags and "script" not in parsed.tags
    assert not re.search(r"@import|url\((?!#)", page)


def test_files_are_linked_by_where_they_lie(page):
    for ending in ("png", "svg", "csv"):
        assert f'href="a%20folder/curves_numbers.{ending}"' in page


def test_a_section_that_cannot_be_drawn_says_so_in_a_sentence(page):
    where = page.index('<section id="critics"')
    end = page.index("</section>", where)
    assert "No &lt;script&gt;" in page[where:end] and "<figure" not in page[where:end]


def test_tables_write_a_true_minus_and_keep_numbers_whole_in_csv():
    table = Table("t", [Column("what"), Column("n", ".1f")], [("a, b", -0.123456), ("c", float("nan"))])
    assert table.cells() == [["a, b", "−0.1"], ["c", "–"]]
    assert table.csv() == 'what,n\n"a, b",-0.123456\nc,nan\n'


def test_each_figure_is_there_once_in_the_colours_of_light_ground_and_of_dark(page):
    drawings = re.findall("<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == page.count("<figure") == 2
    for figure in drawings:
        used = set(re.findall(r"var[(]--figure-(\w+)[)]", figure))
        assert {"text", "muted", "grid", "ours", "ground"} <= used <= LIGHT.colours().keys()
    for style in (LIGHT, DARK):
        for name, colour in style.colours().items():
            assert f"--figure-{name}: {colour};" in page
            assert not any(colour.lower() in figure for figure in drawings)


def test_a_picture_is_as_wide_as_its_figure_and_its_file_is_what_the_page_shows():
    numbers = Table("confusion", ["n"], [])
    picture = Picture(confusion_figure([[1, 2], [3, 4]], ["a", "b"]), numbers, "")
    assert picture.width == round(96 * picture.figure.get_figwidth())
    shown = picture.inline.replace("confusion-", "")
    for name, colour in LIGHT.colours().items():
        shown = shown.replace(f"var(--figure-{name})", colour.lower())
    file = re.sub("<!-- .*? -->|<metadata>.*?</metadata>", "", picture.svg, flags=re.DOTALL)
    assert "<image" in shown and file.endswith(shown)


def contrast(one, other):
    """WCAG 2's contrast ratio of two colours."""

    def luminance(colour):
        levels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in levels]
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("style", [LIGHT, DARK], ids=lambda style: style.name)
def test_type_can_be_read(style):
    for colour in (style.text, style.muted, style.ours):  # The last is that of links.
        assert contrast(colour, style.ground) >= 4.5
    for colour in (style.baseline, *style.series):  # Of lines.
        assert contrast(colour, style.ground) >= 3
