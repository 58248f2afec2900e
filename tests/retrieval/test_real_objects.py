"""The scores of raw pixels on COIL-100, known from its own description."""

import io
import re
import zipfile

import numpy as np
import pytest
from fresh_process import REPOSITORY
from PIL import Image

from dreal_tf.retrieval import Labels, score_embeddings

OBJECTS = REPOSITORY.parent / "shared" / "data" / "instance" / "coil100_market.zip"


@pytest.mark.skipif(not OBJECTS.is_file(), reason=f"no COIL-100 at {OBJECTS}")
def test_raw_pixels_of_sixteen_by_sixteen():
    sets = {}
    with zipfile.ZipFile(OBJECTS) as archive:
        for name in sorted(archive.namelist()):
            match = re.search(r"/(query|bounding_box_test)/(-?\d+)_c(\d)", name)
            if match:
                image = Image.open(io.BytesIO(archive.read(name))).resize((16, 16), Image.BOX)
                row = np.asarray(image, "float32").ravel(), int(match[2]), int(match[3])
                sets.setdefault(match[1], []).append(row)
    parts = {split: [np.array(p) for p in zip(*rows, strict=True)] for split, rows in sets.items()}
    query, gallery = parts["query"], parts["bounding_box_test"]
    scores = score_embeddings(query[0], gallery[0], Labels(*query[1:]), Labels(*gallery[1:]))
    summary = scores.summary()
    assert (len(query[0]), len(gallery[0]), summary["queries"]) == (300, 3300, 300)
    assert summary["rank_1"] == pytest.approx(0.883, abs=5e-4)
    assert summary["mAP"] == pytest.approx(0.645, abs=5e-4)
