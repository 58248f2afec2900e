"""A run on identities under replicas: whole identities for each, one set of centres, one ranking."""

import numpy as np
import pytest

from dreal_tf import build, load_recipe


@pytest.mark.slow
def test_two_replicas_train_and_rank(two_replicas):
    recipe = load_recipe("coil100_resnet20_cbam", smoke=True).replace(
        {"attention.kind": "se", "attention.reduction": 2, "backbone.synchronized": True}
    )
    with two_replicas.scope():
        model, data, callbacks = build(recipe)
    options = dict(epochs=1, callbacks=callbacks, verbose=0)
    logs = model.fit(data.train, validation_data=data.validation, **options).history
    assert all(np.isfinite(curve).all() for curve in logs.values())
    assert {"val_mAP", "val_rank_1", "triplet_loss", "centre_loss"} <= set(logs)
    assert logs["triplet_loss"][0] > 0 and 0 < logs["val_mAP"][0] <= 1
    centres = model.embedding_losses.centres.centres.value
    one, other = (part.numpy() for part in two_replicas.experimental_local_results(centres))
    assert np.array_equal(one, other) and one.any()


def test_a_batch_must_be_shared_by_whole_identities(two_replicas):
    recipe = load_recipe("coil100_resnet20_cbam", smoke=True).replace({"data.batch_size": 12})
    with two_replicas.scope(), pytest.raises(ValueError, match="identities that 2 replicas can share"):
        build(recipe)
