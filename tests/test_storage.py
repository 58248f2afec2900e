"""Damaged and hostile files are refused by name before they are read; files are written whole or not at all."""

import contextlib
import io
import json
import os
import stat
import subprocess
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from faults import FAULTS, Killed
from fresh_process import started

from dreal_tf.errors import InputError, RunError
from dreal_tf.storage import (
    FLOOR,
    PREFIX,
    check_new_folder,
    check_replaceable,
    check_sums,
    checked_zip,
    csv_rows,
    locked,
    new_folder,
    read_json,
    read_kept,
    read_network,
    reading,
    remove_whole,
    replacing,
    reporting_disk_errors,
    scratch,
    sums_text,
    write_whole,
)

CURE = "Restore it."


def refused(path, reason):
    return pytest.raises(
        InputError, match=rf"Expected [^.]*\. Received: [^\n]*{path.name}.*{reason}.*{CURE}"
    )


# Text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "JSONDecodeError"),
        (b'{"loss": 0.', "JSONDecodeError"),
        (b"\x89PNG\r\n\x1a\n", "UnicodeDecodeError"),
        (b"[1, 2]", "it holds a list"),
        (b'{"loss": 1}', "field 'accuracy' is missing or of another type"),
        (b"[" * 200_000, "RecursionError"),
    ],
)
def test_json_that_is_none_is_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with refused(path, reason):
        read_json(path, "the metrics", CURE, {"accuracy": float})


@pytest.mark.parametrize(
    "target", ["nothing", "folder", "pipe", "link to nothing", "link to a folder", "link to /dev/zero"]
)
def test_what_is_no_file_is_refused_by_name(tmp_path, target):
    path = tmp_path / "metrics.json"
    if target == "folder":
        path.mkdir()
    elif target == "pipe":
        os.mkfifo(path)
    elif target.startswith("link"):
        targets = {"link to a folder": tmp_path, "link to /dev/zero": "/dev/zero"}
        path.symlink_to(targets.get(target, "none"))
    with refused(path, "no regular file|is not there"):
        read_json(path, "the metrics", CURE)


def test_rows_that_are_cut_short_are_refused():
    assert csv_rows('path,split\r\n"a\nb",test\r\n') == (["path", "split"], [["a\nb", "test"]])
    text = "epoch,loss\n0,0.25\n1,0.125\n"
    for end in range(len(text)):  # At every byte but those at which a row ends.
        if text[:end].endswith("\n"):
            assert len(csv_rows(text[:end])[1]) == text[:end].count("\n") - 1
        else:
            with pytest.raises(ValueError, match="cut short|empty"):
                csv_rows(text[:end])
    with pytest.raises(ValueError, match="row 2 has 1 of 2 cells"):
        csv_rows("epoch,loss\n0,1\n1\n")
    with pytest.raises(ValueError, match="lacks the columns seconds"):
        csv_rows(text, ("epoch", "seconds"))


# Checksums ---------------------------------------------------------------------------------------------


def test_every_changed_bit_of_a_recorded_file_is_noticed(tmp_path):
    for folder in (tmp_path, tmp_path / "variables"):
        folder.mkdir(exist_ok=True)
        (folder / "numbers").write_bytes(b"0.25")
    files = [tmp_path / "numbers", tmp_path / "variables" / "numbers", tmp_path / "none"]
    (tmp_path / "SHA256SUMS").write_text(sums_text(files, tmp_path))
    check_sums(tmp_path)
    assert read_kept(files[0]) == b"0.25"
    files[1].write_bytes(b"0.35")
    with pytest.raises(
        InputError, match="variables/numbers'.*SHA256SUMS beside it records another.*remove"
    ):
        check_sums(tmp_path)
    files[1].unlink()
    with pytest.raises(InputError, match="variables/numbers', which is not there"):
        check_sums(tmp_path)
    files[0].write_bytes(b"0.35")
    with pytest.raises(ValueError, match="records another content"):
        read_kept(files[0])
    (tmp_path / "SHA256SUMS").unlink()
    assert read_kept(files[0]) == b"0.35"


def test_sums_without_end_are_refused(tmp_path):
    (tmp_path / "SHA256SUMS").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="SHA256SUMS', which cannot be read .it is no regular file"):
        check_sums(tmp_path)


@pytest.mark.parametrize("name", ["", "/dev/zero", "../../../../dev/zero"])
def test_sums_that_name_files_elsewhere_are_refused(tmp_path, name):
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n" if name else "remember the milk\n")
    with pytest.raises(InputError, match="SHA256SUMS.*another form.*or remove it"):
        check_sums(tmp_path)


# Messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "advice",
    [
        "Weights only load failed. Re-running `torch.load` with `weights_only` set to `False` will succeed",
        "you can disable this error by passing `safe_mode=False` to `load_model()`",
        "If you trust the file you can load it unsafely using the `allow_pickle=` keyword argument",
    ],
)
def test_no_advice_to_load_unsafely_is_passed_on(advice, tmp_path):
    with pytest.raises(InputError) as error, reading(tmp_path / "weights.pth", "weights", CURE):
        raise RuntimeError(advice)
    assert "holds Python objects or code, which are not loaded" in str(error.value)
    assert advice[-20:] not in str(error.value)


# Archives ----------------------------------------------------------------------------------------------


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE_MEMBERS = {
    "a link": ([link("query/1.jpg")], "link or a device"),
    "absolute": (["/etc/passwd"], "leads out"),
    "upward": (["query/../../1.jpg"], "leads out"),
    "upward by backslashes": (["query\\..\\..\\1.jpg"], "leads out"),
    "a drive": (["C:/1.jpg"], "leads out"),
    "twice": (["query/1.jpg", "query/1.jpg"], "in it twice"),
    "a device": (["query/NUL.jpg"], "name of a device"),
}


@pytest.mark.parametrize("kind", HOSTILE_MEMBERS)
def test_a_hostile_member_is_refused(tmp_path, kind):
    members, reason = HOSTILE_MEMBERS[kind]
    path = tmp_path / "identities.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the second name.
        for member in members:
            archive.writestr(member, "/etc/passwd")
    with pytest.raises(ValueError, match=reason):
        checked_zip(path)


def bomb(path, name, copies=1, size=2**24):
    """An archive of zeros: of one member, or of many that share its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for copy in range(copies):
            archive.writestr(name.format(copy), bytes(size))


def test_a_bomb_is_refused_before_anything_is_unpacked(tmp_path):
    path = tmp_path / "identities.zip"
    bomb(path, "query/{}.jpg", copies=FLOOR // 2**24 + 1)
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="claim to hold"):
        checked_zip(path)
    assert list(tmp_path.iterdir()) == [path]


# Networks ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="first")]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_weights(members, change):
    """The members of an archive, its HDF5 file changed by a function of the file and a Dense layer's group."""
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file, file["layers/dense/vars" if "dense" in file["layers"] else "layers/first/vars"])
    return members | {"model.weights.h5": content.getvalue()}


def replace(variables, **options):
    del variables["0"]
    variables.create_dataset("0", **options)


def virtual(file, variables):
    layout = h5py.VirtualLayout((2, 3), "float32")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "data", (2, 3))
    del variables["0"]
    variables.create_virtual_dataset("0", layout)


def linked(link):
    def change(file, variables):
        del variables["0"]
        variables["0"] = link

    return change


