"""What studies have found so far, as README and docs have it.

    python -m dreal_tf.experiments.studies.results            # prints the tables
    python -m dreal_tf.experiments.studies.results --write    # puts them, and the figure, into README and docs

Rows are checked in as they come: a study's under `recipes/studies/results/<study>.csv`, what
`dreal_tf.experiments.studies.statements` measured of its networks under `<study>.networks.csv`.
"""

import argparse
import re
from pathlib import Path

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.studies.files import bundled_studies, load_study
from dreal_tf.experiments.studies.result_tables import (
    OVERVIEW,
    climb_lines,
    controls_lines,
    gains,
    headroom_lines,
    not_run_lines,
    overview_lines,
    results_lines,
)
from dreal_tf.experiments.studies.rows import parse_rows
from dreal_tf.experiments.studies.statements import statement_lines, statements
from dreal_tf.training.recipe_files import recipes_folder
from dreal_tf.training.run_directory import write_whole

# What the names of the studies shown here begin with.
GAIN, SETTINGS, HEADROOM = "gain_", "settings_", "headroom_"
PAGES = ("README.md", "docs/evidence.md")
FIGURE = "docs/figures/gain.png"
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
# What these gain and lose would make all others small.
DRAWN = tuple(arm for arm in OVERVIEW if arm not in ("longer", "paper_pushed"))


def kept_rows(name):
    """Rows that are checked in.

    Args:
        name: str, of a study, or of a study and ".networks".
    Returns:
        List of dicts, see `dreal_tf.experiments.studies.rows`; empty where there are none.
    Example:
        >>> len(kept_rows("critic_climb")) > 0, kept_rows("none_such")
        (True, [])
    """
    path = recipes_folder() / "studies" / "results" / f"{name}.csv"
    return parse_rows(path.read_text(encoding="utf-8")) if path.is_file() else []


def kept_studies(beginning):
    """Rows of the studies that have some.

    Args:
        beginning: str, of the studies' names.
    Returns:
        Dict from name to rows, see `kept_rows`.
    Example:
        >>> "critic_climb" in kept_studies("critic_")
        True
    """
    names = [name for name in bundled_studies() if name.startswith(beginning)]
    return {name: rows for name in names if (rows := kept_rows(name))}


def tables():
    """Every table, by the name that pages call it.

    Returns:
        Dict of lists of str, Markdown: `overview`, `controls`, `headroom` and `not_run`; each study of
        gain and of settings that has rows; `climb_...` of each whose rows have `actor_grad_cosine`, and
        `statements_...` of each whose networks were measured.
    Example:
        >>> "overview" in tables()
        True
    """
    of_gain = kept_studies(GAIN)
    found = {
        "overview": overview_lines(gains(of_gain)),
        "controls": controls_lines(of_gain),
        "headroom": headroom_lines(kept_studies(HEADROOM)),
        "not_run": not_run_lines(
            name for name in bundled_studies() if name.startswith(GAIN) and name not in of_gain
        ),
    }
    for name, rows in (of_gain | kept_studies(SETTINGS)).items():
        found[name] = results_lines(load_study(name), rows)
        if any("actor_grad_cosine" in row for row in rows):
            found[f"climb_{name}"] = climb_lines(load_study(name), rows)
        if networks := kept_rows(f"{name}.networks"):
            found[f"statements_{name}"] = statement_lines(statements(networks, rows))
    return found


def filled(text, found):
    """A page with its tables brought up to date.

    Args:
        text: str, Markdown with blocks from `<!-- table: NAME -->` to `<!-- end -->`.
        found: dict of lists of str, see `tables`.
    Returns:
        str.
    Raises:
        InputError: if there is no table of that name.
    Example:
        >>> print(filled("<!-- table: a -->\\nold\\n<!-- end -->", {"a": ["| new |"]}))
        <!-- table: a -->
        | new |
        <!-- end -->
    """

    def replaced(block):
        if block[2] not in found:
            raise unknown_name("table", block[2], found)
        return block[1] + "\n".join(found[block[2]]) + "\n" + block[4]

    return BLOCK.sub(replaced, text)


def main():
    """Prints every table, or writes the pages of this checkout."""
    parser = argparse.ArgumentParser(description="What studies have found so far.")
    parser.add_argument("--write", action="store_true", help="Into README and docs, with the figure.")
    found = tables()
    if not parser.parse_args().write:
        for name, lines in found.items():
            print(f"{name}\n\n" + "\n".join(lines) + "\n")
        return
    from dreal_tf.experiments.studies.figures import gain_intervals

    top = recipes_folder().parent
    for page in map(Path, PAGES):
        write_whole(top / page, filled((top / page).read_text(encoding="utf-8"), found))
    studies = kept_studies(GAIN)
    if not studies:
        return
    figure = gain_intervals(gains(studies), DRAWN)
    figure.savefig(top / FIGURE, dpi=160)


if __name__ == "__main__":
    main()
