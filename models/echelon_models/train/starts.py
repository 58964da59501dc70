"""Where DELL gated starts from, beyond Xavier: with a memory, so that learning need not find one first.

The teacher's slow signals are leaky means over 400 ms. A net whose state forgets within a frame or two, as a Xavier
start does, learns such a mean only by carrying gradients through tens of frames that it forgets. Here most of the
state starts as leaky integrators, their time constants spread between one frame and a second, and h_slow starts
resting beyond the distance up to which the divergence term pulls. Sources: Le et al. 2015, "A simple way to initialize
recurrent networks of rectified linear units" (a state is carried by rectified units); Tallec & Ollivier 2018, "Can
recurrent neural networks warp time?" (time constants spread by the start).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_models.train.gated import HIDDEN, INPUTS, WIDTH, Gated

Tensors = dict[str, NDArray[np.float32]]
MEMORY = 96  # dimensions of h_fast that start as integrators; the others start as Xavier makes them
OPEN = 4.0  # their gate's bias: z = 0.98 h_fast
LONGEST_FRAMES = 60.0
APART = 2.5  # where h_slow comes to rest at first, either side of 0


def remember(model: Gated) -> None:
    """Give every model of a stack, as it was made from its seed, a memory to start with."""
    with torch.no_grad():
        for index, seed in enumerate(model.seeds):
            model.load(with_memory(model.tensors(index), seed), index)


def keeps(count: int) -> NDArray[np.float64]:
    """Return what each of `count` integrators keeps a frame: time constants from 1 to 60 frames, evenly in logs."""
    return np.asarray(np.exp(-1 / np.geomspace(1.0, LONGEST_FRAMES, count)))


def with_memory(start: Tensors, seed: int, memory: int = MEMORY, apart: float = APART, gate: float = OPEN) -> Tensors:
    """Return the start of DELL gated with a memory, from its Xavier start; one seed, one start.

    State i of the first `memory` is carried by a pair of hidden units, h <- a (relu(z + w x) - relu(-z - w x)), which
    is a (z + w x); what the other hidden units find is integrated, too. From drive to state gains are about 1.
    """
    rng = np.random.default_rng([seed, 1])
    made = {name: values.copy() for name, values in start.items()}
    given = INPUTS + 1
    a = keeps(memory)
    own = np.arange(memory)
    one, two = own, own + memory
    w = rng.uniform(-1, 1, (given, memory)) * (1 - a)
    made["W_f1"][:, : 2 * memory] = 0
    made["W_f1"][:given, one], made["W_f1"][:given, two] = w, -w
    made["W_f1"][given + own, one], made["W_f1"][given + own, two] = 1, -1
    made["W_f2"][: 2 * memory, :memory] = 0
    made["W_f2"][one, own], made["W_f2"][two, own] = a, -a
    made["W_f2"][2 * memory : HIDDEN, :memory] *= 2 * (1 - a)
    made["W_g"][:, :memory] *= 0.25
    made["b_g"][:memory] = gate
    made["b_s2"][:] = apart * rng.choice([-1.0, 1.0], WIDTH)
    return made
