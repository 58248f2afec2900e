"""An index of images: matches by independent NumPy; the real commands in fresh processes."""

import csv
import json

import keras
import numpy as np
import pytest
from command_line import command
from fresh_process import COMMAND, ended
from PIL import Image

from dreal_tf.data.preprocessing import Preprocessing
from dreal_tf.deployment.image_index import ImageIndex, build_index
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import plain_network, residual_network


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network drawn at random, as a run keeps it."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(3)
    network = plain_network(residual_network((8, 8, 3), 4, depth=8, width=0.5))
    network.save(folder / "model.keras")
    preprocessing = Preprocessing((8, 8, 3), (120.0,), (60.0,), 255.0, "whole", ("a", "b", "c", "d"))
    (folder / "preprocessing.json").write_text(json.dumps(preprocessing._asdict()))
    return folder / "model.keras"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Forty images in two folders, one that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(40):
        below = folder / "ab"[number % 2]
        below.mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(below / f"{number:02}.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


def embedded(model, files):
    """The input of the network's last layer, unit length, computed in another way."""
    network = keras.saving.load_model(model)
    pixels = np.stack([np.asarray(Image.open(file)) for file in files]).astype("float32")
    hidden = keras.Model(network.input, network.get_layer("pool").output)
    vectors = hidden.predict((pixels - 120) / 60, verbose=0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_nearest_are_those_of_all_distances(model, images, tmp_path):
    built = build_index(model, [images], tmp_path / "index")
    assert built.images == 40 and list(built.skipped) == [str(images / "broken.jpg")]
    assert built["skipped"] == [
        {"image": str(images / "broken.jpg"), "reason": "not a JPEG, PNG, GIF, BMP or WebP image"}
    ]
    files = sorted(images.rglob("*.png"))
    queries = files[5:8]
    searched = ImageIndex(tmp_path / "index").search(queries, count=4)
    assert searched.skipped == {} and searched.to_pandas()["rank"].tolist() == [1, 2, 3, 4] * 3
    distances = 1 - embedded(model, queries) @ embedded(model, files).T
    for one, query, row in zip(searched.queries, queries, distances, strict=True):
        expected = np.argsort(row)[:4]
        assert one.query == str(query)
        assert [image for image, _ in one.images] == [str(files[position]) for position in expected]
        np.testing.assert_allclose([d for _, d in one.images], row[expected], atol=1e-5)
        assert one.images[0][0] == str(query)  # It lies in the index itself.


def test_a_graph_finds_them_too(model, images, tmp_path):
    pytest.importorskip("faiss", reason="needs faiss: pip install 'dreal-tf[search]'")
    build_index(model, [images], tmp_path / "exact")
    build_index(model, [images], tmp_path / "graph", approximate=True)
    assert not (tmp_path / "graph" / "embeddings.npy").exists()
    exact = ImageIndex(tmp_path / "exact").search([images / "a"], count=3)
    graph = ImageIndex(tmp_path / "graph").search([images / "a"], count=3)
    for one, other in zip(exact.queries, graph.queries, strict=True):
        assert [image for image, _ in one.images] == [image for image, _ in other.images]


def test_the_commands(model, images, tmp_path):
    done = ended(*COMMAND, "index", model, images, "--out", tmp_path / "index", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 40 and "broken.jpg" in done.stderr
    query = images / "b" / "07.png"
    done = ended(*COMMAND, "search", tmp_path / "index", query, "--top", "2")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0]["image"] == str(query) and float(rows[0]["distance"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("index", "MODEL", "IMAGES", "--out", "IMAGES"), "Expected a new folder for the index."),
        (("index", "nowhere.keras", "IMAGES", "--out", "x"), "Expected a run, a .keras file"),
        (("index", "MODEL", "nowhere", "--out", "x"), "Expected image files and folders."),
        (("index", "MODEL", "BROKEN", "--out", "x"), "Expected at least one image"),
        (("search", "IMAGES", "BROKEN"), "Expected an index."),
        (("search", "x", "BROKEN", "--top", "0"), "top"),
    ],
)
def test_wrong_input_ends_with_two_and_a_cure(model, images, tmp_path, arguments, message):
    paths = {"MODEL": model, "IMAGES": images, "BROKEN": images / "broken.jpg"}
    done = command(*(paths.get(word, word) for word in arguments), folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_network_without_logits_is_refused(model, images, tmp_path):
    foreign = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    foreign.save(tmp_path / "model.keras")
    kept = model.with_name("preprocessing.json").read_text()
    (tmp_path / "preprocessing.json").write_text(kept)
    with pytest.raises(ValueError, match="layer 'logits'"):
        build_index(tmp_path / "model.keras", [images], tmp_path / "index")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("damage", ["rows", "bytes"])
def test_an_index_whose_embeddings_are_cut_is_refused(model, images, tmp_path, damage):
    build_index(model, [images], tmp_path / "index")
    file = tmp_path / "index" / "embeddings.npy"
    if damage == "rows":
        np.save(file, np.load(file)[:-3])
    else:
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="one embedding for each image.*Build it again"):
        ImageIndex(tmp_path / "index")
