"""Noise from integer seeds, and variance-preserving moves on it that a recipe records and replays."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gensearch.core.limits import check_prompt
from gensearch.core.types import Model, Noise, Proposal, Recipe

SEED_BITS = 53  # exact in JSON and in JavaScript


def derive(*parts: int | str) -> int:
    """A seed in [0, 2^53) that depends on all parts, the same on every machine and in every process.

    Args:
        parts: Integers and texts.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - SEED_BITS)


class Rng:
    """A stream of seeds; the first is the root itself, so that candidate 0 is the plain sample of that seed.

    Args:
        root: 0 to 2^53 - 1.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self.drawn = 0

    def seeds(self, count: int) -> tuple[int, ...]:
        """The next seeds; a longer search extends a shorter one.

        Args:
            count: How many.
        """
        first, self.drawn = self.drawn, self.drawn + count
        return tuple(self.root if i == 0 else derive(self.root, i) for i in range(first, first + count))


def randn(seeds: Sequence[int], shape: Sequence[int]) -> Noise:
    """Standard normal noise [len(seeds), *shape], fp32 on the CPU, one generator per sample.

    Torch's generator reads the lowest 32 bits of a seed; seeds that agree in them give the same noise.

    Args:
        seeds: One or more.
        shape: Of one sample.
    """
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(s)) for s in seeds])


def gaussian(model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
    """The default proposal: standard normal noise [b, *noise_shape].

    Args:
        model: The generator.
        prompts: b of them, which change nothing.
        seeds: b of them.
    """
    return randn(seeds, model.noise_shape)


def master(noise: Noise) -> Noise:
    """Noise in fp32 or better: sums and an optimiser's steps are lost in anything less."""
    return noise.to(torch.promote_types(noise.dtype, torch.float32))


def nearby(pivot: Noise, direction: Noise, cosine: float) -> Noise:
    """Points on the pivot's sphere at a fixed angle from it (zero-order search, Ma et al. 2025, arXiv:2501.09732).

    Args:
        pivot: [1 or b, *shape].
        direction: [b, *shape], any noise; only its part orthogonal to the pivot counts.
        cosine: Of the angle to the pivot, -1 to 1.

    Returns:
        [b, *shape] with the pivot's norm, computed in float64.
    """
    pairs = zip(pivot.expand_as(direction), direction, strict=True)
    return torch.stack([_rotate(x, w, cosine) for x, w in pairs])  # one by one: a sum's last bits depend on its batch


def _rotate(pivot: Tensor, direction: Tensor, cosine: float) -> Tensor:
    norm = pivot.double().norm()
    u = pivot.double() / norm
    w = direction.double()
    w = w - (w * u).sum() * u
    turned: Tensor = norm * (cosine * u + (1 - cosine**2) ** 0.5 * w / w.norm())
    return turned.to(direction.dtype)


def exact(noises: Tensor) -> tuple[str, str]:
    """The move ("exact", text) to noise that no seed describes; text is base64 of little-endian float32, row by row.

    Args:
        noises: [1 + k, *shape]: x_T, and if k > 0 the noise of the first k steps.
    """
    values = noises.detach().cpu().float().contiguous().numpy().astype("<f4")
    return "exact", base64.b64encode(values.tobytes()).decode()


def exactly(recipes: Sequence[Recipe], noises: Tensor) -> tuple[Recipe, ...]:
    """Recipes with an "exact" move at their ends.

    Args:
        recipes: b of them.
        noises: [b, 1 + k, *shape], for each what `exact` takes.
    """
    return tuple((*recipe, exact(own)) for recipe, own in zip(recipes, noises, strict=True))


def described(propose: Proposal, noise: Noise, seeds: Sequence[int]) -> tuple[Recipe, ...]:
    """Recipes of proposed noise: by seed if it is plain, and otherwise exactly.

    Args:
        propose: Where the noise comes from.
        noise: [b, *shape].
        seeds: b of them.
    """
    plain: tuple[Recipe, ...] = tuple((("gaussian", seed),) for seed in seeds)
    return plain if propose is gaussian else exactly(plain, noise[:, None])


def read_exact(text: str, shape: Sequence[int]) -> Tensor:
    """The noises [1 + k, *shape] of an "exact" move.

    Args:
        text: Base64, as `exact` writes it.
        shape: Of one sample.

    Raises:
        ValueError: The text is no base64 of such noises.
    """
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    return torch.from_numpy(values).reshape(-1, *shape)


def first_seed(recipe: Recipe) -> int:
    """The seed of the plain noise that a recipe begins with."""
    (_, seed), *_ = recipe
    return int(seed)


