"""Writes files and folders whole or not at all, by one command at a time.

Everything that the package writes passes through here. A killed command leaves nothing but files whose
hidden names begin with `PREFIX`, beside their targets; the next command that writes the target removes them.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

from dreal_tf.errors import InputError, RunError, checked_path
from dreal_tf.reading import SUMS, sums_text

PREFIX = ".dreal_tf-"
FULL = (errno.ENOSPC, errno.EDQUOT)


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
    """Removes a folder so that it is there whole or not at all.

    Args:
        path: path; it need not exist.
    """
    if path.exists():
        os.rename(path, new := _new_name(path))
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
