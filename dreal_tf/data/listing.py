"""The files of a data set, by one set of rules for training, prediction, indexing and retrieval.

Every visible file counts. Hidden files and folders, and those that systems and programs leave, do not;
links are followed. What a listing leaves out is kept with the reason.
"""

import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Left by macOS, Windows, network storage, version control and annotation tools.
SYSTEM_FILES = {
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "picasa.ini",
    "zbthumbnail.info",
    "descript.ion",
}
SYSTEM_ENDINGS = (
    ":zone.identifier",
    ":com.apple.quarantine",
    ":encryptable",
)  # Streams of other systems.
SYSTEM_FOLDERS = {
    "__macosx",
    "@eadir",
    "#recycle",
    "@recycle",
    "@recently-snapshot",
    "@tmp",
    "@synofinder-log",
    "@synoresource",
    "~snapshot",
    "recycler",
    "recycled",
    "found.000",
    "network trash folder",
    "temporary items",
    "captureone",
    "cvs",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbnails",
    "__pycache__",
}
NAMED = 3  # Files that a summary names for each reason; it counts the others.


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: list of str, by name: paths from the folder on, with "/" on every system. A link to
            nothing is among them, so that reading it names it.
        left_out: dict from such a path to the reason, str. A folder ends in "/".
    """

    files: list
    left_out: dict


def list_files(root, top=None):
    """The files in a folder and below.

    Args:
        root: str or path.
        top: path of a folder that holds it, or None. A link to a folder from there on is not followed.
    Returns:
        `Listing`.
    Example:
        >>> for name in ("a/1.png", "a/.1.png", "a/@eaDir/1.png", "2.png"):
        ...     tf.io.write_file(f"album/{name}", "")
        >>> list_files("album").files
        ['2.png', 'a/1.png']
        >>> list_files("album").left_out
        {'a/.1.png': 'hidden', 'a/@eaDir/': 'left by a system'}
    """
    files, left_out = [], {}
    root = Path(root)
    above = [] if top is None else [p for p in root.parents if p == top or top in p.parents]
    _walk(root, "", tuple(map(_identity, above)), files, left_out)
    return Listing(sorted(files), dict(sorted(left_out.items())))


def _walk(root, folder, above, files, left_out):
    identity = _identity(root / folder)
    if identity in above:
        left_out[folder] = "a link to a folder that holds it"
        return
    try:
        entries = list(os.scandir(root / folder))
    except OSError as error:
        left_out[folder] = f"cannot be opened: {error.strerror}"
        return
    for entry in entries:
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()  # Of a link: what it leads to.
        except OSError as error:
            left_out[folder + entry.name] = f"cannot be opened: {error.strerror}"
            continue
        name = folder + entry.name + ("/" if is_folder else "")
        reason = exclusion(name)
        if not reason and not is_folder and not is_file and not entry.is_symlink():
            reason = "no file of bytes"  # Such as a pipe, which would be waited for.
        if reason:
            left_out[name] = reason
        elif is_folder:
            _walk(root, name, (*above, identity), files, left_out)
        else:
            files.append(name)


def _identity(path):
    status = path.stat()
    return status.st_dev, status.st_ino


def exclusion(name):
    """Why a file or folder is left out of listings, by its name.

    Args:
        name: str, a path with "/"; a folder's may end in it.
    Returns:
        Str, or None if it counts.
    Example:
        >>> [exclusion(name) for name in ("cats/1.jpg", "cats/.1.jpg", "__MACOSX/cats/1.jpg")]
        [None, 'hidden', 'left by a system']
    """
    *folders, last = PurePosixPath(name).parts
    if any(part.startswith(".") for part in (*folders, last)):
        return "hidden"
    folders += [last] if name.endswith("/") else []
    if last.lower().endswith(SYSTEM_ENDINGS):
        return "left by a system"
    if last.lower() in SYSTEM_FILES or any(part.lower() in SYSTEM_FOLDERS for part in folders):
        return "left by a system"
    return None


def summary_of(left_out):
    """What was left out, for people.

    Args:
        left_out: dict from path to reason.
    Returns:
        Str; "" if it is empty.
    Example:
        >>> summary_of({"a/.1.png": "hidden", "a/.2.png": "hidden"})
        '2 left out: hidden 2 (a/.1.png, a/.2.png)'
    """
    reasons = Counter(left_out.values())
    parts = []
    for reason, count in reasons.most_common():
        names = [name for name, why in left_out.items() if why == reason]
        more = ", ..." if names[NAMED:] else ""
        shown = ", ".join(name.replace("\r", "") for name in names[:NAMED])
        parts.append(f"{reason} {count} ({shown}{more})")
    return f"{len(left_out)} left out: {'; '.join(parts)}" if left_out else ""
