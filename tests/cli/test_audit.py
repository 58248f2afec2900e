"""`dreal-tf audit`: its output, its files, and what it refuses."""

import csv
import json
import shutil

import pytest
import tensorflow as tf
from commands import called

from dreal_tf import audit, build, load_recipe
from dreal_tf.analysis.audit import Audit, write_audit
from dreal_tf.analysis.audit_critic import audit_critic
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.builder import build_network
from dreal_tf.training.callbacks import restore_last
from dreal_tf.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    recipe = load_recipe("digits_resnet8_se", smoke=True).replace({"dreal.critic": "direct"})
    train(recipe, folder / "run")
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / "SHA256SUMS").unlink()  # The tests change files.
    return tmp_path / "run"


def test_with_json_it_prints_one_object(trained):
    process = called("audit", "--critic", "run", "--images", 10, "--json", folder=trained)
    assert process.returncode == 0, process.stderr
    audited = json.loads(process.stdout)
    assert audited["images"] == 10 and audited["epochs"] == 2
    assert set(audited["alignment"]) == {"conv2_1/se", "conv3_1/se", "conv4_1/se"}
    for alignment in audited["alignment"].values():
        assert alignment["mean"] == pytest.approx(1, abs=1e-5)
        assert set(alignment) == {"mean", "low", "high", "positive"}
    for module in audited["alignment"]:
        assert set(audited["r2"][module]) == {"all", "right", "held"}
        assert set(audited["differences"][module]) == {"reference", "permuted", "noise"}
        assert {"along", "random", "mean", "low", "high"} == set(audited["direction"][module])
    assert process.stderr.strip().splitlines()[-1] == "Next: dreal-tf evaluate run"


def test_the_table_has_a_line_a_module(trained):
    process = called("audit", "--critic", "run", folder=trained)
    lines = process.stdout.splitlines()
    assert process.returncode == 0 and len(lines) == 9 and max(map(len, lines)) <= 80
    assert lines[0].startswith("module") and lines[5].startswith("module")
    assert lines[1].split()[:4] == ["conv2_1/se", "1.000", "[1.000,", "1.000]"]
    assert [line.split()[0] for line in lines[6:]] == ["conv2_1/se", "conv3_1/se", "conv4_1/se"]
    assert "16 test images" in process.stderr


def test_network_critic_and_trust_are_those_of_the_last_epoch(trained):
    recipe = load_recipe(str(trained / "run" / "recipe.json"))
    model, _, _ = build(recipe)
    assert restore_last(trained / "run" / "checkpoints", model) == 2
    last = tf.train.load_checkpoint(str(trained / "run" / "checkpoints" / "epoch-2"))
    owners = [model.network, model.optimizer, model.critic, model.critic_optimizer, model.trust]
    for number, owner in enumerate(owners):
        for position, variable in enumerate(owner.variables):
            stored = last.get_tensor(f"state/{number}/{position}/.ATTRIBUTES/VARIABLE_VALUE")
            assert (stored == tf.convert_to_tensor(variable).numpy()).all()
    assert int(model.optimizer.iterations) > 0
    assert float(tf.reduce_sum(tf.convert_to_tensor(model.trust.sums))) != 0


def test_a_run_needs_nothing_else_and_keeps_its_values(trained):
    process = called("audit", "run", folder=trained)
    assert process.returncode == 0, process.stderr
    modules = ["conv2_1/se", "conv3_1/se", "conv4_1/se"]
    audited = json.loads((trained / "run" / "audit" / "audit.json").read_text())
    assert audited["images"] == 16 and list(audited["modules"]) == modules
    values = [*audited["modules"].values(), audited["attention"]]
    lines = process.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for baseline, table in (("mean", lines[1:6]), ("static", lines[8:13])):
        names = [line.split("  ")[0] for line in table]
        assert names == ["module", *modules, "all attention"]
        for line, both in zip(table[1:], values, strict=True):
            ends = [f"{both[baseline][end]:+.4f}" for end in ("value", "low", "high")]
            assert f"{ends[0]} [{ends[1]}, {ends[2]}]" in line
    assert [line.split() for line in lines[15:]] == [
        ["module", "parameters", "multiply-adds"],
        *(
            [
                name,
                f"{layer['parameters']:,}",
                f"({100 * layer['parameters'] / audited['parameters']:.1f}",
                "%)",
                f"{layer['multiply_adds']:,}",
                f"({100 * layer['multiply_adds'] / audited['multiply_adds']:.1f}",
                "%)",
            ]
            for name, layer in audited["modules"].items()
        ),
    ]
    messages = process.stderr.strip().splitlines()
    assert f"16 test images, accuracy {audited['accuracy']:.3f}." in process.stderr
    idle = any(both["static"]["low"] <= 0 for both in audited["modules"].values())
    assert messages[-1] == f"Next: dreal-tf {'prune' if idle else 'evaluate'} run"
    rows = list(csv.DictReader((trained / "run" / "audit" / "audit.csv").open()))
    classes = len(audited["classes"])
    assert len(rows) == 2 * (3 + 3 + 1 + 3 * classes) and classes == 4
    for row in rows[:2]:
        value = audited["modules"]["conv2_1/se"][row["baseline"]]
        assert row["class"] == "" and row["name"] == "conv2_1/se"
        assert {name: float(row[name]) for name in value} == value
    picture = (trained / "run" / "audit" / "module_values.png").read_bytes()
    assert picture[1:4] == b"PNG" and len(picture) > 10_000
    assert "</svg>" in (trained / "run" / "audit" / "module_values.svg").read_text()


