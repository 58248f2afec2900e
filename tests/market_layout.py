"""A few coloured images in the layouts that re-identification sets come in."""

import numpy as np
from PIL import Image

MARKET = ("bounding_box_train", "query", "bounding_box_test")


def paint(path, identity, seed, size=(24, 12)):
    """An image whose colours are an identity's, by noise."""
    colours = np.random.default_rng(identity + 2).uniform(40, 215, (2, 2, 3))
    rows, columns = (np.arange(side) * 2 // side for side in size)
    pixels = np.random.default_rng(seed).normal(colours[rows][:, columns], 24)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(path, quality=95)


def market(root, train=range(2, 12), others=range(30, 36), cameras=(1, 2, 3), each=2, folders=MARKET):
    """Identities seen by cameras: `each` images by every one, of which one is a query."""
    seed = 0
    for folder, identities, images in zip(
        folders, (train, others, others), (each, 1, each), strict=True
    ):
        for identity in identities:
            for camera in cameras:
                for number in range(images):
                    seed += 1
                    name = f"{identity:04d}_c{camera}s1_{seed:06d}_0{number}.jpg"
                    paint(root / folder / name, identity, seed)
    return root
