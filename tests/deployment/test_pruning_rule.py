"""Which modules go, by values written by hand."""

import pytest

from dreal_tf.deployment.pruning_rule import Rule, chosen_actors, jointly_removable


def value(mean, spread=0.1):
    return {"value": mean, "low": mean - spread, "high": mean + spread}


SE_VALUES = {"conv2_1/se": value(0.5), "conv3_1/se": value(0.05), "conv4_1/se": value(-0.3)}
SE_ACTORS = {module.replace("/", "_"): (module,) for module in SE_VALUES}
CBAM_VALUES = {
    "conv2_1/cbam_channel": value(0.0),
    "conv2_1/cbam_spatial": value(0.4),
    "conv3_1/cbam_channel": value(0.05),
    "conv3_1/cbam_spatial": value(-0.2),
}
CBAM_ACTORS = {
    f"{block}_cbam": (f"{block}/cbam_channel", f"{block}/cbam_spatial")
    for block in ("conv2_1", "conv3_1")
}


def test_what_is_not_known_to_be_worth_more_than_the_threshold_goes():
    going, kept = chosen_actors(SE_ACTORS, SE_VALUES, Rule())
    assert going == ["conv3_1_se", "conv4_1_se"]  # One may earn something, one does harm.
    assert kept == {"conv2_1/se": "known to be worth more than 0 nats"}


def test_an_interval_that_ends_on_the_threshold_is_not_above_it():
    exact = {"conv2_1/se": {"value": 0.0, "low": 0.0, "high": 0.0}}
    assert chosen_actors({"conv2_1_se": ("conv2_1/se",)}, exact, Rule())[0] == ["conv2_1_se"]
    assert not chosen_actors({"conv2_1_se": ("conv2_1/se",)}, exact, Rule(-1e-9))[0]


@pytest.mark.parametrize(("threshold", "count"), [(-0.5, 0), (-0.4, 1), (0.39, 2), (0.41, 3)])
def test_a_threshold_moves_the_line(threshold, count):
    assert len(chosen_actors(SE_ACTORS, SE_VALUES, Rule(threshold))[0]) == count


@pytest.mark.parametrize("keep", range(4))
def test_a_number_to_keep_keeps_those_worth_most(keep):
    going, kept = chosen_actors(SE_ACTORS, SE_VALUES, Rule(keep=keep))
    ranked = ["conv2_1/se", "conv3_1/se", "conv4_1/se"]
    assert set(kept) == set(ranked[:keep])
    assert going == [module.replace("/", "_") for module in ranked[keep:]]
    assert all(reason == f"of the {keep} of greatest value" for reason in kept.values())


def test_a_layer_of_two_steps_goes_whole_or_not_at_all():
    going, kept = chosen_actors(CBAM_ACTORS, CBAM_VALUES, Rule())
    assert going == ["conv3_1_cbam"] and set(kept) == {"conv2_1/cbam_channel", "conv2_1/cbam_spatial"}
    assert kept["conv2_1/cbam_spatial"] == "known to be worth more than 0 nats"
    assert "whole or not at all, and conv2_1/cbam_spatial stays" in kept["conv2_1/cbam_channel"]
    assert chosen_actors(CBAM_ACTORS, CBAM_VALUES, Rule(keep=1))[0] == ["conv3_1_cbam"]
    assert chosen_actors(CBAM_ACTORS, CBAM_VALUES, Rule(keep=2))[0] == []  # One of each layer.


def test_together_they_may_cost_no_more_than_one():
    values = {"a": 0.03, "b": 0.01, "c": 0.02}
    groups = []

    def cost_of(names):
        groups.append(tuple(names))
        return value(0.08 * len(names))

    going, stay = jointly_removable(["a", "b", "c"], values, cost_of, Rule())
    assert groups == [("a", "b", "c"), ("b", "c"), ("b",)]
    assert going == ["b"] and list(stay) == ["a", "c"]
    assert stay["c"].endswith("with others that go it costs 0.1600 [0.0600, 0.2600] nats")


def test_nothing_objects_to_a_number_to_keep():
    assert jointly_removable(["a"], {"a": 9.0}, lambda names: value(9.0), Rule(keep=0)) == (["a"], {})
    assert jointly_removable([], {}, None, Rule()) == ([], {})
