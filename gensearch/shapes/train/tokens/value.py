"""Train the value model of `shapes/janus`: from hidden states of unfinished pictures to the scores of finished ones."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from gensearch.core.noise import derive, randn
from gensearch.core.sampling import roll
from gensearch.core.verbs import TokenModel
from gensearch.models.load import load
from gensearch.search.tokens.value import FILE, Group, Value, accuracy, fit
from gensearch.shapes import world
from gensearch.shapes.judge import ShapesPartial

SHARE = 5  # one of so many prompts is held out for validation


def train(out: Path, *, name: str, prompts: int, siblings: int, epochs: int, lr: float) -> None:
    """Generate `siblings` pictures of each training prompt, score them exactly, and fit; writes into out/janus/model.

    Pictures are kept in out/value, one file for each prompt, so that an interrupted run resumes.
    """
    folder = out / "janus" / "model"
    model = cast(TokenModel, load(str(folder), batch_size=16))
    (out / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(13)
    texts = list(dict.fromkeys(world.sample(rng)[0]["prompt"] for _ in range(2 * prompts)))[:prompts]
    groups = []
    for place, text in enumerate(texts):
        path = out / name / f"{place:04}.safetensors"
        if not path.exists():
            noise = randn([derive("value", place, sibling) for sibling in range(siblings)], model.noise_shape)
            state, _, scores = roll(model, ShapesPartial(), text, noise)
            states = model.trace(state).image_states[:, :, :1].half().contiguous()
            save_file({"states": states, "rewards": scores.total.float()}, path)
        groups.append(Group(**load_file(path)))
    held, taught = groups[::SHARE], [group for place, group in enumerate(groups) if place % SHARE]
    torch.manual_seed(0)
    length = groups[0].states.shape[1]
    value = Value(groups[0].states.shape[-1], length)
    fit(value, taught, epochs=epochs, lr=lr)
    for blocks in range(1, model.num_steps):
        depth = length * blocks // model.num_steps
        print(f"after {depth} of {length} tokens: {accuracy(value, held, depth):.3f} of pairs ordered correctly")
    value.save(folder / FILE)
