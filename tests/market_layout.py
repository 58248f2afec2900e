"""Small data sets of coloured images, in the layouts of re-identification sets."""

import csv

import numpy as np
from PIL import Image

from dreal_tf.data.identity_layouts import LAYOUTS

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


def table(path, rows, columns=("path", "identity", "camera", "split")):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def file_of(name, number, camera, split, copy):
    """The name of an image of an identity in a layout."""
    if name == "identity_csv":
        return f"{split}/{number}_{camera}_{copy}.jpg"
    if name == "msmt17":
        part = "train" if split == "train" else "test"
        return f"{part}/{number:04}/{number:04}_{copy:03}_{camera:02}_0.jpg"
    return f"{LAYOUTS[name].folders[split]}/{number:04}_c{camera}s1_{copy:06}_00.jpg"


def add_line(root, name, file, number, camera, split):
    """Adds the line of an image in a layout that has lists or a table."""
    if name == "identity_csv":
        with (root / "table.csv").open("a") as lines:
            lines.write(f"{file},{number},{camera},{split}\n")
    elif name == "msmt17":
        with (root / f"list_{split}.txt").open("a") as lines:
            lines.write(f"{file.partition('/')[2]} {number}\n")


def small_set(root, name, extra=()):
    """Four identities to train on and two others, seen by two cameras; and further images."""
    root.mkdir()
    if name == "identity_csv":
        (root / "table.csv").write_text("path,identity,camera,split\n")
    rows = [(n, c, "train", k) for n in (2, 3, 4, 5) for c in (1, 2) for k in (0, 1)]
    rows += [(n, c, s, 0) for n in (30, 31) for c in (1, 2) for s in ("query", "gallery")]
    for number, camera, split, copy in [*rows, *extra]:
        file = file_of(name, number, camera, split, copy)
        paint(root / file, number, copy)
        add_line(root, name, file, number, camera, split)
    return root
