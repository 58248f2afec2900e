"""Folders of images by class, small enough to be written for every test."""

import io

from PIL import Image

CLASSES = ("cats", "dogs")


def encoded(image, kind, **options):
    """The bytes of an image in a format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(path, colour=(0, 0, 0)):
    """Writes an image of one colour, as PNG whatever its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path, "PNG")


def fill(root, classes=CLASSES, count=10):
    """Red tells the class of an image, green its number."""
    for label, name in enumerate(classes):
        for number in range(count):
            picture(root / name / f"{number:02}.png", (100 * label, 10 * number, 0))
    return root
