"""The files of a data set: which are read, in a folder or an archive, and the record of their splits.

One set of rules for all commands says which files of a folder are read. A run records which file belongs
to which split, so that later files move none of them.
"""

import csv
import datetime
import errno
import hashlib
import io
import itertools
import os
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dreal_tf.errors import InputError, checked_path, received
from dreal_tf.storage import checked_zip, csv_rows, read_kept, reading

# Files and folders of macOS, Windows, network storage, version control and annotation tools.
SYSTEM_FILE = re.compile(
    r"(eh)?thumbs(_vista)?\.db|desktop\.ini|icon\r|picasa\.ini|zbthumbnail\.info|descript\.ion"
    r"|.*:(zone\.identifier|com\.apple\.quarantine|encryptable)",  # Streams that other systems cannot attach.
    re.IGNORECASE | re.DOTALL,
)
SYSTEM_FOLDER = re.compile(
    r"__macosx|@eadir|[#@]recycle|@recently-snapshot|@tmp|@synofinder-log|@synoresource|[~#]snapshot|found\.000"
    r"|network trash folder|temporary items|captureone|cvs|\$recycle\.bin|system volume information|lost\+found"
    r"|__pycache__",
    re.IGNORECASE,
)
# Names that a class may have too. A system leaves such a folder beside images or at the top of a disk.
AMBIGUOUS_FOLDER = re.compile("thumbnails|recycled|recycler", re.IGNORECASE)
# The image formats that are read, by Pillow's name, and how their files' names end.
FORMATS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "GIF": (".gif",), "BMP": (".bmp",)}
FORMATS |= {"WEBP": (".webp",)}
IMAGE_ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)
LISTED_ANYWAY = "a link to a folder that is listed anyway"
NO_BYTES = "no file of bytes"
NAMED = 3  # Files that a message names; it counts the others.
SHOWN = 60  # Letters of a very long name that a summary shows from its start, and from its end.


def first_few(texts, most=NAMED, separator=", "):
    """Names a few things in a message, and counts the others.

    Args:
        texts: sequence of str.
        most: int. Number of texts to name.
        separator: str.
    Returns:
        Str.
    Example:
        >>> first_few(["a.png", "b.png", "c.png", "d.png"], most=2)
        'a.png, b.png, and 2 more'
    """
    others = len(texts) - most
    return separator.join([*texts[:most], *([f"and {others} more"] if others > 0 else [])])


# A text that a spreadsheet runs as a formula, and one that is marked as none; the marks are apostrophes.
FORMULA = re.compile("'*[=+\\-@＝＋－＠\t\r\n]")


