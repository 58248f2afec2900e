"""Which files of a folder, or of an archive, are read; one set of rules for all commands."""

import datetime
import os
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dreal_tf.errors import InputError

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


class ImageTree:
    """Files below a folder, or in a zip file, by their names from there on.

    Args:
        root: path of the folder or zip file.
        begin: str, the folder inside a zip file that names start from, such as "coil100_market/".
    Attributes:
        root: the same.
        zipped: bool.
    Example:
        >>> tf.io.write_file("market/query/0007_c2s1_000151_01.jpg", "")
        >>> ImageTree("market").listing("query").files
        ['query/0007_c2s1_000151_01.jpg']
    """

    def __init__(self, root, begin=""):
        self.root = Path(root)
        self.zipped = self.root.is_file()
        self._begin = begin
        if self.zipped:
            self._archive = zipfile.ZipFile(self.root)
            self._names = [
                name.removeprefix(begin) for name in self._archive.namelist() if name.startswith(begin)
            ]

    def holds(self, name):
        """Whether there is a file or folder of that name."""
        if not self.zipped:
            return (self.root / name).exists()
        return any(there == name or there.startswith(f"{name}/") for there in self._names)

    def listing(self, folder):
        """The files in a folder and below.

        Args:
            folder: str.
        Returns:
            `dreal_tf.data.listing.Listing`, with names from the root on.
        """
        if not self.zipped:
            found = list_files(self.root / folder)
            left_out = {f"{folder}/{name}": why for name, why in found.left_out.items()}
            return Listing([f"{folder}/{name}" for name in found.files], left_out)
        names = [name for name in self._names if name.startswith(f"{folder}/") and name[-1] != "/"]
        reasons = {name: exclusion(name.removeprefix(f"{folder}/")) for name in sorted(names)}
        left_out = {name: why for name, why in reasons.items() if why}
        return Listing([name for name, why in reasons.items() if why is None], left_out)

    def content(self, name):
        """The bytes of a file.

        Raises:
            OSError: if it cannot be opened.
        """
        if not self.zipped:
            return (self.root / name).read_bytes()
        try:
            return self._archive.read(self._begin + name)
        except (KeyError, zipfile.BadZipFile, RuntimeError) as error:
            raise FileNotFoundError(2, str(error)) from error

    def read(self, name):
        """The bytes of a file.

        Raises:
            InputError: if it is not there.
        """
        try:
            return self.content(name)
        except OSError as error:
            raise InputError(
                f"Expected the file {name!r} in {str(self.root)!r}. Received: none that can be read. "
                "Check the path."
            ) from error

    def stamp(self, name):
        """The size (bytes) and modification time (nanoseconds since 1970) of a file, a pair of int.

        Both are 0 of a file that is not there.
        """
        if self.zipped:
            info = self._archive.getinfo(self._begin + name)
            time = datetime.datetime(*info.date_time, tzinfo=datetime.UTC)
            return info.file_size, int(time.timestamp()) * 10**9
        try:
            status = (self.root / name).stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def path(self, name):
        """Where a file lies, str; of a folder alone."""
        return str(self.root / name)


def image_tree(folder, said, marks, table=False):
    """The tree that a `--data-dir` stands for: a folder or zip file, or a folder that holds one.

    Args:
        folder: str, path or None.
        said: str, what is looked for, for the message.
        marks: sequence of str, names that it must hold; of a table nothing.
        table: bool. Whether a CSV file is looked for.
    Returns:
        `ImageTree`; of a table also its name in the tree.
    Raises:
        InputError: if there is none, or more than one.
    """
    root = Path(folder).expanduser() if folder else None
    if root is None or not root.exists():
        raise InputError(
            f"Expected {said}, on this machine. Received: data.folder={folder!r}"
            f"{', which does not exist' if folder else ''}. Give it with --data-dir DIR; it is not "
            "fetched from anywhere."
        )
    found = _tables(root) if table else list(_trees(root, marks))
    if len(found) != 1:
        holds = sorted(path.name for path in root.iterdir())[:8] if root.is_dir() else [root.name]
        places = [str(tree.root) for tree, *_ in found] if table else [str(tree.root) for tree in found]
        which = f"several: {', '.join(places)}" if found else f"{', '.join(holds) or 'nothing'}"
        raise InputError(
            f"Expected {said}, in a folder or a zip file. Received: {str(root)!r} with {which}. Point "
            "--data-dir at the one."
        )
    return found[0]


def _tables(root):
    if root.is_file():
        return [(ImageTree(root.parent), root.name)]
    return [(ImageTree(root), path.name) for path in sorted(root.glob("*.csv"))]


def _trees(root, marks):
    """Where all marks are: here, else in a folder in here, else in a zip file in here."""
    if root.is_file():
        return _zipped([root], marks)
    if all((root / mark).exists() for mark in marks):
        return [ImageTree(root)]
    below = [path for path in sorted(root.iterdir()) if path.is_dir()]
    trees = [ImageTree(path) for path in below if all((path / mark).exists() for mark in marks)]
    return trees or _zipped(sorted(root.glob("*.zip")), marks)


def _zipped(files, marks):
    trees = []
    for file in files:
        if not zipfile.is_zipfile(file):
            continue
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        tops = {name.split("/")[0] + "/" for name in names if "/" in name}
        for begin in ("", *sorted(tops)):
            own = [name.removeprefix(begin) for name in names if name.startswith(begin)]
            if all(any(n == mark or n.startswith(f"{mark}/") for n in own) for mark in marks):
                trees.append(ImageTree(file, begin))
                break
    return trees
