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
    "found.000",
    "network trash folder",
    "temporary items",
    "captureone",
    "cvs",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
}
# Names that a class may have too. A system leaves such a folder beside images or at the top of a disk.
WORDS = {"thumbnails", "recycled", "recycler"}
SYSTEM_FOLDERS |= WORDS
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
LISTED_ANYWAY = "a link to a folder that is listed anyway"
NAMED = 3  # Files that a summary names for each reason; it counts the others.
SHOWN = 60  # Letters of a very long name that a summary shows from its begin, and from its end.


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: list of str, by name: paths from the folder on, with "/" on every system. A link to
            nothing is among them, so that reading it names it.
        left_out: dict from such a path to the reason, str. A folder ends in "/".
    """

    files: list
    left_out: dict


def list_files(root, closed=frozenset()):
    """The files in a folder and below.

    Args:
        root: str or path.
        closed: set of `folder_identity`. A link to one of these folders is not followed.
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
    root, files, left_out = Path(root), [], {}
    folders = [("", closed)]  # Each with the folders that may not be entered again.
    while folders:  # No recursion, which ends at a depth that folders can reach.
        folder, above = folders.pop()
        try:
            identity = folder_identity(root / folder)
            entries = list(os.scandir(root / folder))
        except OSError as error:
            left_out[folder] = f"cannot be opened: {error.strerror}"
            continue
        if identity in above:
            left_out[folder] = LISTED_ANYWAY
            continue
        beside = any(ends_like_image(entry.name) for entry in entries)
        for entry in entries:
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()  # Of a link: what it leads to.
            except OSError as error:
                left_out[folder + entry.name] = f"cannot be opened: {error.strerror}"
                continue
            end = "/" if is_folder else ""
            reason = exclusion(entry.name + end, beside)
            if not reason and not is_folder and not is_file and not entry.is_symlink():
                reason = "no file of bytes"  # Such as a pipe, which would be waited for.
            if reason:
                left_out[folder + entry.name + end] = reason
            elif is_folder:
                folders.append((folder + entry.name + end, above | {identity}))
            else:
                files.append(folder + entry.name)
    return Listing(sorted(files), dict(sorted(left_out.items())))


def folder_identity(path):
    """What tells a folder from all others, whichever path or link leads to it.

    Raises:
        OSError: if it cannot be reached.
    """
    status = path.stat()
    return status.st_dev, status.st_ino


def ends_like_image(name):
    """Whether a file's name ends like an image's.

    Example:
        >>> [ends_like_image(name) for name in ("query/1.JPG", "query/readme.txt")]
        [True, False]
    """
    return name.lower().endswith(IMAGE_ENDINGS)


def exclusion(name, beside_images=True):
    """Why a file or folder is left out of listings, by its name.

    Args:
        name: str, a path with "/"; a folder's may end in it.
        beside_images: bool. Whether images lie beside it: if not, a folder such as `thumbnails` is a
            class like any other.
    Returns:
        Str, or None if it counts.
    Example:
        >>> [exclusion(name) for name in ("cats/1.jpg", "cats/.1.jpg", "__MACOSX/cats/1.jpg")]
        [None, 'hidden', 'left by a system']
        >>> exclusion("thumbnails/"), exclusion("thumbnails/", beside_images=False)
        ('left by a system', None)
    """
    *folders, last = PurePosixPath(name).parts
    if any(part.startswith(".") for part in (*folders, last)):
        return "hidden"
    folders += [last] if name.endswith("/") else []
    system = SYSTEM_FOLDERS if beside_images else SYSTEM_FOLDERS - WORDS
    if last.lower().endswith(SYSTEM_ENDINGS):
        return "left by a system"
    if last.lower() in SYSTEM_FILES or any(part.lower() in system for part in folders):
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
        shown = ", ".join(_short(name.replace("\r", "")) for name in names[:NAMED])
        parts.append(f"{reason} {count} ({shown}{more})")
    return f"{len(left_out)} left out: {'; '.join(parts)}" if left_out else ""


def _short(name):
    return name if len(name) <= 2 * SHOWN else f"{name[:SHOWN]}...{name[-SHOWN:]}"
