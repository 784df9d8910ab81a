"""What `--propose` names: a noise hypernetwork, or the memory of past searches."""

from __future__ import annotations

from pathlib import Path

from gensearch.core.types import Model, Proposal
from hypernoise.artefact import HyperNoise
from hypernoise.form import lookable
from hypernoise.memory import JOURNAL, Memory, WarmStart, verifier_of

FOLD_BELOW = 4 * 2**30  # bytes of the generator's network up to which LoRA is merged into a second copy of it


def load(source: str, model: Model, gain: float, passes: int = 1) -> Proposal:
    """Load a proposal for a generator.

    Args:
        source: "shapes/NAME", a local folder, or a repository on the Hugging Face hub.
        model: the generator.
        gain: factor of the shift of a hypernetwork; 1 for a memory.
        passes: how often a hypernetwork is applied; 1 for a memory.

    Raises:
        ValueError: as `HyperNoise.from_pretrained` and `Memory`, and for a memory with a gain or passes.
    """
    folder = Path(source).expanduser()
    if not (folder / JOURNAL).is_file():
        learned = HyperNoise.from_pretrained(source, model, gain, passes)
        size = sum(p.numel() * p.element_size() for p in lookable(model).network.parameters())
        return learned.folded() if size <= FOLD_BELOW else learned
    if gain != 1 or passes != 1:
        extra = f"no gain; leave out {gain:g}*" if gain != 1 else f"no passes; leave out ^{passes}"
        raise ValueError(f"{source} is a memory, which has {extra}")
    return WarmStart(Memory(folder, model, verifier_of(folder)))
