"""What a critic's advice is worth, by the instruments, as columns of a row."""

# Quantities that a row keeps, one column for each module; see `dreal_tf.method.instruments`.
KEPT = (
    "alignment",
    "alignment_positive",
    "r2",
    "r2_right",
    "r2_held",
    "direction",
)
AT_A_TIME = 250  # Images per pass: the direction test makes four of each.


def judged_critic(model, held_out):
    """Tries the critic of a model on held-out images, all of them.

    Args:
        model: compiled `DREAL` that evaluates and instruments every image
            (`validation_fraction=1.0, instrument_fraction=1.0`).
        held_out: `HeldOut`.
    Returns:
        Dict of float, by columns such as `alignment/conv2_1/se`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> whole = {"validation_fraction": 1.0, "instrument_fraction": 1.0}
        >>> model = FrozenDREAL(network, "direct", **whole)
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> held_out = HeldOut(np.random.rand(6, 8, 8, 1), np.arange(6, dtype="int32"))
        >>> round(judged_critic(model, held_out)["alignment/conv2_1/se"], 3)
        1.0
    """
    logs = model.evaluate(
        held_out.images, held_out.labels, batch_size=AT_A_TIME, verbose=0, return_dict=True
    )
    return {
        f"{kept}/{name.partition('/')[2]}": float(logs[name])
        for kept in KEPT
        for name in logs
        if name.partition("/")[0] == kept
    }