def test_a_file_alone_gives_the_same_with_the_recipe_of_its_data(trained, tmp_path):
    shutil.copy(trained / "run" / "model.keras", tmp_path / "mine.keras")
    data = trained / "run" / "recipe.json"
    process = called("audit", "mine.keras", "--data", data, "--json", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    audited = json.loads(process.stdout)
    kept = json.loads((tmp_path / "mine_audit" / "audit.json").read_text())
    assert audited == kept == audit(trained / "run")
    last = process.stderr.strip().splitlines()[-1]
    assert last == f"Next: dreal-tf predict mine.keras IMAGES --data {data}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit"], "Expected a run or a .keras file, or --critic and a run. Received: neither. Write"),
        (["audit", "run", "--critic", "run"], "Received: 'run' beside --critic."),
        (["audit", "--critic", "run", "--out", "x"], "Received: --out beside it. Leave them"),
        (["audit", "--critic", "no_such_run"], "Expected the folder of a run. Received: 'no_such_run'"),
        (["audit", "no_such_run"], "Received: 'no_such_run', which does not exist. Check the path."),
        (["audit", "."], "Expected the folder of a run. Received: '.', which has no recipe.json"),
        (["audit", "text.csv"], "Expected a run or a .keras file. Received: the file 'text.csv'. Save"),
        (["audit", "mine.keras"], "Expected --data with a .keras file. Received: 'mine.keras'"),
        (["audit", "run", "--images", "1"], "at least 2 images to measure on. Received: images=1."),
    ],
)
def test_wrong_input_ends_with_2_and_a_message(tmp_path, arguments, message):
    (tmp_path / "mine.keras").touch()
    (tmp_path / "text.csv").touch()
    process = called(*arguments, folder=tmp_path)
    assert process.returncode == 2
    assert not process.stdout and message in " ".join(process.stderr.split())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("digits_resnet8_se", r"Expected images of shape \(16, 16, 3\)"),
        ({"data.classes": 5}, "Expected data of 4 classes.*Received: data of 5 classes"),
    ],
)
def test_data_that_is_not_the_runs_is_refused(trained, data, message):
    if isinstance(data, dict):
        data = load_recipe(trained / "run" / "recipe.json").replace(data)
    with pytest.raises(InputError, match=message):
        audit(trained / "run", data=data)


def test_classes_of_other_names_are_refused(copied):
    kept = json.loads((copied / "preprocessing.json").read_text())
    kept["class_names"][2] = "cat"
    (copied / "preprocessing.json").write_text(json.dumps(kept))
    with pytest.raises(InputError, match="such as 'cat'. Received: data that has 'class 2' at its"):
        audit(copied)


def test_a_run_without_weights_is_refused(copied):
    (copied / "model.keras").unlink()
    with pytest.raises(InputError, match="Expected a run with trained weights. Received:.*same --out"):
        audit(copied)


def test_a_run_without_attention_is_refused(copied):
    recipe = load_recipe(copied / "recipe.json")
    recipe = recipe.replace({"dreal.enabled": False, "attention.kind": "none"})
    (copied / "recipe.json").write_text(recipe.to_json())
    network = build_network(recipe, (16, 16, 3), 4)
    plain_network(network).save(copied / "model.keras")
    with pytest.raises(
        InputError, match="Expected a network with attention.*in which .dreal_tf.find_gates. finds none"
    ):
        audit(copied)


def test_a_folder_that_cannot_be_written_is_named(trained, tmp_path):
    audited = json.loads((trained / "run" / "audit" / "audit.json").read_text())
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="folder that can be written. Received:.*taken.*--out"):
        write_audit(Audit(audited), tmp_path / "taken")


def test_a_run_without_a_critic_is_refused(copied):
    recipe = load_recipe(str(copied / "recipe.json")).replace({"dreal.enabled": False})
    (copied / "recipe.json").write_text(recipe.to_json())
    with pytest.raises(InputError, match="Expected a run with a critic. Received:.*without --baseline"):
        audit_critic(copied)


def test_a_run_that_has_not_ended_is_refused(copied):
    (copied / "metrics.json").unlink()
    with pytest.raises(InputError, match="Expected a finished run. Received:.*same --out"):
        audit_critic(copied)


def test_a_run_without_checkpoints_is_refused(copied):
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(InputError, match="Expected the checkpoints of a run. Received:.*holds none"):
        audit_critic(copied)


def test_a_damaged_checkpoint_is_refused(copied):
    for part in (copied / "checkpoints").glob("epoch-2.data*"):
        part.write_bytes(b"")
    with pytest.raises(InputError, match="Received:.*epoch-2.*damaged or holds other variables"):
        audit_critic(copied)


def test_one_image_is_too_few(copied):
    with pytest.raises(InputError, match="at least 2 images.*Received: images=1"):
        audit_critic(copied, images=1)
