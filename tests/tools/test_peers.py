"""Our plain network beside its peers."""

import numpy as np
import pytest
from command_line import called
from peers import main, measure_peers, peers_of

from dreal_tf import load_recipe

SMALL = {"data.image_size": 32, "data.batch_size": 2, "run.precision": "float32"}


def test_the_peers_of_a_network_are_those_that_have_it():
    peers, missing = peers_of(load_recipe("imagenet_resnet50_se"))
    assert set(peers) | set(missing) == {"keras.applications", "timm"} and "keras.applications" in peers
    peers, missing = peers_of(load_recipe("imagenet_resnet50_cbam"))
    assert list(peers) == ["keras.applications"] and missing == {"timm": "has no such network"}


@pytest.mark.slow
def test_a_peer_trains_beside_ours():
    recipe = load_recipe("imagenet_resnet50_cbam").replace(SMALL)
    peer = measure_peers(recipe, rounds=1)["keras.applications"]
    assert peer["network"] == "keras.applications.ResNet50" and peer["ours"].endswith("attention none")
    assert peer["low"] <= peer["ratio"] <= peer["high"]
    seconds = peer["seconds"]
    assert peer["ratio"] == pytest.approx(seconds["plain"] / seconds["keras.applications"])
    assert np.isfinite(list(seconds.values())).all()


def test_the_command_says_which_peers_are_missing_and_refuses_wrong_input():
    process = called(main, "digits_resnet8_se", "--rounds", "1")
    assert process.returncode == 0, process.stderr[-2000:]
    names = ("keras.applications", "timm")
    assert process.stdout.splitlines() == [f"{name}: has no such network" for name in names]
    process = called(main, "digits_resnet9_se")
    assert process.returncode == 1 and "Did you mean 'digits_resnet8_se'" in process.stderr
