"""Interventions: actions replaced from outside while a network runs.

An actor asks the active intervention what to apply in place of the action it proposes, so nothing
has to be rewired.
"""

import contextlib
import threading

_active = threading.local()  # Replicas run in threads of their own.


@contextlib.contextmanager
def intervene(decide):
    """Lets `decide` replace the actions of every actor that runs inside the context.

    Args:
        decide: callable (actor, index, state, action) -> action, called for each step as it
            happens: the `AttentionActor`, the position of the step in it (int), the state and the
            action it proposes. It returns the action to apply, of the same shape and dtype.
    Example:
        >>> actor, state = SqueezeExcite(2), np.ones((1, 4, 4, 8), "float32")
        >>> with intervene(lambda actor, index, state, action: 0 * action):
        ...     print(float(keras.ops.max(actor(state))))
        0.0
    """
    before = getattr(_active, "decide", None)
    _active.decide = decide
    try:
        yield
    finally:
        _active.decide = before


def decided(actor, index, state, action):
    """The action to apply: the active intervention's, or `action` itself where none is active."""
    decide = getattr(_active, "decide", None)
    return action if decide is None else decide(actor, index, state, action)
