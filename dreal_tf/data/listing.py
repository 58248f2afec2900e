"""The files of a data set, by one set of rules for training, prediction, indexing and retrieval.

Every visible file counts. Hidden files and folders, and those that systems and programs leave, do not;
links are followed. What a listing leaves out is kept with the reason.
"""

import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Left by macOS, Windows, network storage, version control and annotation tools.
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info"}
SYSTEM_FOLDERS = {
    "__macosx",
    "@eadir",
    "#recycle",
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


def list_files(root):
    """The files in a folder and below.

    Args:
        root: str or path.
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
    _walk(Path(root), "", (), files, left_out)
    return Listing(sorted(files), dict(sorted(left_out.items())))


def _walk(root, folder, above, files, left_out):
    path = root / folder
    identity = path.stat().st_dev, path.stat().st_ino
    if identity in above:
        left_out[folder] = "a link to a folder that holds it"
        return
    for entry in os.scandir(path):
        is_folder = entry.is_dir()  # Of a link: what it leads to.
        name = folder + entry.name + ("/" if is_folder else "")
        reason = exclusion(name)
        if reason:
            left_out[name] = reason
        elif is_folder:
            _walk(root, name, (*above, identity), files, left_out)
        else:
            files.append(name)


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
        parts.append(f"{reason} {count} ({', '.join(names[:NAMED])}{more})")
    return f"{len(left_out)} left out: {'; '.join(parts)}" if left_out else ""
