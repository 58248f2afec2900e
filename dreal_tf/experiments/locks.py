"""Locks on folders, so that two commands never write into the same one by mistake."""

import contextlib

from filelock import FileLock, Timeout

from dreal_tf.errors import InputError

PATIENCE = 10  # Seconds to wait for another process that is just taking or refusing its lock.


@contextlib.contextmanager
def locked_folder(path, in_use, worker=None):
    """Makes a folder and keeps other commands out of it; the locks end with the process.

    Args:
        path: path of the folder.
        in_use: str, the error message when another command writes into the folder.
        worker: str or None. Name of this process among the workers that share the folder; None: it
            works alone.
    Raises:
        InputError: if the folder cannot be written, or another command writes into it.
    Example:
        >>> with locked_folder(Path("study"), "The folder is in use."):
        ...     Path("study").is_dir()
        True
    """
    alone = path / "lock_alone"
    with contextlib.ExitStack() as held:
        try:
            path.mkdir(parents=True, exist_ok=True)
            with FileLock(path / "lock", timeout=PATIENCE):  # One process at a time looks and takes.
                if worker is not None:
                    _check_free([alone])
                    held.enter_context(FileLock(path / f"lock_worker_{worker}", timeout=0))
                else:
                    _check_free(path.glob("lock_worker_*"))
                    held.enter_context(FileLock(alone, timeout=0))
        except Timeout as error:
            raise InputError(in_use) from error
        except OSError as error:
            raise InputError(
                f"Expected a folder that can be written. Received: {str(path)!r} "
                f"({error.strerror}). Choose another --out."
            ) from error
        yield


def _check_free(paths):
    for path in paths:
        with FileLock(path, timeout=0):
            pass
