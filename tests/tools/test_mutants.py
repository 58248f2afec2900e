"""The mutation script on a package of one file: what it changes, whom it asks, what it writes."""

import csv
import textwrap

import pytest
from fresh_process import ended
from mutants import OPERATORS, TREE, chosen_mutants, main, mutants_of, results_in, suite_for

SHOP = '''
"""Prices."""

import numpy as np


class Till:
    def __init__(self):
        self.total = 0

    def add(self, price):
        self.total += price

    def clear(self):
        self.total = 0


def discount(price, off, least=1):
    return max(price - off, least)


def chosen(prices, mask, seed):
    kept = np.where(~mask, 0.0, prices)
    order = np.argsort(kept)[::-1]
    return sorted(order), np.random.default_rng(seed + 1), kept.std(axis=-1, ddof=1)


def gradients(tape, value):
    if value < 3:
        raise ValueError(f"{value + 1} is {-value}.")  # Messages are left alone.
    return stop_gradient(-value)
'''
TESTS = """
from shop.shelf.till import Till, discount


def test_a_discount_has_an_end():
    assert discount(5, 3, 1) == 2 and discount(2, 3) == 1


def test_a_till_adds():
    till = Till()
    till.add(2)
    assert till.total == 2
"""


@pytest.fixture
def tree(tmp_path):
    """A package of one file, and tests that do not look at all of it."""
    files = {
        "shop/__init__.py": "",
        "shop/shelf/__init__.py": "",
        "shop/shelf/till.py": SHOP,
        "tests/shelf/test_till.py": TESTS,
        "tests/shelf/test_other.py": "def test_nothing(): pass\n",
        "tests/test_elsewhere.py": "from shop.shelf import till\ndef test_nothing(): pass\n",
        "tests/test_unrelated.py": "def test_nothing(): assert False\n",
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib -ra'\n",
    }
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path / "tree"


def changes(tree):
    return {(m.operator, m.change) for m in mutants_of(tree / "shop/shelf/till.py", tree)}


def test_each_operator_changes_what_it_is_for(tree):
    expected = {
        "sign": "price - off -> (price + off)",
        "axis": "axis=-1 -> axis=0",
        "gradient": "stop_gradient(-value) -> (-value)",
        "seed": "seed + 1 -> seed",
        "order": "sorted(order) -> list(order)",
        "mask": "np.where(~mask, 0.0, prices) -> np.where(~mask, prices, 0.0)",
        "statistic": "ddof=1 -> ddof=0",
        "state": "self.total += price -> pass",
        "comparison": "value < 3 -> (value <= 3)",
        "constant": "1 -> 2",
    }
    assert set(expected) == set(OPERATORS)
    assert set(expected.items()) <= changes(tree)
    others = {("order", "np.argsort(kept) -> np.argsort(-kept)"), ("mask", "~mask -> mask")}
    others |= {("seed", "np.random.default_rng(seed + 1) -> np.random.default_rng(0)")}
    others |= {("order", "np.argsort(kept)[::-1] -> np.argsort(kept)")}
    others |= {("statistic", "max(price - off, least) -> min(price - off, least)")}
    others |= {("state", "self.total = 0 -> pass")}
    assert others <= changes(tree)


def test_messages_and_what_a_constructor_sets_are_left_alone(tree):
    assert not {change for _, change in changes(tree) if "value + 1" in change}
    states = [m.line for m in mutants_of(tree / "shop/shelf/till.py", tree) if m.operator == "state"]
    lines = SHOP.splitlines()
    assert [lines[n - 1].strip() for n in states] == ["self.total += price", "self.total = 0"]
    assert lines[states[1] - 2].strip() == "def clear(self):"