def csv_cell(value):
    """A value as a cell of CSV that no spreadsheet runs: such a name gets an apostrophe before it.

    Args:
        value: anything; only a str may change.
    Returns:
        The same, or a longer str.
    Example:
        >>> csv_cell("=1+2.png"), csv_cell("cats/-1.png"), csv_cell(-1.5)
        ("'=1+2.png", 'cats/-1.png', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def name_in_cell(cell):
    """The name that `csv_cell` wrote.

    Example:
        >>> [name_in_cell(csv_cell(name)) for name in ("=1", "'=1", "'a", "a")]
        ['=1', "'=1", "'a", 'a']
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def shown_name(name):
    """A name as text that figures, pages and JSON can hold: control characters and bytes that are not UTF-8 as escapes.

    Example:
        >>> shown_name("caf\\udce9"), shown_name("tabby cat")
        ('caf\\\\xe9', 'tabby cat')
    """
    text = os.fsencode(str(name)).decode("utf-8", errors="backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: ascii(control[0])[1:-1], text)


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: list of str, by name: paths from the folder on, with "/" on every system. A link to
            nothing is among them, so that reading it names it.
        skipped: dict from the path of each skipped file or folder to the reason, str. A folder ends in "/".
    """

    files: list
    skipped: dict


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
        >>> list_files("album").skipped
        {'a/.1.png': 'hidden', 'a/@eaDir/': 'left by a system'}
    """
    root, files, skipped = Path(root), [], {}
    folders = [("", closed)]  # Each with the folders that may not be entered again.
    while folders:  # Recursion would end at a depth that folders can reach.
        folder, above = folders.pop()
        try:
            identity = folder_identity(root / folder)
            entries = list(os.scandir(root / folder))
        except OSError as error:
            skipped[folder] = f"cannot be opened: {error.strerror}"
            continue
        if identity in above:
            skipped[folder] = LISTED_ANYWAY
            continue
        beside_images = any(ends_like_image(entry.name) for entry in entries)
        for entry in entries:
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()  # For a link: its target.
            except OSError as error:
                skipped[folder + entry.name] = f"cannot be opened: {error.strerror}"
                continue
            name = folder + entry.name + ("/" if is_folder else "")
            reason = exclusion(name.removeprefix(folder), beside_images)
            if not reason and not is_folder and not is_file and not entry.is_symlink():
                reason = NO_BYTES  # For example a pipe, which would block.
            if reason:
                skipped[name] = reason
            elif is_folder:
                folders.append((name, above | {identity}))
            else:
                files.append(name)
    return Listing(sorted(files), dict(sorted(skipped.items())))


def folder_identity(path):
    """Device and inode, which identify a folder by whichever path or link it is reached.

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
    """The reason why listings skip a file or folder of that name.

    Args:
        name: str, a path with "/"; a folder's may end in it.
        beside_images: bool. Whether images lie beside it: if not, a folder such as `thumbnails` is a
            class like any other.
    Returns:
        Str, or None if it is listed.
    Example:
        >>> [exclusion(name) for name in ("cats/1.jpg", "cats/.1.jpg", "__MACOSX/cats/1.jpg")]
        [None, 'hidden', 'left by a system']
        >>> exclusion("thumbnails/"), exclusion("thumbnails/", beside_images=False)
        ('left by a system', None)
    """
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") for part in parts):
        return "hidden"
    folders = parts if name.endswith("/") else parts[:-1]
    by_system = SYSTEM_FILE.fullmatch(parts[-1]) or any(map(SYSTEM_FOLDER.fullmatch, folders))
    by_system = by_system or (beside_images and any(map(AMBIGUOUS_FOLDER.fullmatch, folders)))
    return "left by a system" if by_system else None


def summary_of(skipped):
    """Counts skipped files by reason, and names some.

    Args:
        skipped: dict from path to reason.
    Returns:
        Str; "" if it is empty.
    Example:
        >>> summary_of({"a/.1.png": "hidden", "a/.2.png": "hidden"})
        '2 skipped: hidden 2 (a/.1.png, a/.2.png)'
    """
    parts = []
    for reason, count in Counter(skipped.values()).most_common():
        names = [_short(name.replace("\r", "")) for name, why in skipped.items() if why == reason]
        parts.append(f"{reason} {count} ({first_few(names)})")
    return f"{len(skipped)} skipped: {'; '.join(parts)}" if skipped else ""


def _short(name):
    return name if len(name) <= 2 * SHOWN else f"{name[:SHOWN]}...{name[-SHOWN:]}"


def bytes_of(path):
    """The bytes of a file.

    Args:
        path: str or path.
    Returns:
        Bytes.
    Raises:
        OSError: if it cannot be opened, or is a pipe or a device, which may never end.
    Example:
        >>> tf.io.write_file("notes.txt", "b")
        >>> bytes_of("notes.txt")
        b'b'
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, NO_BYTES)
    try:
        return Path(path).read_bytes()
    except ValueError as error:  # A NUL character in the name.
        raise OSError(errno.EINVAL, str(error)) from error


