"""Stops a command at one of its writes, in this process: as a kill does, or as a full disk does."""

import contextlib
import errno
import os
import sys
from pathlib import Path

FULL = os.strerror(errno.ENOSPC)
CHANGES = ("os.rename", "os.remove", "os.rmdir")  # A full disk does not hinder these.


class Killed(BaseException):
    """Nothing catches it, and no clean-up that follows it can write."""


class Faults:
    """A hook on Python's audit events, which come before each write and can prevent it.

    Attributes:
        writes: list of str, the events of the last command; `growing`: those that need space.
    """

    def __init__(self):
        self.root, self.kind, self.at, self.writes, self.growing = None, None, None, [], []
        sys.addaudithook(self._hook)  # It stays for the life of the process.

    @contextlib.contextmanager
    def inside(self, root, kind="kill", at=None):
        """Watches the writes below a folder; from the number `at` on, counted from 0, they fail."""
        self.root, self.kind, self.at, self.writes, self.growing = str(root), kind, at, [], []
        try:
            yield
        finally:
            self.root = None

    @contextlib.contextmanager
    def paused(self):
        """Writes inside count for nothing."""
        root, self.root = self.root, None
        try:
            yield
        finally:
            self.root = root

    def _hook(self, event, arguments):
        if self.root is None:
            return
        grows = event in ("os.mkdir", "test.checkpoint") or (event == "open" and _writes(arguments))
        if not grows and event not in CHANGES:
            return
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path, counted = Path(os.fsdecode(path)), self.growing if self.kind == "full" else self.writes
        failing = self.at is not None and len(counted) >= self.at
        if path.is_absolute():  # The others are those of a folder that is being removed.
            if not str(path).startswith(self.root):
                return
            self.writes.append(f"{event} {path.name}")
            if grows:
                self.growing.append(self.writes[-1])
        if failing and self.kind == "kill":
            raise Killed
        if failing and grows:
            raise OSError(errno.ENOSPC, FULL, str(path))


def _writes(arguments):
    _, mode, flags = arguments
    return any(letter in mode for letter in "wax+") if mode else flags & (os.O_CREAT | os.O_WRONLY)


FAULTS = Faults()