def last_seed(recipe: Recipe) -> int | None:
    """The seed that the last move of a recipe draws from; None if it gives its noise exactly."""
    kind, *values = moves_of_noise(recipe)[-1]
    if kind == "exact":
        return None
    return int(values[1] if kind == "chunk" else values[0])


def moves_of_noise(recipe: Recipe) -> Recipe:
    """A recipe without the moves that change no noise."""
    return tuple(move for move in recipe if move[0] != "prompt")


def prompt_of(recipe: Recipe, prompt: str) -> str:
    """The prompt that a sample was generated from: that of the last move ("prompt", text), or that of its search.

    Args:
        recipe: Of the sample.
        prompt: Of the search.
    """
    written = [move[1] for move in recipe if move[0] == "prompt"]
    return str(written[-1]) if written else prompt


def with_prompt(recipe: Recipe, text: str, prompt: str) -> Recipe:
    """A recipe that generates its sample from another prompt; it names one only if it is not that of the search.

    Args:
        recipe: Of the noise.
        text: What the sample is generated from.
        prompt: Of the search.
    """
    moves = moves_of_noise(recipe)
    return moves if text == prompt else (*moves, ("prompt", text))


MOVES = {"nearby", "exact", "chunk", "prompt"}  # what may follow a recipe's first move, "gaussian"


def remake(recipe: Recipe, shape: Sequence[int]) -> Tensor:
    """The noise [1, *shape] that a recipe describes; of clips, that of their first chunk.

    Args:
        recipe: ("gaussian", seed), then any of ("nearby", seed, cosine), ("exact", text), ("chunk", step, seed) and
            ("prompt", text), which changes no noise.
        shape: Of one sample.

    Raises:
        ValueError: It has moves of other kinds, as a newer version may record, or values out of range.
    """
    moves = [move for move, *_ in recipe]
    if moves[:1] != ["gaussian"] or set(moves[1:]) - MOVES:
        raise ValueError(
            f"cannot remake noise from the moves {moves[:8]}; a recipe is one 'gaussian', then {sorted(MOVES)}"
        )
    noise = randn([recipe[0][1]], shape)
    for move, *values in recipe[1:]:
        if move == "nearby":
            seed, cosine = values
            if not -1 < cosine < 1:
                raise ValueError(f"cannot turn noise by the cosine {cosine}; it lies between -1 and 1")
            noise = nearby(noise, randn([seed], shape), cosine)
        elif move == "exact":
            noise = read_exact(values[0], shape)[:1]
        elif move == "prompt":
            (text,) = values
            check_prompt(text, "the prompt of a recipe")
    return noise


def step_noise(recipes: Sequence[Recipe], step: int, shape: Sequence[int]) -> Noise:
    """Noise [b, *shape] of one stochastic step, from each recipe's first seed: neighbours share it and differ in x_T.

    An "exact" move may hold its own. A move ("chunk", step, seed) sets the noise of one chunk of a clip, and
    ("chunk", step, seed, correlation) correlates it with the chunk before: `correlated`.

    Args:
        recipes: b of them.
        step: From 0, which is x_T.
        shape: Of one sample.
    """
    return torch.stack([_own_step(recipe, step, shape) for recipe in recipes])


def correlated(before: Tensor, fresh: Tensor, correlation: float) -> Tensor:
    """Noise s z + sqrt(1 - s^2) e, correlated with that of the chunk before (Stream-T1, arXiv:2605.04461).

    Args:
        before: z, of the chunk before, any shape.
        fresh: e, standard normal, of the same shape.
        correlation: s, -1 to 1.

    Raises:
        ValueError: The correlation is out of range.
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"noise cannot have the correlation {correlation}; it lies between -1 and 1")
    share: float = (1 - correlation**2) ** 0.5
    return correlation * before + share * fresh


def _own_step(recipe: Recipe, step: int, shape: Sequence[int]) -> Tensor:
    if step == 0:
        return remake(recipe, shape)[0]
    for move, *values in recipe:
        if move == "chunk" and values[0] == step:
            fresh = randn([values[1]], shape)[0]
            return correlated(_own_step(recipe, step - 1, shape), fresh, values[2]) if len(values) > 2 else fresh
    move, *values = [given for given in moves_of_noise(recipe) if given[0] != "chunk"][-1]
    own = read_exact(values[0], shape) if move == "exact" else ()
    return own[step] if step < len(own) else randn([derive(recipe[0][1], "step", step)], shape)[0]
