"""`gensearch verifiers check`: the passport of a verifier, before it guides a search."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def check(
    name: Annotated[str, typer.Argument(help="A verifier, as `gensearch list verifiers` has it.")],
    model: Annotated[str, typer.Option(help="Makes the samples: an embedded generator.")] = "shapes/turbo",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per tag, at most.")] = 8,
    samples: Annotated[int, typer.Option(min=2, max=4096, help="Samples of each prompt.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Everything random comes from it.")] = 0,
    pools: Annotated[Path | None, typer.Option(help="Folder to keep samples in, for several verifiers.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="CSV of labelled pairs instead: prompt, image_a, image_b, preferred (a, b, tie)."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the verifier runs.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="File of the passport (default: in the user's cache).")] = None,
) -> None:
    """Check how far a verifier can be trusted: accuracy on pairs of one generator, ties, stability, gain and speed.

    With the defaults it takes about 2 minutes on two cores for a small CLIP, most of them for the samples.

    Example: gensearch verifiers check shapes/clip --prompts 2 --samples 16
    """
    from gensearch import registry
    from gensearch.files.atomic import require_writable
    from gensearch.runs import passports

    if out:
        require_writable(out.parent)
    registry.parse_verifier(name)
    began = time.monotonic()
    found = on_pairs(name, pairs, device) if pairs else on_pools(name, model, prompts, samples, seed, pools, device)
    found["seconds"] = round(time.monotonic() - began, 1)
    for line in lines(found):
        typer.echo(line)
    typer.echo(f"passport: {passports.write(found, out)}")


def on_pairs(name: str, path: Path, device: str) -> dict[str, Any]:
    """The passport on labelled pairs."""
    from gensearch import registry
    from gensearch.evaluate.pairs import check_pairs, read_pairs

    listed = read_pairs(path)
    return check_pairs(registry.verifier(name, device=device), listed, path.stem, progress(), device)


def on_pools(
    name: str, source: str, prompts: int, samples: int, seed: int, folder: Path | None, device: str
) -> dict[str, Any]:
    """The passport on samples of an embedded generator, which the exact judge knows the truth about."""
    from gensearch import registry
    from gensearch.evaluate.passport import passport
    from gensearch.evaluate.pool import pools, world_of
    from gensearch.models.names import embedded

    if source not in embedded():
        raise ValueError(
            f"no exact judge knows the truth about samples of {source!r}; take one of {', '.join(embedded())}, or "
            "label pairs of its pictures and give them as --pairs FILE.csv"
        )
    verifier, model = registry.verifier(name, device=device), registry.load_model(source)
    world = world_of(model)
    asked = world.lines(prompts)
    typer.echo(f"{len(asked)} prompts, {samples} samples each, of {source}", err=True)
    made = pools(model, asked, samples, world=world, folder=folder, seed=seed)
    return passport(verifier, model, made, progress())


def progress(every: float = 5.0) -> Callable[[str], None]:
    """A function that prints its text on stderr, at most every few seconds."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            typer.echo(text, err=True)

    return say


def lines(passport: dict[str, Any]) -> list[str]:
    """A passport in words, a line for each finding.

    Args:
        passport: As it is stored.
    """
    from gensearch.runs.passports import interval_text

    said = [
        f"verifier:    {passport['verifier']}",
        f"checked on:  {passport['on']}, {passport['prompts']} prompts",
        f"accuracy:    {interval_text(passport['accuracy'])} on pairs of one prompt, 0.5 is chance",
        f"ties:        {share(passport['ties'])} of pairs",
        f"unscored:    {share(passport['unscored'])}",
    ]
    if both := passport.get("pairwise"):
        said += [f"compares:    {interval_text(both['accuracy'])} of pairs rightly, {share(both['unscored'])} unscored"]
    if (flips := (both or passport).get("flips")) is not None:
        said += [f"order flips: {share(flips)} of verdicts"]
    return said + (of_samples(passport) if "best_of" in passport else [])


def share(value: float | None) -> str:
    """A share in percent."""
    return "unknown" if value is None else f"{value:.1%}"


def of_samples(passport: dict[str, Any]) -> list[str]:
    """The lines about samples of a generator, which labelled pairs say nothing about."""
    from gensearch.runs.passports import interval_text

    moved = ", ".join(f"{kind} {'-' if v is None else f'{v:.2f}'}" for kind, v in passport["sensitivity"].items())
    batch = passport["batch"]
    bits = "same bits in another order" if batch["same_bits_in_another_order"] else "OTHER BITS in another order"
    gain = ", ".join(f"{n}: {interval_text(value)}" for n, value in passport["best_of"].items())
    top = ", ".join(f"{n}: {value['mean']:.3f}" for n, value in passport["best_of_exact_judge"].items())
    return [
        f"spearman:    {interval_text(passport['spearman'])} with the share of the prompt that is right",
        f"sensitivity: {moved} (mean change in standard deviations within a prompt)",
        f"batches:     {bits}, alone at most {batch['largest_change_alone']:.1e} apart",
        f"gradient:    {passport['gradient']}",
        f"speed:       {passport['scores_per_second']:.0f} scores per second, each {passport['share_of_a_sample']:.2f} "
        "of a sample's time",
        f"best of n:   {gain} right{'' if passport['monotone'] else ' (NOT rising)'}",
        f"ceiling:     {top} right, by the exact judge itself",
    ]
