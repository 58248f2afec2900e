"""Images below a folder or in a zip file, by name."""

import datetime
import zipfile
from pathlib import Path

from dreal_tf.data.listing import Listing, exclusion, list_files
from dreal_tf.errors import InputError


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