class ImageTree:
    """Files below a folder, or in a zip file, by their names from there on.

    Args:
        root: path of the folder or zip file.
        top: str, the folder inside a zip file that names start from, such as "coil100_market/".
    Attributes:
        root: the same.
        zipped: bool.
        names: list of str, those of a zip file's members.
    Example:
        >>> tf.io.write_file("market/query/0007_c2s1_000151_01.jpg", "")
        >>> ImageTree("market").listing("query").files
        ['query/0007_c2s1_000151_01.jpg']
    """

    def __init__(self, root, top=""):
        self.root = Path(root)
        self.zipped = self.root.is_file()
        self._top = top
        if self.zipped:
            with reading(
                self.root, "a zip file of images", "Unpack it and give the folder, or write it again."
            ):
                self._archive = checked_zip(self.root)
            names = self._archive.namelist()
            self.names = [name.removeprefix(top) for name in names if name.startswith(top)]

    def holds(self, name):
        """Whether there is a file or folder of that name."""
        if not self.zipped:
            return (self.root / name).exists()
        return any(entry == name or entry.startswith(f"{name}/") for entry in self.names)

    def listing(self, folder):
        """The files in a folder and below.

        Args:
            folder: str.
        Returns:
            `Listing`, with names from the root on.
        """
        if not self.zipped:
            below = list_files(self.root / folder)
            skipped = {f"{folder}/{name}": reason for name, reason in below.skipped.items()}
            return Listing([f"{folder}/{name}" for name in below.files], skipped)
        names = [name for name in self.names if name.startswith(f"{folder}/") and name[-1] != "/"]
        reasons = {name: exclusion(name.removeprefix(f"{folder}/")) for name in sorted(names)}
        skipped = {name: reason for name, reason in reasons.items() if reason}
        return Listing([name for name in reasons if name not in skipped], skipped)

    def content(self, name):
        """The bytes of a file.

        Raises:
            OSError: if it cannot be opened.
        """
        if not self.zipped:
            return bytes_of(self.root / name)
        try:
            return self._archive.read(self._top + name)
        except Exception as error:  # Damage raises errors of each way of compression.
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

        Both are 0 if the file is missing.
        """
        if self.zipped:
            info = self._archive.getinfo(self._top + name)
            time = datetime.datetime(*info.date_time, tzinfo=datetime.UTC)
            return info.file_size, int(time.timestamp()) * 10**9
        try:
            status = (self.root / name).stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def path(self, name):
        """The path of a file in a folder, str."""
        return str(self.root / name)


def image_tree(folder, expected, marks):
    """The tree that a `--data-dir` stands for: a folder or zip file, or a folder that holds one.

    Args:
        folder: str, path or None.
        expected: str, the data set, for the message.
        marks: sequence of str, names that it must hold.
    Returns:
        `ImageTree`.
    Raises:
        InputError: if there is none, or more than one.
    """
    root = _existing(folder, expected)
    trees = _trees(root, marks)
    _check_only([tree.root for tree in trees], root, expected)
    return trees[0]


def image_table(folder, expected):
    """The CSV file that a `--data-dir` stands for, or that lies in it.

    Args:
        folder, expected: see `image_tree`.
    Returns:
        `ImageTree` of the table's folder, and the table's name in it.
    Raises:
        InputError: see `image_tree`.
    """
    root = _existing(folder, expected)
    files = [root] if root.is_file() else sorted(root.glob("*.csv"))
    _check_only(files, root, expected)
    return ImageTree(files[0].parent), files[0].name


def given_folder(folder):
    """A data set's folder in a message, under both names that a user may have given it by.

    Example:
        >>> given_folder("photos"), given_folder(None)
        ("--data-dir 'photos' (data.folder)", 'no --data-dir (data.folder)')
    """
    return (
        f"--data-dir {received(str(folder))} (data.folder)" if folder else "no --data-dir (data.folder)"
    )


def _existing(folder, expected):
    root = checked_path(os.path.expanduser(folder)) if folder else None
    if root is None or not root.exists():
        raise InputError(
            f"Expected {expected}, on this machine. Received: {given_folder(folder)}"
            f"{', which does not exist' if folder else ''}. Give it with --data-dir DIR; it is not "
            "fetched from anywhere."
        )
    return root


def _check_only(paths, root, expected):
    if len(paths) != 1:
        contents = sorted(path.name for path in root.iterdir())[:8] if root.is_dir() else [root.name]
        several = f"several: {', '.join(map(str, paths))}" if paths else ""
        received = several or ", ".join(contents) or "nothing"
        raise InputError(
            f"Expected {expected}, in a folder or a zip file. Received: {str(root)!r} with {received}. Point "
            "--data-dir at the one."
        )


def _trees(root, marks):
    """The trees that hold all marks: the root, else folders in it, else zip files in it."""

    def marked(trees):
        return [tree for tree in trees if all(map(tree.holds, marks))]

    if root.is_dir():
        folders = [ImageTree(path) for path in sorted(root.iterdir()) if path.is_dir()]
        trees = marked([ImageTree(root)]) or marked(folders)
        if trees:
            return trees
    trees = []
    files = [root] if root.is_file() else sorted(filter(Path.is_file, root.glob("*.zip")))
    for file in filter(zipfile.is_zipfile, files):
        names = ImageTree(file).names
        matches = map(re.compile(rf"([^/]+/)?{re.escape(marks[0])}(/|$)").match, names)
        tops = sorted({match[1] or "" for match in matches if match})
        trees += marked(ImageTree(file, top) for top in tops)[:1]
    return trees


# The split of a file that was there and is not used. splits.csv of all runs so far spells it so.
UNUSED = "left out"


class FileRow(NamedTuple):
    """A file of a data set.

    Attributes:
        path: str, from the data set's folder on, with "/".
        size: int (bytes).
        modified: int, modification time (nanoseconds since 1970).
        sha256: str, or "" if the files were not read.
        label: str, the class or identity.
        split: str.
    """

    path: str
    size: int
    modified: int
    sha256: str
    label: str
    split: str


RECORDED_SPLITS = {UNUSED, "train", "validation", "test", "query", "gallery"}
RECORDED_SPLITS |= {"validation_query", "validation_gallery", ""}  # Files of a prepared set have none.
# The columns of splits.csv, in the order of `FileRow`.
COLUMNS = ("path", "bytes", "modified_ns", "sha256", "class", "split")


class FileRecord(NamedTuple):
    """The files of a data set by split, and how the present files differ from them.

    Attributes:
        rows: tuple of `FileRow`, in the order in which a split has them.
        missing, changed, new: tuples of str, paths.
    """

    rows: tuple
    missing: tuple = ()
    changed: tuple = ()
    new: tuple = ()

    def present(self, split, root, unreadable=()):
        """The recorded rows of a split whose files are still there, in order.

        Args:
            split: str.
            root: path of the data set, for the message.
            unreadable: collection of str, paths that count as missing.
        Returns:
            List of `FileRow`.
        Raises:
            InputError: if there is none.
        """
        missing = {*self.missing, *unreadable}
        rows = [row for row in self.rows if row.split == split and row.path not in missing]
        if not rows:
            raise InputError(
                f"Expected the {split} images that the run has recorded. Received: {str(root)!r}, which "
                "holds none of them. Give the folder that the run was trained on with --data-dir."
            )
        return rows

    def difference(self):
        """Text: how the files differ from the recorded ones; "" if they do not."""
        groups = {"missing": self.missing, "changed": self.changed, "new": self.new}
        parts = [f"{len(paths)} {word} ({first_few(paths)})" for word, paths in groups.items() if paths]
        return ", ".join(parts)

    def copies(self):
        """Text: the images whose content is in two splits or in two classes; "" if there are none.

        Files that were not read do not count.
        """
        by_content = {}
        for row in self.rows:
            if row.sha256 and row.split != UNUSED:
                by_content.setdefault(row.sha256, []).append(row)
        groups = [rows for rows in by_content.values() if len(rows) > 1]
        splits = [{row.split for row in rows} for rows in groups]
        pairs = itertools.combinations(("train", "validation", "test"), 2)
        counts = {f"both {one} and {two}": sum({one, two} <= s for s in splits) for one, two in pairs}
        counts["two classes"] = sum(len({row.label for row in rows}) > 1 for rows in groups)
        parts = [f"{count} in {where}" for where, count in counts.items() if count]
        named = [
            f"{first.path} = {other.path}"
            for first, *others in groups
            for other in others
            if (other.split, other.label) != (first.split, first.label)
        ]
        return f"{', '.join(parts)} ({first_few(named)})" if parts else ""

    def warn(self, root):
        """Warns of files that differ from the recorded ones.

        Args:
            root: path of the data set, for the message.
        """
        if self.difference():
            warnings.warn(
                f"The files in {root} are not those that the run has recorded: {self.difference()}. New "
                "ones are not used.",
                stacklevel=4,
            )

    def check_unchanged(self):
        """Refuses files that were changed or are missing; new ones are harmless, as none is used.

        Raises:
            InputError: naming some.
        """
        if self.missing or self.changed:
            raise InputError(
                "Expected the files that the run started with. Received: others: "
                f"{self.difference()}. Restore them, or start again with --fresh."
            )

    def to_csv(self):
        """The text of splits.csv."""
        text = io.StringIO()
        # Names of files may hold line ends, which minimal quoting does not quote.
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(COLUMNS)
        writer.writerows(map(csv_cell, row) for row in self.rows)
        return text.getvalue()


def record_of(tree, members, names, sha256):
    """The record of a data set that no run has recorded.

    Args:
        tree: `ImageTree`.
        members: dict from a split to a pair of sequences, its files and their labels, in order.
        names: collection of str, all files; those without a split are recorded as not used.
        sha256: dict of str by name, for the files that were read.
    Returns:
        `FileRecord`.
    """
    unused = sorted(set(names).difference(*(files for files, _ in members.values())))
    members = members | {UNUSED: (unused, [""] * len(unused))}
    return FileRecord(
        tuple(
            FileRow(str(name), *tree.stamp(name), sha256.get(name, ""), str(label), split)
            for split, (files, labels) in members.items()
            for name, label in zip(files, labels, strict=True)
        )
    )


def read_record(path):
    """The rows of a splits.csv.

    Args:
        path: path.
    Returns:
        `FileRecord`.
    Raises:
        InputError: if it is not one.
    """
    expected = f"recorded splits with the columns {', '.join(COLUMNS)}"
    with reading(path, expected, "Restore the file, or train again with --fresh."):
        header, rows = csv_rows(read_kept(path).decode(errors="surrogateescape"))
        if tuple(header) != COLUMNS:
            raise ValueError(f"it has the columns {', '.join(header)}")
        rows = [[name_in_cell(cell) for cell in row] for row in rows]
        rows = [FileRow(p, int(size), int(modified), *rest) for p, size, modified, *rest in rows]
        for row in rows:
            if row.split not in RECORDED_SPLITS:
                raise ValueError(f"{row.path!r} is of the split {row.split!r}")
    return FileRecord(tuple(rows))


def checked_before(record, tree):
    """The files that another run has checked and used, of the same size and modification time.

    Args:
        record: `FileRecord` of it, or None.
        tree: `ImageTree`.
    Returns:
        Dict of str: their SHA-256 by name.
    """
    rows = record.rows if record is not None else ()
    used = (row for row in rows if row.sha256 and row.split != UNUSED)
    return {row.path: row.sha256 for row in used if tree.stamp(row.path) == (row.size, row.modified)}


def compared(record, tree, names):
    """A record, and how the present files differ from it.

    The content is compared only if size or modification time differs.

    Args:
        record: `FileRecord`.
        tree: `ImageTree`.
        names: collection of str, the present files.
    Returns:
        `FileRecord`.
    """
    present, missing, changed = set(names), [], []
    for row in {row.path: row for row in record.rows if row.split != UNUSED}.values():
        if row.path not in present:
            missing.append(row.path)
        elif tree.stamp(row.path) != (row.size, row.modified) and not _same_content(row, tree):
            changed.append(row.path)
    new = sorted(present - {row.path for row in record.rows})
    return FileRecord(record.rows, tuple(missing), tuple(changed), tuple(new))


def _same_content(row, tree):
    try:
        return bool(row.sha256) and digest(tree.content(row.path)) == row.sha256
    except OSError:
        return False


def digest(content):
    """The SHA-256 of bytes, str."""
    return hashlib.sha256(content).hexdigest()
