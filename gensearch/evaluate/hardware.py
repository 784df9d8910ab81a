"""Time on an accelerator: operations counted on the network, a stated peak, and a stated share of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gensearch.core.errors import nearest
from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model
from verifiers.types import Verifier

PEAK = {  # dense 16-bit tensor operations per second with 32-bit sums, in units of 10^12, from the makers' data sheets
    "b200": 2250.0,
    "h200": 989.5,
    "h100": 989.5,
    "a100": 312.0,
    "l40s": 362.0,
    "4090": 165.2,
    "3090": 71.0,
    "t4": 65.0,
}
SHARE = 0.3  # of the peak; about what compiled transformers reach. Small networks and batches of one reach far less.


class Work(NamedTuple):
    """Floating-point operations of one sample.

    Attributes:
        sample: Of its network passes, text encoders and decoder.
        score: Of one verifier call, the mean over the verifiers.
        size: Bytes of the sample as 8-bit pixels.
    """

    sample: float
    score: float
    size: int


def peak(gpu: str) -> float:
    """Operations per second at the peak of a GPU.

    Args:
        gpu: A key of `PEAK`.

    Raises:
        ValueError: It is not in the table.
    """
    if gpu.lower() not in PEAK:
        raise ValueError(
            f"no peak is known for the GPU {gpu!r}{nearest(gpu.lower(), PEAK)}; take one of {', '.join(PEAK)}"
        )
    return PEAK[gpu.lower()] * 1e12


@torch.no_grad()
def count(model: Model, verifiers: Sequence[Verifier], prompt: str) -> Work:
    """The operations of one sample in a full batch, counted while it is made and scored on the CPU.

    Only matrix products, convolutions and attention are counted, a multiplication and its addition as two.

    Args:
        model: The generator.
        verifiers: That score samples.
        prompt: One that all of them take.
    """
    rows = model.batch_size
    noise = randn(list(range(rows)), model.noise_shape)
    prompts, recipes = [prompt] * rows, [(("gaussian", seed),) for seed in range(rows)]
    with sdpa_kernel(SDPBackend.MATH):  # written out, so that attention is counted on any device
        with FlopCounterMode(display=False) as made:
            media = generate(model, prompts, noise, recipes)
        with FlopCounterMode(display=False) as judged:
            for verifier in verifiers:
                verifier(media, prompts)
    each = judged.get_total_flops() / rows / max(1, len(verifiers))
    return Work(made.get_total_flops() / rows, each, media[0].numel())


def hours(operations: float, gpu: str, share: float = SHARE) -> float:
    """Hours of a GPU.

    Args:
        operations: Floating-point operations.
        gpu: A key of `PEAK`.
        share: Of the peak that is reached, above 0 and at most 1.

    Raises:
        ValueError: The GPU is not in the table, or the share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of the peak is {share}; give one above 0 and at most 1, such as 0.3")
    return operations / (peak(gpu) * share) / 3600
