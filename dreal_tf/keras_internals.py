"""The private names of other packages that this one needs; no other module reaches them.

A public API takes the place of a private name as soon as there is one in all supported versions.
`PRIVATE` and `OVERRIDES` give the reason for each; the tests check that they are complete and say which
name a new version dropped.
"""

import inspect

# Names that the functions below read.
PRIVATE = {
    "_nodes_by_depth": "keras.Function: the nodes of a graph; public are only the operations, "
    "which do not tell apart the places of a shared layer.",
    "_outputs_struct": "keras.Function: the structure of its outputs; public only in models.",
    "_keras_history": "KerasTensor: the operation and the node that made it.",
    "_inbound_nodes": "keras.Operation: the nodes that `_keras_history` counts.",
    "_keras_mask": "KerasTensor: its mask.",
    "_flatten_layers": "keras.Layer: all layers inside it; public are only those of models.",
    "_compile_metrics": "keras.Model: the compiled metrics before they are built.",
    "_initial_epoch": "keras.Model: the epoch that a running `fit` starts from, as BackupAndRestore sets it.",
    "_clip_gradients": "keras.Optimizer: clipping as it is set, without an update.",
    "_var_key": "keras.Optimizer: one key for a variable and its copies on all replicas.",
    "_functions": "FuncGraph of TensorFlow: the functions that it calls, with their shapes.",
    "_retry_queue": "keras_tuner.Oracle: numbers of the trials to run again.",
    "_random_state": "BayesianOptimizationOracle: its generator, which it does not store.",
    "_duplicate": "keras_tuner.Oracle: whether values were tried.",
    "_random_populate_space": "BayesianOptimizationOracle: values at random in place of its own.",
    "_is_worker": "keras_tuner.Tuner: whether another process asks the oracle.",
    "_run_and_update_trial": "keras_tuner.Tuner: one trial, without taking its errors for bad values.",
    "_initializing": "ModuleSpec of Python: whether a module is still being imported.",
}
# Private names of a base class that a class of ours defines or sets, by class.
OVERRIDES = {
    "ReplicatedModel._make_function": "Keras averages logs over several workers along an axis that "
    "scalars lack (keras issue 20585).",
    "ReplicatedModel._maybe_symbolic_build": "Keras builds from the mean of the replicas' batches, which "
    "fails if their sizes differ.",
    "_Whole._save_trial": "Keras Tuner writes a trial's file in place: a kill leaves half of it.",
    "RunTuner._try_run_and_update_trial": "Keras Tuner takes every error for a bad choice of values.",
}


def nodes_of(graph):
    """The nodes of a graph, in an order in which they can be computed.

    Args:
        graph: `keras.Function`; functional models are such.
    Returns:
        List of nodes: `operation`, `arguments`, `input_tensors`, `outputs`, `is_input`.
    """
    depths = sorted(graph._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in graph._nodes_by_depth[depth]]


def output_structure(graph):
    """The structure of a graph's outputs, symbolic tensors in it."""
    return graph._outputs_struct


def node_of(tensor):
    """The node that made a symbolic tensor; None of one that no operation made."""
    operation, index, _ = tensor._keras_history
    return None if operation is None else operation._inbound_nodes[index]


def mask_of(tensor):
    """The Keras mask that a tensor carries, or None."""
    return getattr(tensor, "_keras_mask", None)


def layers_inside(layer):
    """All layers inside a layer, at any depth; without itself."""
    return list(layer._flatten_layers(include_self=False))


def takes_training(operation):
    """Whether an operation's `call` has an argument `training`."""
    return "training" in inspect.signature(operation.call).parameters


def compiled_metrics(model):
    """The metrics given to `compile`, built or not, as one metric; None if there are none."""
    return model._compile_metrics


def start_from_epoch(model, epoch):
    """Sets, from `on_train_begin`, the epoch (from 0) that `fit` starts from; None for its own."""
    model._initial_epoch = epoch


def clip_gradients(optimizer, gradients):
    """Gradients as the optimizer is set to clip them, bit for bit."""
    return list(optimizer._clip_gradients(gradients))


def variable_key(optimizer, variable):
    """A key that a variable shares with its copy on each replica."""
    return optimizer._var_key(variable)


def called_graph(graph, name):
    """The graph of a function that a TensorFlow graph calls."""
    return graph._functions[name].graph


def retry_queue(oracle):
    """The list of the numbers of trials that a Keras Tuner oracle will give out again."""
    return oracle._retry_queue


def reseed(oracle, seed):
    """Starts the random generator of a Bayesian oracle anew.

    Args:
        oracle: `keras_tuner.oracles.BayesianOptimizationOracle`.
        seed: int or sequence of int.
    """
    import numpy as np

    oracle._random_state = np.random.RandomState(seed)


def was_tried(oracle, values):
    """Whether an oracle has given these values to an earlier trial."""
    return oracle._duplicate(values)


def random_response(oracle):
    """The answer of a Bayesian oracle that chooses values at random."""
    return oracle._random_populate_space()


def is_worker(tuner):
    """Whether a tuner asks the oracle of another process."""
    return tuner._is_worker()


def run_and_update_trial(tuner, trial):
    """Runs a trial and reports its score; errors pass through."""
    tuner._run_and_update_trial(trial)


def being_imported(module):
    """Whether a Python module is still being imported."""
    return module.__spec__._initializing


def patch_tf2onnx():
    """Makes tf2onnx work with NumPy 2, as Keras's own export does before it converts."""
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()
