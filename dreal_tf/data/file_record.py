"""Which file belongs to which split: recorded by a run, so that later files move none of them."""

import csv
import hashlib
import io
import itertools
import warnings
from typing import NamedTuple

from dreal_tf.errors import InputError

LEFT_OUT = "left out"  # The split of a file that was there and is not used.
NAMED = 3  # Files that a message names; it counts the others.


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


# The columns of splits.csv, in the order of `FileRow`.
COLUMNS = ("path", "bytes", "modified_ns", "sha256", "class", "split")


class FileRecord(NamedTuple):
    """The files of a data set by split, and how the files that are there now differ from them.

    Attributes:
        rows: tuple of `FileRow`, in the order in which a split has them.
        missing, changed, new: tuples of str, paths.
    """

    rows: tuple
    missing: tuple = ()
    changed: tuple = ()
    new: tuple = ()

    def paths(self, split):
        """The recorded paths of a split that are still there, list of str, in order."""
        gone = set(self.missing)
        return [row.path for row in self.rows if row.split == split and row.path not in gone]

    def difference(self):
        """Text: how the files differ from the recorded ones; "" if they do not."""
        parts = [
            f"{len(paths)} {word} ({', '.join(paths[:NAMED])}{', ...' if paths[NAMED:] else ''})"
            for word, paths in (("missing", self.missing), ("changed", self.changed), ("new", self.new))
            if paths
        ]
        return ", ".join(parts)

    def copies(self):
        """Text: the images whose content is in two splits or in two classes; "" if there are none.

        Files that were not read count for none.
        """
        by_content = {}
        for row in self.rows:
            if row.sha256 and row.split != LEFT_OUT:
                by_content.setdefault(row.sha256, []).append(row)
        several = [rows for rows in by_content.values() if len(rows) > 1]
        splits = [{row.split for row in rows} for rows in several]
        pairs = itertools.combinations(("train", "validation", "test"), 2)
        counts = {f"both {one} and {two}": sum({one, two} <= s for s in splits) for one, two in pairs}
        counts["two classes"] = sum(len({row.label for row in rows}) > 1 for rows in several)
        parts = [f"{count} in {where}" for where, count in counts.items() if count]
        named = [
            f"{rows[0].path} = {other.path}"
            for rows in several
            for other in rows[1:]
            if (other.split, other.label) != (rows[0].split, rows[0].label)
        ]
        more = ", ..." if named[NAMED:] else ""
        return f"{', '.join(parts)} ({', '.join(named[:NAMED])}{more})" if parts else ""

    def warn(self, root):
        """Warns of files that differ from the recorded ones.

        Args:
            root: path of the data set, for the message.
        """
        if self.difference():
            warnings.warn(
                f"The files in {root} are not those that the run has recorded: {self.difference()}. New "
                "ones are left out.",
                stacklevel=4,
            )

    def check_unchanged(self):
        """Refuses files that were changed or are missing; new ones are harmless, as none is used.

        Raises:
            InputError: naming some.
        """
        if self.missing or self.changed:
            raise InputError(
                "Expected the files that the run began with. Received: others: "
                f"{self.difference()}. Restore them, or begin anew with --fresh."
            )

    def to_csv(self):
        """The text of splits.csv."""
        text = io.StringIO()
        # Names of files may hold line ends, which the minimal quoting passes over.
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(COLUMNS)
        writer.writerows(self.rows)
        return text.getvalue()


def record_of(tree, members, names, sha256):
    """The record of a data set that no run has recorded.

    Args:
        tree: `dreal_tf.data.listing.ImageTree`.
        members: sequence of (split, name, label), in the order of each split.
        names: collection of str, all files; those without a split are recorded as left out.
        sha256: dict of str by name, of the files that were read.
    Returns:
        `FileRecord`.
    """
    used = {name for _, name, _ in members}
    members = [*members, *((LEFT_OUT, name, "") for name in sorted(set(names) - used))]
    return FileRecord(
        tuple(
            FileRow(name, *tree.stamp(name), sha256.get(name, ""), label, split)
            for split, name, label in members
        )
    )


def no_recorded_images(split, root):
    """An `InputError` for a split of whose recorded images none is there, to be raised by the caller."""
    return InputError(
        f"Expected the {split} images that the run has recorded. Received: {str(root)!r}, which holds "
        "none of them. Give the folder that the run was trained on with --data-dir."
    )


def read_record(path):
    """The rows of a splits.csv.

    Args:
        path: path.
    Returns:
        `FileRecord`.
    Raises:
        InputError: if it is none.
    """
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    try:
        if tuple(header) != COLUMNS:
            raise ValueError(f"the columns {', '.join(header) or 'of an empty file'}")
        rows = [FileRow(p, int(size), int(modified), *rest) for p, size, modified, *rest in rows]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Expected recorded splits with the columns {', '.join(COLUMNS)}. Received: {str(path)!r} "
            f"with {error}. Restore the file, or train again with --fresh."
        ) from error
    return FileRecord(tuple(rows))


def compared(record, tree, names):
    """A record, and how the files that are there now differ from it.

    Size and modification time are compared first; only where they differ the content.

    Args:
        record: `FileRecord`.
        tree: `dreal_tf.data.listing.ImageTree`.
        names: collection of str, the files that are there now.
    Returns:
        `FileRecord`.
    """
    present, missing, changed = set(names), [], []
    for row in {row.path: row for row in record.rows if row.split != LEFT_OUT}.values():
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
