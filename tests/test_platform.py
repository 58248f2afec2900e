"""Windows, macOS and Linux: no module of one system, no default encoding, no import that Keras does not need."""

import ast
import functools
import json

import pytest
from fresh_process import COMMAND, REPOSITORY, ended

SOURCES = [path for folder in ("dreal_tf", "recipes") for path in (REPOSITORY / folder).rglob("*.py")]

# Third parties and the standard library import these where they exist; our own modules never may.
WITHOUT_POSIX = """
import builtins, sys
POSIX = {"fcntl", "resource", "pwd", "grp", "termios"}
plain_import = builtins.__import__

def windows_import(name, globals=None, *rest, **named):
    if name in POSIX and (globals or {}).get("__name__", "").startswith("dreal_tf"):
        raise ImportError(f"No module named {name!r}, imported by {globals['__name__']}")
    return plain_import(name, globals, *rest, **named)

builtins.__import__ = windows_import
"""
EVERY_HELP = """
from dreal_tf.cli.main import VERBS, main

for arguments in [["--help"], *([verb.__name__, "--help"] for verb in VERBS)]:
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code == 0, (arguments, end.code)
assert "tensorflow" not in sys.modules
import dreal_tf
dreal_tf.DREAL
"""


def test_no_posix_module_is_imported_by_any_help_or_by_the_package():
    process = ended("-c", WITHOUT_POSIX + EVERY_HELP)
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.count("Usage:") == 15


def test_a_posix_module_is_caught_if_ours_imports_it():
    ours = "exec('import fcntl', {'__name__': 'dreal_tf.ours'})"
    process = ended("-c", WITHOUT_POSIX + ours)
    assert "No module named 'fcntl', imported by dreal_tf.ours" in process.stderr


@functools.cache
def loaded(code):
    """Names of the modules that some code loads, in a fresh process."""
    code += "\nimport json, sys\nsys.stdout.write(json.dumps(list(sys.modules)))"
    process = ended("-c", code)
    assert process.returncode == 0, process.stderr[-2000:]
    return set(json.loads(process.stdout))


@pytest.mark.parametrize("code", ["import dreal_tf", "from dreal_tf import DREAL"])
def test_the_package_loads_nothing_beside_keras_and_tensorflow(code):
    """Whole names: a part of scikit-learn that Keras leaves alone would count, too."""
    beyond = loaded(code) - loaded("import keras, tensorflow")
    assert {
        name for name in beyond if name.partition(".")[0] not in ("dreal_tf", "wrapt", "lazy_loader")
    } == set()


def calls(text):
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


def without_encoding(text):
    """Lines of the calls that open or pass text in the default encoding of the system."""
    return [
        call.lineno for call in calls(text) if takes_text(call) and "encoding" not in words_of(call)
    ]


def takes_text(call):
    method, words = isinstance(call.func, ast.Attribute), words_of(call)
    name = call.func.attr if method else getattr(call.func, "id", "")
    if ast.unparse(call.func) in ("Image.open", "os.open"):
        return False  # Pictures, and files without a buffer, are no text.
    if name == "open":
        # The mode stands first in `path.open(mode)`, second in `open(path, mode)`.
        return "b" not in mode_of(call, 0 if method else 1, "r")
    if name in ("NamedTemporaryFile", "TemporaryFile"):
        return "b" not in mode_of(call, 0, "w+b")
    return name in ("read_text", "write_text") or words.get("text") == "True"


def words_of(call):
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def mode_of(call, position, default):
    given = [ast.unparse(argument) for argument in call.args[position : position + 1]]
    return words_of(call).get("mode", *(given or [default]))


def test_every_text_names_its_encoding():
    lines = {path: without_encoding(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert len(lines) > 100 and not {path: numbers for path, numbers in lines.items() if numbers}


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(text)", True),
        ("path.open()", True),
        ("path.open('w', newline='')", True),
        ("path.open('wb')", False),
        ("path.open(mode='rb')", False),
        ("open(path)", True),
        ("Image.open(path)", False),
        ("open(path, 'rb')", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, text=True, encoding='utf-8')", False),
        ("subprocess.run(command)", False),
        ("NamedTemporaryFile()", False),
        ("NamedTemporaryFile('w')", True),
    ],
)
def test_what_counts_as_text_without_an_encoding(line, missing):
    assert bool(without_encoding(line)) == missing


def test_only_commands_print():
    """A module logs, unless it is run by itself or belongs to the command line."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if "cli" not in path.parts and 'if __name__ == "__main__":' not in text:
            assert not [c.lineno for c in calls(text) if getattr(c.func, "id", "") == "print"], path


def test_standard_output_is_utf_8_whatever_the_system_prefers(tmp_path):
    folder = ["--set", "data.name=folder", "--set", "data.folder=Ā"]
    printed = ["train", "digits_resnet8_se", *folder, "--print-recipe"]
    process = ended(*COMMAND, *printed, folder=tmp_path, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert process.returncode == 0, process.stderr[-2000:]
    assert json.loads(process.stdout)["data"]["folder"].endswith("Ā")


@pytest.mark.parametrize(
    ("prepared", "expected"),
    [
        ("import dreal_tf", ""),
        (
            "from dreal_tf.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass",
            "a line\n",
        ),
    ],
)
def test_the_command_line_shows_the_log_and_a_library_stays_quiet(prepared, expected):
    """`absl`, which TensorFlow imports, must not show the line a second time."""
    logs = "import absl.logging, logging\nlogging.getLogger('dreal_tf.training.train').info('a line')"
    process = ended("-c", f"{prepared}\n{logs}")
    lines = [line for line in process.stderr.splitlines(keepends=True) if "a line" in line]
    assert process.returncode == 0 and "".join(lines) == expected