HOSTILE_WEIGHTS = {
    "external link": (linked(h5py.ExternalLink("/etc/secret.h5", "/data")), "link to another place"),
    "soft link": (linked(h5py.SoftLink("/layers")), "link to another place"),
    "external storage": (
        lambda file, variables: replace(
            variables, shape=(2, 3), dtype="float32", external=[("/etc/passwd", 0, 24)]
        ),
        "in another file",
    ),
    "virtual": (virtual, "in another file"),
    "huge": (
        lambda file, variables: replace(
            variables, shape=(2**20, 2**20), dtype="float32", chunks=(2**10, 2**10)
        ),
        "claim to hold",
    ),
    "compressed": (
        lambda file, variables: replace(
            variables, data=np.zeros((FLOOR // 2**12 + 1, 2**10), "float32"), compression="gzip"
        ),
        "claim to hold",
    ),
    "one array often": (
        lambda file, variables: [
            file.create_dataset("large", data=np.zeros(2**22, "float32")),
            *(file.__setitem__(f"copy{n}", file["large"]) for n in range(400)),
        ],
        "claim to hold",
    ),
    "deep": (lambda file, variables: file.create_group("g/" * 200), "nested deeper"),
    "text": (lambda file, variables: replace(variables, data=["a", "b"]), "not numbers"),
    "pairs": (
        lambda file, variables: replace(variables, shape=(2,), dtype=[("a", "f4"), ("b", "f4")]),
        "not numbers",
    ),
    "a circle": (
        lambda file, variables: variables.__setitem__("again", file["layers"]),
        "linked twice",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE_WEIGHTS)
def test_hostile_weights_are_refused_in_every_kind_of_file(tmp_path, network, kind):
    from dreal_tf.networks.pretrained import read_arrays

    change, reason = HOSTILE_WEIGHTS[kind]
    members = with_weights(network, change)
    path = written(tmp_path / "network.keras", members)
    with refused(path, reason):
        read_network(path, CURE)
    for ending in (".weights.h5", ".h5"):
        weights = tmp_path / f"network{ending}"
        weights.write_bytes(members["model.weights.h5"])
        with pytest.raises(InputError, match=rf"{weights.name}'.*{reason}"):
            read_arrays(weights)


def nested(depth):
    return ("[" * depth + "]" * depth).encode()


def config_of(members, **changes):
    config = json.loads(members["config.json"])
    (layer,) = (layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
    layer["config"] |= changes
    return members | {"config.json": json.dumps(config).encode()}


def with_lambda(members):
    code = {
        "class_name": "__lambda__",
        "config": {"code": "4wEAAAA=", "defaults": None, "closure": None},
    }
    return config_of(members, activation=code)


HOSTILE_NETWORKS = {
    "foreign member": (lambda members: members | {"setup.py": b""}, "no part of a network"),
    "upward asset": (lambda members: members | {"assets/../../x": b""}, "leads out"),
    "no weights": (lambda members: {n: c for n, c in members.items() if n[0] == "c"}, "KeyError"),
    "deep config": (lambda members: members | {"config.json": nested(200_000)}, "RecursionError"),
    "deep config within Python's limit": (
        lambda members: members | {"config.json": nested(900)},
        "cannot be read",
    ),
    "a lambda": (with_lambda, "Python objects or code"),
    "another function": (
        lambda members: config_of(
            members, activation={"module": "os", "class_name": "function", "config": "system"}
        ),
        "cannot be read",
    ),
    "a setting of Keras": (
        lambda members: config_of(
            members,
            activation={
                "module": "keras.config",
                "class_name": "function",
                "config": "enable_unsafe_deserialization",
                "registered_name": "enable_unsafe_deserialization",
            },
        ),
        "function of keras.config",
    ),
    "more units than weights": (
        lambda members: config_of(members, units=10**9),
        "weights are not in it",
    ),
    "not numbers": (lambda members: config_of(members, units="many"), "cannot be read"),
}


@pytest.mark.parametrize("kind", HOSTILE_NETWORKS)
def test_a_hostile_network_is_refused(tmp_path, network, kind):
    change, reason = HOSTILE_NETWORKS[kind]
    path = written(tmp_path / "network.keras", change(network))
    with refused(path, reason) as error:
        read_network(path, CURE)
    assert "safe_mode" not in str(error.value)


def test_a_network_is_read_whole_or_refused(tmp_path, network):
    """Cut at any place, or with any hundredth of its bytes flipped."""
    path = written(tmp_path / "network.keras", network)
    whole = path.read_bytes()
    expected = read_network(path, CURE).get_weights()
    random = np.random.default_rng(0)
    for end in (0, 1, len(whole) // 2, len(whole) - 1, *random.integers(2, len(whole), 3)):
        path.write_bytes(whole[:end])
        with refused(path, ""):
            read_network(path, CURE)
    for _ in range(5):
        flipped = np.frombuffer(whole, "uint8").copy()
        flipped[random.choice(len(whole), len(whole) // 100, replace=False)] ^= 1
        path.write_bytes(flipped.tobytes())
        with refused(path, ""):
            read_network(path, CURE)
    path.write_bytes(whole)
    for one, other in zip(read_network(path, CURE).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Writing ------------------------------------------------------------------------------------------

KEEP = """
import sys, time
from dreal_tf.storage import locked, scratch
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


def test_a_removal_that_was_cut_short_ends_at_the_next(tmp_path):
    folder = tmp_path / "run"
    for _ in range(2):  # The folder is there, then only what a killed removal has left of it.
        (folder / "checkpoints").mkdir(parents=True)
        with contextlib.suppress(Killed), FAULTS.inside(tmp_path, "kill", at=1):
            remove_whole(folder)
        assert [name for name in names(tmp_path) if name.startswith(PREFIX)]
        remove_whole(folder)
        assert not names(tmp_path)
    remove_whole(tmp_path / "missing" / "run")


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
