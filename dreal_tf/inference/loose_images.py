"""Images in files and folders, in batches of one size; those that cannot be read are kept with the reason."""

import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from dreal_tf.data import (
    UnreadableImage,
    decoded,
    inspect_image,
    list_files,
    opening_problem,
    summary_of,
    unreadable,
)
from dreal_tf.errors import InputError

BATCH = 32  # Images that go through a network together.

log = logging.getLogger(__name__)


class LooseImages:
    """Images to go through, once.

    Args:
        paths: sequence of paths, of image files and folders; of a folder every file in it and below,
            by name, except those that `dreal_tf.data.list_files` leaves out.
        prepared: callable from a uint8 tensor (height, width, channels) to the array that the network
            takes.
        channels: int, 1 or 3.
        seen: callable that passes an iterable of paths on, such as a progress bar.
    Attributes:
        broken: dict from the path of each image that could not be read to why, filled as they come.
        left_out: dict from the path of each file or folder that is not read to why.
    Raises:
        InputError: if a path does not exist.
    Example:
        >>> tf.io.write_file("black.png", tf.io.encode_png(np.zeros((4, 4, 3), "uint8")))
        >>> [(files, images.shape) for files, images in LooseImages(["black.png"], np.asarray, 3)]
        [(['black.png'], (1, 4, 4, 3))]
    """

    def __init__(self, paths, prepared, channels, seen=iter):
        self.files, self.left_out = _files(paths)
        if self.left_out:
            log.info(summary_of(self.left_out))
        self.prepared, self.channels, self.seen = prepared, channels, seen
        self.broken = {}

    def __iter__(self):
        """Yields pairs: paths, list of str; and their images, array (batch, ...).

        Raises:
            InputError: at the end, if not one could be read.
        """
        files, images, any_read = [], [], False
        for file in self.seen(self.files):
            try:
                content = file.read_bytes()
                inspect_image(content)
                image = self.prepared(decoded(tf.constant(content), self.channels))
            except OSError as error:
                self.broken[str(file)] = opening_problem(error)
                continue
            except (tf.errors.OpError, UnreadableImage) as error:
                self.broken[str(file)] = unreadable(error)
                continue
            any_read = True
            if images and (images[0].shape != image.shape or len(images) == BATCH):
                yield files, np.stack(images)
                files, images = [], []
            files.append(str(file))
            images.append(image)
        if images:
            yield files, np.stack(images)
        if not any_read:
            named = "; ".join(f"{path}: {why}" for path, why in list(self.broken.items())[:3])
            raise InputError(
                f"Expected at least one image that can be read. Received: {named or 'no files'}. Check "
                "the paths."
            )


def _files(paths):
    files, left_out = [], {}
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    for path in map(Path, paths):
        if path.is_dir():
            found = list_files(path)
            files += [path / name for name in found.files]
            left_out |= {str(path / name): why for name, why in found.left_out.items()}
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise InputError(
                f"Expected image files and folders. Received: {str(path)!r}, which does not exist. "
                "Check the path."
            )
    return files, left_out
