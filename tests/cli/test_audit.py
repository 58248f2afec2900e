"""`dreal-tf audit --critic`: the real command in a fresh process, and what it refuses."""

import json
import shutil

import pytest
import tensorflow as tf
from fresh_process import COMMAND, ended

from dreal_tf import build, load_recipe
from dreal_tf.auditing.critic import audit_critic
from dreal_tf.callbacks.checkpoint import restore_last
from dreal_tf.errors import InputError


def run(*arguments, folder):
    return ended(*COMMAND, *arguments, folder=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    critic = "dreal.critic=direct"
    process = run(
        "train", "digits_resnet8_se", "--smoke", "--set", critic, "--out", "run", folder=folder
    )
    assert process.returncode == 0, process.stderr
    return folder


def test_with_json_it_prints_one_object(trained):
    process = run("audit", "--critic", "run", "--images", 10, "--json", folder=trained)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert found["images"] == 10 and found["epochs"] == 2
    assert set(found["alignment"]) == {"conv2_1/se", "conv3_1/se", "conv4_1/se"}
    for alignment in found["alignment"].values():
        assert alignment["mean"] == pytest.approx(1, abs=1e-5)
        assert set(alignment) == {"mean", "low", "high", "positive"}
    for module in found["alignment"]:
        assert set(found["explained"][module]) == {"all", "right", "held"}
        assert set(found["differences"][module]) == {"baseline", "permuted", "noise"}
        assert {"advised", "random", "mean", "low", "high"} == set(found["direction"][module])
    assert process.stderr.strip().splitlines()[-1] == "Next: dreal-tf evaluate run"


def test_the_table_has_a_line_a_module(trained):
    process = run("audit", "--critic", "run", folder=trained)
    lines = process.stdout.splitlines()
    assert process.returncode == 0 and len(lines) == 4
    assert lines[0].startswith("module") and lines[1].startswith("conv2_1/se  1.000 [1.000, 1.000]")
    assert "16 test images" in process.stderr


def test_network_critic_and_trust_are_those_of_the_last_epoch(trained):
    recipe = load_recipe(str(trained / "run" / "recipe.json"))
    model, _, _ = build(recipe)
    assert restore_last(trained / "run" / "checkpoints", model) == 2
    last = tf.train.load_checkpoint(str(trained / "run" / "checkpoints" / "epoch-2"))
    owners = [model.network, model.optimizer, model.critic, model.critic_optimizer, model.trust]
    for number, owner in enumerate(owners):
        for place, variable in enumerate(owner.variables):
            stored = last.get_tensor(f"state/{number}/{place}/.ATTRIBUTES/VARIABLE_VALUE")
            assert (stored == tf.convert_to_tensor(variable).numpy()).all()
    assert int(model.optimizer.iterations) > 0
    assert float(tf.reduce_sum(tf.convert_to_tensor(model.trust.sums))) != 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit"], "Expected --critic and a run, nothing else. Received: no --critic."),
        (["audit", "a.keras"], "Write `dreal-tf audit --critic RUN`."),
        (["audit", "--critic", "no_such_run"], "Expected the folder of a run. Received: 'no_such_run'"),
    ],
)
def test_wrong_input_ends_with_2_and_a_message(tmp_path, arguments, message):
    process = run(*arguments, folder=tmp_path)
    assert process.returncode == 2 and not process.stdout
    assert message in " ".join(process.stderr.split()) and "Traceback" not in process.stderr


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


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
