"""The whole method for one small network, written out in NumPy and float64 from `method.md`.

Nothing here is shared with `dreal_tf`: convolution by loops over the kernel, BatchNorm, residual
blocks with squeeze-and-excitation, cross entropy, ablation, reward, the recurrent critic and the
three losses, as functions of one dict of weights. Gradients are central differences.
"""

import numpy as np

BLOCKS = ("conv2_1", "conv3_1")
EPSILON, MOMENTUM = 1e-3, 0.9


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, kernel):
    """3×3, stride 1, zero padding."""
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    out = 0
    for row in range(3):
        for column in range(3):
            out = out + padded[:, row : row + height, column : column + width] @ kernel[row, column]
    return out


def excite(w, block, state):
    hidden = state.mean(axis=(1, 2)) @ w[f"{block}/w1"] + w[f"{block}/b1"]
    return sigmoid(np.maximum(hidden, 0) @ w[f"{block}/w2"] + w[f"{block}/b2"])


def variables_of(network):
    """The variables of a `support.small_network` with squeeze-and-excitation, by the names used here."""
    variables = {}
    for name in ("conv1", "logits"):
        variables[f"{name}/kernel"] = network.get_layer(name).kernel
        variables[f"{name}/bias"] = network.get_layer(name).bias
    for block in BLOCKS:
        norm, actor = network.get_layer(f"{block}_bn"), network.get_layer(f"{block}_se")
        variables |= {
            f"{block}/kernel": network.get_layer(block).kernel,
            f"{block}/gamma": norm.gamma,
            f"{block}/beta": norm.beta,
            f"{block}/w1": actor.squeeze.kernel,
            f"{block}/b1": actor.squeeze.bias,
            f"{block}/w2": actor.excite.kernel,
            f"{block}/b2": actor.excite.bias,
        }
    return variables


def weights_of(network):
    """Their values in float64."""
    return {name: np.float64(variable) for name, variable in variables_of(network).items()}


def forward(w, images, statistics=None, ablate=None, given=None):
    """Logits, states, actions and batch statistics.

    `ablate` names the block whose action is flat; `given` holds actions that replace a block's own.
    """
    hidden = convolve(images, w["conv1/kernel"]) + w["conv1/bias"]
    states, actions, used = {}, {}, {}
    for block in BLOCKS:
        branch = convolve(hidden, w[f"{block}/kernel"])
        if statistics is None:
            used[block] = branch.mean(axis=(0, 1, 2)), branch.var(axis=(0, 1, 2))
        else:
            used[block] = statistics[block]
        mean, variance = used[block]
        branch = (branch - mean) / np.sqrt(variance + EPSILON) * w[f"{block}/gamma"]
        branch = branch + w[f"{block}/beta"]
        action = excite(w, block, branch)
        if given and block in given:
            action = given[block]
        if ablate == block:
            action = np.repeat(action.mean(axis=1, keepdims=True), action.shape[1], axis=1)
        states[block], actions[block] = branch, action
        hidden = np.maximum(hidden + branch * action[:, None, None, :], 0)
    return hidden.mean(axis=(1, 2)) @ w["logits/kernel"] + w["logits/bias"], states, actions, used


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def loss(w, images, labels):
    log_p = log_softmax(forward(w, images)[0])
    return -log_p[np.arange(len(labels)), labels].mean()


def rewards(w, images, labels, penalty):
    """(images, blocks): relative gain where the prediction is correct, else -penalty."""
    logits, _, _, statistics = forward(w, images)
    rows = np.arange(len(labels))
    log_p = log_softmax(logits)[rows, labels]
    right = logits.argmax(axis=1) == labels
    columns = []
    for block in BLOCKS:
        ablated = log_softmax(forward(w, images, statistics, ablate=block)[0])[rows, labels]
        gain = 1 - np.exp(ablated) / np.exp(log_p)
        columns.append(np.where(right, np.clip(gain, -penalty, 1), -penalty))
    return np.stack(columns, axis=1)


def critiques(w, states, actions):
    """(images, blocks): encoder, LSTM over depth, linear head."""
    batch, units = len(states[BLOCKS[0]]), len(w["lstm/bias"]) // 4
    memory, cell, out = np.zeros((batch, units)), np.zeros((batch, units)), []
    for block in BLOCKS:
        summary = np.concatenate([states[block].mean(axis=(1, 2)), actions[block]], axis=1)
        encoded = np.maximum(summary @ w[f"encoder/{block}/w"] + w[f"encoder/{block}/b"], 0)
        z = encoded @ w["lstm/kernel"] + memory @ w["lstm/recurrent"] + w["lstm/bias"]
        gate_in, forget, candidate, gate_out = np.split(z, 4, axis=1)
        cell = sigmoid(forget) * cell + sigmoid(gate_in) * np.tanh(candidate)
        memory = sigmoid(gate_out) * np.tanh(cell)
        out.append(memory @ w["head/w"] + w["head/b"])
    return np.concatenate(out, axis=1)


def critic_loss(w, states, actions, reward):
    return ((critiques(w, states, actions) - reward) ** 2).mean()


def actor_loss(w, states):
    """The actions are proposed again from fixed states."""
    return -critiques(w, states, {block: excite(w, block, states[block]) for block in BLOCKS}).mean()


def gradient(loss, w, names, step=1e-6):
    """Central differences of `loss(w)` with respect to the named weights."""
    gradients = {}
    for name in names:
        flat = np.zeros(w[name].size)
        for position in range(flat.size):
            ends = []
            for sign in (1, -1):
                shifted = w[name].copy()
                shifted.flat[position] += sign * step
                ends.append(loss(w | {name: shifted}))
            flat[position] = (ends[0] - ends[1]) / (2 * step)
        gradients[name] = flat.reshape(w[name].shape)
    return gradients
