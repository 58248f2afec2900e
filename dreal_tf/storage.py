"""Files, read with care and written whole.

Reading: a file may be damaged, belong to something else, or come from a stranger; there is one function a
format. `SHA256SUMS` in a folder, as the command `sha256sum` writes and checks it, tells whether its files are
still those that were written.

Writing: files and folders are written whole or not at all, by one command at a time; everything that the
package writes passes through here. A killed command leaves nothing but files whose hidden names begin with
`PREFIX`, beside their targets; the next command that writes the target removes them.
"""

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pydantic

from dreal_tf.errors import InputError, RunError, checked_path

SUMS = "SHA256SUMS"
PREFIX = ".dreal_tf-"
FULL = (errno.ENOSPC, errno.EDQUOT)
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


def is_ours(path):
    """Whether a name is one that only this package gives: a lock, or the rest of a killed command.

    Args:
        path: path.
    Example:
        >>> is_ours(Path("runs/.dreal_tf-0123456789ab-77.json")), is_ours(Path("runs/recipe.json.partial"))
        (True, False)
    """
    return path.name.startswith(PREFIX)


def _own_name(path, ending):
    """A name beside a path; of one length, since file systems limit it."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    # Nothing can be written beside some folders, such as a disk that a container mounts.
    inside = path.is_dir() and not os.access(path.parent, os.W_OK)
    return (path if inside else path.parent) / f"{PREFIX}{digest}{ending}"


def _new_name(path):
    """The temporary name of this process for a path, after the removal of those of killed ones.

    Its suffix is the path's, from which libraries tell the format.
    """
    start = _own_name(path, "-")
    for leftover in [one for one in start.parent.iterdir() if one.name.startswith(start.name)]:
        _remove(leftover)
    return _own_name(path, f"-{os.getpid()}{path.suffix}")


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path):
    """Yields a path to write a file to, which replaces another when it is whole.

    Args:
        path: path of the file to replace, or to make.
    Example:
        >>> with replacing(Path("note.txt")) as new:
        ...     _ = new.write_text("whole")
        >>> [file.name for file in Path().iterdir()]
        ['note.txt']
    """
    new = _new_name(path)
    try:
        yield new
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def write_whole(path, content):
    """Writes a file so that it exists whole or not at all.

    Args:
        path: path.
        content: str or bytes.
    """
    if isinstance(content, str):  # The name of a file, as in splits.csv, need not be UTF-8.
        content = content.encode("utf-8", errors="surrogateescape")
    with replacing(path) as new:
        new.write_bytes(content)


def append(path, text):
    """Appends lines to a file; a kill can leave the last one cut short.

    Args:
        path: path of a file that `write_whole` has begun.
        text: str.
    """
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


def write_json(path, values):
    """Writes a JSON file whole or not at all.

    Args:
        path: path.
        values: what JSON can hold.
    """
    write_whole(path, json.dumps(values, indent=2) + "\n")


def write_sealed(last, content, files, folder):
    """Writes the file that a command writes last, and before it `SHA256SUMS` of this and other files.

    Args:
        last: path of the file, in the folder. While it is missing, the command has not ended.
        content: str.
        files: iterable of paths of the other files.
        folder: path.
    """
    for path in (folder / SUMS, last):
        path.unlink(missing_ok=True)  # An interruption must leave none of other files.
    line = f"{hashlib.sha256(content.encode()).hexdigest()}  {last.relative_to(folder).as_posix()}\n"
    write_whole(folder / SUMS, sums_text(files, folder) + line)
    write_whole(last, content)


def remove_whole(path):
    """Removes a folder so that it is there whole or not at all, and what a killed command left of it.

    Args:
        path: path; it need not exist.
    """
    if path.parent.is_dir():
        new = _new_name(path)
        if path.exists():
            os.rename(path, new)
            _remove(new)


@contextlib.contextmanager
def scratch(path):
    """Yields a temporary folder beside a path, on the same disk; it is removed at the end.

    Args:
        path: path of the file or folder that is made with it.
    """
    folder = _new_name(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def new_folder(path, purpose):
    """Yields a temporary folder, whose folder `new` becomes a new folder at the end.

    Args:
        path, purpose: see `check_new_folder`.
    Raises:
        InputError: as `check_new_folder`.
    Example:
        >>> with new_folder(Path("served"), "to export to") as folder:
        ...     (folder / "new").mkdir()
        >>> [file.name for file in Path().iterdir()]
        ['served']
    """
    with locked(path), reporting_disk_errors(path.parent):
        _check_absent(path, purpose)
        with scratch(path) as folder:
            yield folder
            _refuse_present(path, purpose)  # The user may have made it meanwhile.
            os.rename(folder / "new", path)


def check_new_folder(path, purpose):
    """Refuses an existing folder or file, and a place that cannot be written; writes nothing.

    Args:
        path: str or path.
        purpose: str, such as "to export to".
    Returns:
        Path.
    Raises:
        InputError: if it exists, this system can have no such path, it cannot be written, or another command writes it.
    Example:
        >>> print(check_new_folder("served", "to export to"))
        served
    """
    path = checked_path(path)
    with locked(path):
        _check_absent(path, purpose)
    return path


def _check_absent(path, purpose):
    _new_name(path)  # A command that was killed at its very end left something beside it.
    _refuse_present(path, purpose)


def _refuse_present(path, purpose):
    if os.path.lexists(path):
        raise InputError(
            f"Expected a new folder {purpose}. Received: {str(path)!r}, which exists. Choose another "
            "--out, or remove it."
        )


def check_replaceable(what, files, note, keys):
    """Refuses to overwrite files that this package did not write.

    Args:
        what: str, such as "the report".
        files: sequence of path. Some of the files that a command is about to replace.
        note: path of the JSON file that it writes first.
        keys: sequence of str that tell such a note from others.
    Returns:
        Dict: the earlier note; empty if there is none.
    Raises:
        InputError: if one of them exists, and the note is not there or another.
    """
    present = [path for path in (*files, note) if os.path.lexists(path)]
    try:
        earlier = json.loads(note.read_text(encoding="utf-8")) if note in present else {}
        known = isinstance(earlier, dict) and (not earlier or set(keys) <= set(earlier))
        if known and (note in present or not present):
            return earlier
    except ValueError:
        pass  # It is not ours.
    raise InputError(
        f"Expected a new place for {what}, or that of an earlier one. Received: {str(present[0])!r}, which "
        "is something else. Choose another --out, or move it away."
    )


@contextlib.contextmanager
def locked(path):
    """Keeps other commands from writing a file or a folder, which need not exist.

    The lock is a hidden file beside it; the lock ends with the process, however that ends.

    Args:
        path: str or path.
    Raises:
        InputError: if its place cannot be written, or another command holds the lock.
    Example:
        >>> with locked("run"), locked("run"):
        ...     pass
        Traceback (most recent call last):
        ...
        dreal_tf.errors.InputError: Expected a place that no other command uses. ...
    """
    from filelock import FileLock, Timeout  # Takes a tenth of a second, which `--help` has not.

    real = Path(os.path.realpath(path))  # A link and its target are one folder.
    new_parents = [parent for parent in real.parents if not parent.exists()]
    lock = None
    try:
        with reporting_unwritable(path):
            real.parent.mkdir(parents=True, exist_ok=True)
            file = _own_name(real, ".lock")
            file.touch()  # FileLock waits for a place that cannot be written.
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise InputError(
                    f"Expected a place that no other command uses. Received: {str(path)!r}, into which "
                    "another command writes. Wait for it, or choose another --out."
                ) from error
        yield
    finally:
        try:
            if lock is not None and lock.is_locked:
                with contextlib.suppress(OSError):  # On Windows the release removes it.
                    file.unlink()
            for parent in new_parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()  # If nothing was written.
        finally:
            if lock is not None:
                lock.release()


@contextlib.contextmanager
def reporting_unwritable(path):
    """Replaces the errors of a place that cannot be written.

    Args:
        path: the file or folder to write.
    Raises:
        InputError: in place of an `OSError`.
        RunError: if the disk is full.
    """
    try:
        with reporting_disk_errors(Path(path).parent):
            yield
    except OSError as error:
        raise InputError(
            f"Expected a folder that can be written. Received: {str(path)!r} "
            f"({error.strerror}). Choose another --out."
        ) from error


@contextlib.contextmanager
def reporting_disk_errors(path):
    """Replaces the errors of a full disk or a removed folder, which differ between libraries, by one message.

    Args:
        path: the folder that is being written.
    Raises:
        RunError: in place of the error, with what to do.
    Example:
        >>> try:
        ...     with reporting_disk_errors("runs/mine"):
        ...         raise OSError("No space left on device")
        ... except RunError as error:
        ...     print(str(error)[:60])
        Expected space to write to 'runs/mine'. Received: a full dis
    """
    try:
        yield
    except Exception as error:
        if any(os.strerror(code) in str(error) for code in FULL):
            raise RunError(
                f"Expected space to write to {str(path)!r}. Received: a full disk. Free some, then repeat "
                "the command."
            ) from error
        if os.strerror(errno.ENOENT) in str(error) and not os.path.exists(path):
            raise RunError(
                f"Expected {str(path)!r} to stay while it is written. Received: it was removed. Repeat "
                "the command."
            ) from error
        raise
