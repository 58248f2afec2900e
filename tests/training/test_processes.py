"""Modules of the package in processes of their own."""

import pytest
from fresh_process import ended

START = """
import os, subprocess, sys
from dreal_tf.training.processes import module_command

os.chdir(sys.argv[1])
done = subprocess.run(module_command(sys.argv[2]), input=b"", capture_output=True)
print(done.stderr.decode())
"""


@pytest.mark.parametrize("module", ["dreal_tf.experiments.worker", "dreal_tf.analysis.benchmark"])
def test_they_load_nothing_from_the_current_folder(tmp_path, module):
    for name in ("random", "json", "numpy", "runpy", "keras", "tensorflow", "dreal_tf"):
        (tmp_path / f"{name}.py").write_text(f"open({name + '.ran'!r}, 'w')")
    done = ended("-P", "-c", START, tmp_path, module)
    # Each reads its order from standard input, which is empty.
    assert "JSON" in done.stdout.splitlines()[-2], done.stdout + done.stderr
    assert not list(tmp_path.glob("*.ran"))
