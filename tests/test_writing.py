"""Files and folders that are written whole or not at all, by one command at a time."""

import os
import subprocess

import pytest
from fresh_process import started

from dreal_tf.errors import InputError, RunError
from dreal_tf.writing import (
    PREFIX,
    check_new_folder,
    check_replaceable,
    locked,
    new_folder,
    remove_whole,
    replacing,
    reporting_disk_errors,
    scratch,
    write_whole,
)

KEEP = """
import sys, time
from dreal_tf.writing import locked, scratch
from pathlib import Path
with locked(sys.argv[1]), scratch(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print("in", flush=True)
    time.sleep(600)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def keeper(tmp_path):
    """A process that writes the folder `out`."""
    process = started("-c", KEEP, tmp_path / "out")
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.communicate()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "metrics.json"
    write_whole(file, "old")

    def broken(*paths):
        raise OSError("the power went")

    with monkeypatch.context() as outage:
        outage.setattr("os.replace", broken)
        with pytest.raises(OSError, match="the power went"):
            write_whole(file, "a new and longer text")
    assert file.read_text() == "old" and names(tmp_path) == ["metrics.json"]
    write_whole(file, "new")
    assert file.read_text() == "new"


@pytest.mark.parametrize("name", ["x", "x.keras", "a b\n", "é" * 100, "-x", "[x]*?"])
def test_any_name_is_written_and_nothing_else_is_touched(tmp_path, name):
    mine = ["x.partial", ".x", ".x.partial", "x.tmp", ".dreal_tf", "partial.keras", f"{PREFIX}other-1"]
    for one in mine:
        (tmp_path / one).write_text("mine")
    write_whole(tmp_path / name, "new")
    with new_folder(tmp_path / f"{name}2", "for it") as folder:
        (folder / "new").mkdir()
    remove_whole(tmp_path / f"{name}2")
    assert names(tmp_path) == sorted([*mine, name])
    assert all((tmp_path / one).read_text() == "mine" for one in mine)


def test_the_rest_of_a_killed_command_goes_and_that_of_a_living_one_stays(tmp_path, keeper):
    (half,) = tmp_path.glob(f"{PREFIX}*/half")
    for attempt in (
        lambda: check_new_folder(tmp_path / "out", ""),
        new_folder(tmp_path / "out", "").__enter__,
    ):
        with pytest.raises(InputError, match="into which another command writes"):
            attempt()
    assert half.exists()
    with new_folder(tmp_path / "out2", "beside it") as folder:
        (folder / "new").mkdir()
    assert half.exists()
    keeper.kill()
    keeper.communicate()
    check_new_folder(tmp_path / "out", "")
    assert names(tmp_path) == ["out2"]


def test_a_lock_holds_for_the_links_to_its_folder_too(tmp_path, keeper):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(InputError, match="another command writes"), locked(tmp_path / "link"):
        pass


def test_a_lock_leaves_nothing_not_even_the_folders_above(tmp_path):
    with locked(tmp_path / "a" / "b" / "run"):
        assert (tmp_path / "a" / "b").is_dir()
    assert names(tmp_path) == []
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a" / "served", "for it"):
        _ = 1 / 0
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling"])
def test_a_new_folder_replaces_nothing(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder":
        out.mkdir()
    else:
        (tmp_path / "target").mkdir() if kind == "link" else None
        out.symlink_to(tmp_path / "target")
    before = names(tmp_path)
    for attempt in (lambda: check_new_folder(out, "for it"), new_folder(out, "for it").__enter__):
        with pytest.raises(InputError, match="new folder for it.*which exists. Choose another --out"):
            attempt()
    assert names(tmp_path) == before


@pytest.mark.parametrize("place", ["file/out", "/proc/out", "/dev/null/out"])
def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path, place):
    if place.startswith("/proc") and not os.path.isdir("/proc/self"):
        pytest.skip("there is no /proc")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Expected a folder that can be written.*Choose another --out"):
        check_new_folder(tmp_path / place, "for it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_full_or_read_only_disk_is_said(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this system lets no disk be mounted")
    try:
        write_whole(tmp_path / "file", "old")
        with pytest.raises(RunError, match="a full disk"), reporting_disk_errors(tmp_path):
            write_whole(tmp_path / "file", "x" * 2**16)
        assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with pytest.raises(InputError, match="Expected a folder that can be written.*Read-only"):
            check_new_folder(tmp_path / "out", "for it")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_beside_which_nothing_can_be_written_is_locked_inside(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    with locked(tmp_path / "disk"), scratch(tmp_path / "disk"):
        assert names(tmp_path) == ["disk"] and len(names(tmp_path / "disk")) == 2
        with pytest.raises(InputError, match="another command"), locked(tmp_path / "disk"):
            pass
    assert names(tmp_path / "disk") == []


@pytest.mark.parametrize("note", [None, "[]", '{"other": 1}', "no JSON"])
def test_files_of_somebody_else_are_not_replaced(tmp_path, note):
    file, sign = tmp_path / "audit.csv", tmp_path / "audit.json"
    assert check_replaceable("it", [file], sign, ["modules"]) == {}
    file.write_text("mine")
    if note is not None:
        sign.write_text(note)
    with pytest.raises(InputError, match="which is something else. Choose another --out"):
        check_replaceable("it", [file], sign, ["modules"])
    sign.write_text('{"modules": 1, "more": 2}')
    assert check_replaceable("it", [file], sign, ["modules"]) == {"modules": 1, "more": 2}


def test_a_removed_folder_is_said(tmp_path):
    with pytest.raises(RunError, match="gone' to stay while it is written. Received: it was removed"):
        with reporting_disk_errors(tmp_path / "gone"):
            write_whole(tmp_path / "gone" / "file", "new")
    with pytest.raises(FileNotFoundError), reporting_disk_errors(tmp_path):
        (tmp_path / "none").read_text()


def test_what_a_file_is_written_to_has_its_suffix(tmp_path):
    with replacing(tmp_path / "model.keras") as new:
        assert new.suffix == ".keras" and new.parent == tmp_path
        new.write_text("")