def test_every_change_is_made_where_it_is_said_and_still_parses(tree):
    source = (tree / "shop/shelf/till.py").read_bytes()
    mutants = list(mutants_of(tree / "shop/shelf/till.py", tree))
    assert len({mutant.identity for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        assert source[mutant.begin : mutant.end].decode() == mutant.before
        changed = source[: mutant.begin] + mutant.after.encode() + source[mutant.end :]
        compile(changed, mutant.file, "exec")
        assert changed != source


def test_the_choice_follows_the_seed_and_takes_operators_in_turns(tree):
    ten = chosen_mutants(tree, "shelf", 10, seed=0)
    assert {mutant.operator for mutant in ten} == set(OPERATORS)
    assert ten == chosen_mutants(tree, "shelf", 10, seed=0) != chosen_mutants(tree, "shelf", 10, seed=1)
    equivalent = {ten[0].identity}
    others = chosen_mutants(tree, "shelf", 10, seed=0, equivalent=equivalent)
    assert ten[0] not in others and len(others) == 10


def test_an_identity_outlives_a_move_and_lines_before(tree):
    before = {m.identity for m in mutants_of(tree / "shop/shelf/till.py", tree)}
    (tree / "shop/counter").mkdir()
    moved = (tree / "shop/shelf/till.py").rename(tree / "shop/counter/till.py")
    moved.write_text("\n\n# Überschrift\n" + moved.read_text())
    assert {m.identity for m in mutants_of(moved, tree)} == before


def test_the_likeliest_tests_come_first_and_unrelated_ones_not_at_all(tree):
    mutant = chosen_mutants(tree, "shelf", 1, seed=0)[0]
    expected = ["tests/shelf/test_till.py", "tests/test_elsewhere.py", "tests/shelf/test_other.py"]
    assert suite_for(mutant, tree) == expected


def test_it_says_what_tests_notice_and_goes_on_where_it_stopped(tree, tmp_path, capsys):
    out, equivalent = tmp_path / "results.csv", tmp_path / "equivalent.csv"
    wanted = {"price - off -> (price + off)", "self.total = 0 -> pass"}
    others = [m for m in mutants_of(tree / "shop/shelf/till.py", tree) if m.change not in wanted]
    with equivalent.open("w", newline="") as file:
        csv.writer(file).writerows([["mutant", "reason"], *([m.identity, "-"] for m in others)])
    source = (tree / "shop/shelf/till.py").read_bytes()
    main(["--packages", "shelf", "--out", str(out)], tree, equivalent)
    rows = {row["change"]: row for row in results_in(out).values()}
    assert set(rows) == wanted
    noticed, survived = rows["price - off -> (price + off)"], rows["self.total = 0 -> pass"]
    assert noticed["outcome"] == "killed" and survived["outcome"] == "survived"
    assert noticed["noticed_by"] == "tests/shelf/test_till.py::test_a_discount_has_an_end"
    assert (tree / "shop/shelf/till.py").read_bytes() == source
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["shelf", "1", "1", "0", "0"]
    assert shown[2].startswith(f"survived {survived['mutant']} shop/shelf/till.py:{survived['line']} ")

    text = out.read_text()
    main(["--packages", "shelf", "--out", str(out)], tree, equivalent)
    assert out.read_text() == text  # Nothing is tried twice ...
    test = tree / "tests/shelf/test_other.py"
    test.write_text(TESTS + "    till.clear()\n    assert till.total == 0\n")
    main(["--packages", "shelf", "--out", str(out), "--again"], tree, equivalent)
    assert out.read_text().startswith(text)  # ... unless it was not noticed, and one asks.
    assert results_in(out)[survived["mutant"]]["outcome"] == "killed"


def test_a_test_that_fails_anyway_notices_nothing(tree, tmp_path):
    (tree / "tests/shelf/test_till.py").write_text("def test_red(): assert False\n")
    out = tmp_path / "results.csv"
    main(["--packages", "shelf", "--out", str(out), "--count", "1"], tree, tmp_path / "none.csv")
    assert [row["outcome"] for row in results_in(out).values()] == ["unclear"]


def test_what_is_listed_as_equivalent_exists():
    """A line that changed must be judged again."""
    for identity, row in results_in(TREE / "tools/equivalent_mutants.csv").items():
        (file,) = (TREE / "dreal_tf").rglob(row["file"])
        every = {mutant.identity: mutant.change for mutant in mutants_of(file, TREE)}
        assert every[identity] == row["change"] and row["reason"]


def test_the_command_lists_its_options():
    assert "--packages" in ended(TREE / "tools" / "mutants.py", "--help").stdout
