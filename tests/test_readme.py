"""README and docs are true: their code runs, their commands and files exist."""

import re

from fresh_process import REPOSITORY, ended

from dreal_tf.cli.main import app
from dreal_tf.method.metrics import InstrumentMetrics, MethodMetrics
from dreal_tf.training.recipe_files import bundled_recipes

README = (REPOSITORY / "README.md").read_text()
PAGES = {
    path: path.read_text() for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
}
# Pages whose code goes on from the README's.
RUN = ("report.md", "tune.md", "audit.md", "prune.md")


def test_the_python_blocks_run_in_their_order(tmp_path):
    text = README + "".join((REPOSITORY / "docs" / name).read_text() for name in RUN)
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 2
    process = ended("-c", "\n".join(blocks), folder=tmp_path)
    assert process.returncode == 0, process.stderr[-2000:]
    assert (tmp_path / "network.keras").is_file()


def test_commands_name_verbs_and_recipes_that_exist():
    verbs = {command.callback.__name__ for command in app.registered_commands}
    named = re.findall(r"dreal-tf (\w+)", README)
    assert set(named) == verbs
    for path, text in PAGES.items():
        assert set(re.findall(r"dreal-tf (\w+)", text)) <= verbs, path
        assert set(re.findall(r"dreal-tf train ([a-z]\w+)", text)) <= set(bundled_recipes()), path


def test_every_part_of_the_package_is_in_the_tree():
    tree = README[README.index("## What lies where") :]
    for path in (REPOSITORY / "dreal_tf").iterdir():
        if path.name.startswith("__") or path.name in ("errors.py", "recipes"):
            continue
        assert path.name in tree, path.name


def test_every_logged_quantity_is_explained():
    table = (REPOSITORY / "docs" / "logs.md").read_text()
    results = [Metrics(["conv4_3/se"]).result() for Metrics in (MethodMetrics, InstrumentMetrics)]
    logged = {name.split("/")[0] for result in results for name in result} | {"loss", "accuracy"}
    for name in logged:
        assert f"`{name}" in table, name


def test_links_lead_somewhere():
    for path, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (path.parent / target).exists(), (path, target)


def test_no_placeholder_is_left():
    for path, text in PAGES.items():
        assert not re.search(r"[A-Z]+_TABLE|TODO|to be measured", text), path
