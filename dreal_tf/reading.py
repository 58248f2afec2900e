"""Reads files that may be damaged, belong to something else, or come from a stranger: one function a format.

`SHA256SUMS` in a folder, as the command `sha256sum` writes and checks it, tells whether its files are still
those that were written.
"""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pydantic

from dreal_tf.errors import InputError, RunError

SUMS = "SHA256SUMS"
LETTERS = 200  # A library's message is cut here.
# A library's advice to load a file unsafely must not reach the user.
UNSAFE = re.compile("unsafe|safe_mode|weights_only|allow_pickle|pickle", re.IGNORECASE)
# An archive or HDF5 file may claim this many times its size, or this many bytes. Networks are stored
# uncompressed, and photographs can hardly be compressed.
EXPANSION, FLOOR = 20, 2**28
MEMBERS = 4_000_000  # An archive's limit; ImageNet has 1.3 million images.
DEPTH = 100  # The limit of nested groups in an HDF5 file.
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # On Windows.
LAYER_SIZES = {"units", "filters", "kernel_size", "input_dim", "output_dim", "key_dim"}
TOOLS = re.compile(r"keras\.(src\.)?(config|utils|saving)\b.*")
NETWORK_MEMBER = re.compile(r"metadata\.json|config\.json|model\.weights\.h5|assets/.*")


@contextlib.contextmanager
def reading(path, expected, cure):
    """Turns the errors of a file's damage, which are of many kinds, into one message that names it.

    Keep the code inside it to the reading alone: it takes every error for one of the file.

    Args:
        path: str or path of the file.
        expected: str, such as "the metrics of a run".
        cure: str, a sentence that says what to do.
    Raises:
        InputError: in place of the error.
    Example:
        >>> try:
        ...     with reading("metrics.json", "the metrics of a run", "Restore the file."):
        ...         json.loads("{")
        ... except InputError as error:
        ...     print(str(error)[:80])
        Expected the metrics of a run. Received: 'metrics.json', which cannot be read (J
    """
    try:
        yield
    except (InputError, RunError):  # Their messages are complete.
        raise
    except Exception as error:
        absent = isinstance(error, FileNotFoundError)
        problem = "is not there" if absent else f"cannot be read ({_reason(error)})"
        raise InputError(
            f"Expected {expected}. Received: {str(path)!r}, which {problem}. {cure}"
        ) from error


def _reason(error):
    """An error in one line, without advice to trust the file."""
    if isinstance(error, pydantic.ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    text = " ".join(str(error).encode(errors="backslashreplace").decode().split())
    if UNSAFE.search(text):
        return "it holds Python objects or code, which are not loaded"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = text if len(text) <= LETTERS else f"{text[:LETTERS]}..."
    return text if type(error) is ValueError else f"{type(error).__name__}: {text}"


def read_kept(path, folder=None):
    """The bytes of a file, which must be those that `SHA256SUMS` records, if it names the file.

    Args:
        path: path.
        folder: path of the folder with `SHA256SUMS`; None for the file's.
    Returns:
        bytes.
    Raises:
        ValueError, OSError: if the content is not the recorded one, or cannot be read; for `reading`.
        InputError: if `SHA256SUMS` itself is damaged.
    """
    path = Path(path)
    folder = path.parent if folder is None else folder
    content, recorded = _content(path), read_sums(folder).get(path.relative_to(folder).as_posix())
    if recorded is not None and recorded != hashlib.sha256(content).hexdigest():
        raise ValueError(
            f"{SUMS} beside it records another content; remove that if the change is yours"
        )
    return content


def _content(path):
    if path.exists() and not path.is_file():  # A pipe would wait, a device might have no end.
        raise ValueError("it is no regular file")
    return path.read_bytes()


def read_sums(folder):
    """The SHA-256 of the files in a folder, as `SHA256SUMS` there records them.

    Args:
        folder: path.
    Returns:
        Dict of str by name; empty if there is no such file.
    Raises:
        InputError: if it cannot be read.
    """
    path = Path(folder) / SUMS
    if not os.path.lexists(path):
        return {}
    with reading(path, "lines of a SHA-256 and a file's name", "Restore the file, or remove it."):
        lines = _content(path).decode().splitlines()
        # No name leads out of the folder: such a file could be endless.
        matches = [re.fullmatch(r"([0-9a-f]{64})  (?!/|.*\.\.)(.+)", line) for line in lines]
        if None in matches or not matches:
            raise ValueError("a line is of another form")
        return {match[2]: match[1] for match in matches}


def check_sums(folder):
    """Checks all files that `SHA256SUMS` in a folder records.

    Args:
        folder: path.
    Raises:
        InputError: if one is not there, or its content is another.
    """
    for name in read_sums(folder):
        with reading(folder / name, f"a file that {SUMS} records", f"Restore it, or remove {SUMS}."):
            read_kept(folder / name, folder)


def sums_text(paths, folder=None):
    """The text of a `SHA256SUMS`.

    Args:
        paths: iterable of paths of files; those that do not exist are skipped.
        folder: path of the folder that it is for; None for theirs.
    Returns:
        str.
    """
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  "
        f"{path.relative_to(folder or path.parent).as_posix()}\n"
        for path in paths
        if path.is_file()
    )


def read_json(path, expected, cure, fields=None):
    """A JSON object in a file.

    Args:
        path, expected, cure: see `reading`.
        fields: dict from the name of each field that it must have to its type; or None.
    Returns:
        Dict.
    Raises:
        InputError: if it cannot be read, is no JSON object, or a field is missing.
    """
    with reading(path, expected, cure):
        values = json.loads(read_kept(path).decode())
        if not isinstance(values, dict):
            raise ValueError(f"it holds a {type(values).__name__}")
        for name, kind in (fields or {}).items():
            if name not in values or not isinstance(values[name], kind):
                raise ValueError(f"its field {name!r} is missing or of another type")
        return values


