"""Stored pools: many plain samples of each prompt with the exact judge's verdict, on which verifiers are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gensearch.core.noise import derive, randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model
from gensearch.files.atomic import write_atomic
from verifiers.types import Media, Verifier


class World(NamedTuple):
    """Prompts and the judges that know the truth about them.

    Attributes:
        lines: At most so many prompts per tag: `tag` and `prompt`.
        exact: 1 if a sample shows what its prompt asks for, otherwise 0.
        share: The share of the prompt that is fulfilled, 0 to 1.
    """

    lines: Any
    exact: Verifier
    share: Verifier


def world_of(model: Model) -> World:
    """The Shapes world that a model draws: moving for models of clips, otherwise of pictures.

    Args:
        model: The generator.
    """
    if "chunks" in model.verbs:
        from gensearch.shapes import clips
        from gensearch.shapes.tracker import ShapesTracker, ShapesTrackerPartial

        return World(clips.benchmark, ShapesTracker(), ShapesTrackerPartial())
    from gensearch.shapes import world
    from gensearch.shapes.judge import ShapesJudge, ShapesPartial

    return World(world.benchmark, ShapesJudge(), ShapesPartial())


class Pool(NamedTuple):
    """The samples of one prompt.

    Attributes:
        prompt: What they should show.
        tag: The kind of prompt.
        pixels: uint8 [n, 3, h, w], or [n, t, 3, h, w] of clips.
        exact: The exact judge's verdict, [n], 0 or 1.
        share: The share of the prompt that is fulfilled, [n].
    """

    prompt: str
    tag: str
    pixels: Tensor
    exact: Tensor
    share: Tensor

    @property
    def media(self) -> Media:
        """The samples as verifiers take them."""
        return self.pixels.float() / 255

    @property
    def prompts(self) -> list[str]:
        """The prompt, once for each sample."""
        return [self.prompt] * len(self.pixels)


def pools(
    model: Model,
    lines: Sequence[Mapping[str, Any]],
    samples: int,
    *,
    world: World,
    folder: Path | None = None,
    seed: int = 0,
) -> Iterator[Pool]:
    """The pool of each prompt: read where it is stored with as many samples, otherwise generated.

    Args:
        model: The generator.
        lines: Prompts with their tags.
        samples: Of each prompt, 2 or more.
        world: Judges the samples.
        folder: Where pools are kept, one file a prompt; None to keep none.
        seed: Everything random comes from it.

    Raises:
        ValueError: The folder holds pools of another model or seed, or a damaged one.
    """
    for line in lines:
        path = folder / f"{derive(line['prompt']):014x}.safetensors" if folder else None
        pool = read(path, model.name, seed) if path and path.exists() else None
        if pool is None or len(pool.pixels) < samples:
            pool = make(model, line, samples, world, seed)
            if path:
                about = {"prompt": pool.prompt, "tag": pool.tag, "model": model.name, "seed": str(seed)}
                tensors = {"pixels": pool.pixels, "exact": pool.exact, "share": pool.share}
                write_atomic(path, save(tensors, about))
        yield pool._replace(pixels=pool.pixels[:samples], exact=pool.exact[:samples], share=pool.share[:samples])


@torch.no_grad()
def make(model: Model, line: Mapping[str, Any], samples: int, world: World, seed: int) -> Pool:
    """Generate and judge the samples of one prompt; more of them begin with the same ones."""
    prompts = [line["prompt"]] * samples
    seeds = [derive("pool", seed, line["prompt"], i) for i in range(samples)]
    media = generate(model, prompts, randn(seeds, model.noise_shape), [(("gaussian", s),) for s in seeds])
    pixels = media.cpu().mul(255).round().byte().contiguous()
    shown = pixels.float() / 255
    return Pool(
        line["prompt"], line["tag"], pixels, world.exact(shown, prompts).total, world.share(shown, prompts).total
    )


def read(path: Path, model: str, seed: int) -> Pool:
    """One stored pool; raises ValueError if it is another model's or another seed's, or damaged."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = [file.get_tensor(name) for name in ("pixels", "exact", "share")]
        found = Pool(about["prompt"], about["tag"], *tensors)
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"{path} is no stored pool ({error}); delete it or take another folder") from None
    if (about["model"], about["seed"]) != (model, str(seed)):
        raise ValueError(
            f"{path} is a pool of {about['model']} with seed {about['seed']}, not of {model} with seed {seed}; take "
            "another folder"
        )
    return found