def csv_rows(text, columns=()):
    """The rows of a CSV file whose every row ends in a line end.

    The csv module reads them, because pandas refuses paths that are not UTF-8 and fills short rows up.

    Args:
        text: str.
        columns: sequence of str, the columns that it must have.
    Returns:
        List of str, the columns; and list of lists of str, as long, the rows.
    Raises:
        ValueError, csv.Error: if it is cut short or not such a file; for `reading`.
    Example:
        >>> csv_rows("arm,seed\\na,0\\n")
        (['arm', 'seed'], [['a', '0']])
    """
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True) if text else [[]]
    if len(set(header)) < len(header):
        raise ValueError("it has a column twice")
    if not text.endswith(("\n", '"')):  # A quoted cell is whole without a line end.
        raise ValueError("it is empty" if not text else "its last line is cut short")
    if missing := [column for column in columns if column not in header]:
        raise ValueError(f"it lacks the columns {', '.join(missing)}")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} of {len(header)} cells")
    return header, rows


def checked_zip(path):
    """Opens a zip file after a look at the names and sizes of its members; nothing is unpacked.

    Args:
        path: path.
    Returns:
        `zipfile.ZipFile`.
    Raises:
        ValueError: if a member is a link, no file, or has a name that is twice in it, leads out of a folder
            or is a device's; or if all are far larger than the archive; for `reading`.
        OSError, zipfile.BadZipFile: if it is damaged.
    """
    archive = zipfile.ZipFile(path)
    try:
        members = archive.infolist()
        if len(members) > MEMBERS:
            raise ValueError(f"it has {len(members)} members")
        _check_size(sum(member.file_size for member in members), Path(path).stat().st_size)
        names = set()
        for member in members:
            name = member.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{name!r} in it is a link or a device")
            if name.startswith("/") or ".." in parts or re.match("[a-zA-Z]:", name):
                raise ValueError(f"{name!r} in it leads out of its folder")
            if any(DEVICE.fullmatch(part) for part in parts):
                raise ValueError(f"{name!r} in it is the name of a device")
            if name in names and not name.endswith("/"):
                raise ValueError(f"{name!r} is in it twice")
            names.add(name)
    except BaseException:
        archive.close()
        raise
    return archive


def _check_size(claimed, stored):
    if claimed > max(FLOOR, EXPANSION * stored):
        raise ValueError(f"its {stored} bytes claim to hold {claimed}")


def check_hdf5(file, stored):
    """Refuses what an HDF5 file of weights does not need, before any of its arrays is read.

    Args:
        file: open `h5py.File`.
        stored: int, its size (bytes).
    Raises:
        ValueError: if a link leads elsewhere, an array lies in another file or holds other things than
            numbers, or all arrays are far larger than the file; for `reading`.
    """
    import h5py

    claimed, groups, entered = 0, [file], set()
    while groups:
        group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in entered:
            raise ValueError(f"{group.name!r} in it is linked twice")
        entered.add(address)
        for name in group:
            item_path = f"{group.name.rstrip('/')}/{name}"
            if item_path.count("/") > DEPTH:
                raise ValueError(f"its groups are nested deeper than {DEPTH}")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{item_path!r} in it is a link to another place")
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
                continue
            if not isinstance(item, h5py.Dataset) or item.shape is None:
                raise ValueError(f"{item_path!r} in it is no array")
            if item.is_virtual or item.external:
                raise ValueError(f"{item_path!r} in it lies in another file")
            # Keras keeps bfloat16 as two opaque bytes.
            if item.dtype.kind not in "fiubV" or item.dtype.names or item.dtype.subdtype:
                raise ValueError(f"{item_path!r} in it holds {item.dtype}, not numbers")
            claimed += math.prod(item.shape) * item.dtype.itemsize
    _check_size(claimed, stored)


def _check_config(config, numbers):
    """Refuses Keras's own tools in a network, and a layer with more weights than are stored.

    Keras before 3.11 would run such a tool, and all versions make a layer's weights before they look.
    """
    parts = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if TOOLS.fullmatch(str(part.get("module"))):
                raise ValueError(
                    f"it names a function of {part['module']}, which is no part of a network"
                )
            for name in LAYER_SIZES & part.keys():
                size = part[name] if isinstance(part[name], list) else [part[name]]
                if all(isinstance(n, int) for n in size) and math.prod(size) > numbers:
                    raise ValueError(f"a layer has {name}={part[name]}, and its weights are not in it")
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()


def read_network(path, cure, compile=True):
    """A network in a `.keras` file.

    Args:
        path: path.
        cure: see `reading`.
        compile: bool, see `keras.saving.load_model`.
    Returns:
        `keras.Model`.
    Raises:
        InputError: if it is no such file, is damaged, or holds what no network needs.
    """
    with reading(path, "a network that Keras can load", cure):
        import h5py
        import keras

        read_kept(path)
        with checked_zip(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged!r} in it is damaged")
            for name in archive.namelist():
                if not NETWORK_MEMBER.fullmatch(name):
                    raise ValueError(f"{name!r} in it is no part of a network")
            weights = archive.read("model.weights.h5")
            _check_config(json.loads(archive.read("config.json")), 2 * len(weights))
        with h5py.File(io.BytesIO(weights)) as file:
            check_hdf5(file, len(weights))
        return keras.saving.load_model(path, compile=compile)
