"""`gensearch replay`: make a picture again from its recipe and check the bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gensearch.runs.replay import Replay


def replay(
    source: Annotated[Path, typer.Argument(help="The folder of a run, or a PNG with a recipe inside.")],
    model: Annotated[str | None, typer.Option(help="Where the model is, instead of what the recipe says.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write it: PNG, or of clips GIF, MP4 or WebM.")] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=100, help="Frames per second of GIF, MP4 and WebM.")] = 8.0,
) -> None:
    """Make a picture again from its own recipe and check it bit for bit; exits 1 if it differs.

    Of a picture that differs it says by how much, in how many pixels, and what changed: the machine or the model. What
    --out writes carries the recipe if it is exact.

    Example: gensearch replay runs/demo/best.png
    """
    from gensearch.files.atomic import require_writable
    from gensearch.files.movies import require_format, write_clip
    from gensearch.runs.replay import replay as make_again

    if out is not None:
        if out.is_dir():
            raise ValueError(f"{out} is a folder; give a file with --out")
        require_format(out)
        require_writable(out.parent)
    found = make_again(source, model)
    about = found.about
    if out is not None:
        write_clip(out, found.pixels, about.text() if found.exact else None, fps)
        typer.echo(f"picture: {out}")
    _, height, width, _ = found.pixels.shape
    typer.echo(f"sample {about.sample} of {about.config.search} on {model or about.config.model}, {width}x{height}")
    if found.exact and found.untouched:
        typer.echo(f"bit-exact: sha256 {about.pixels}")
        return
    typer.echo("\n".join(differences(found)))
    raise typer.Exit(1)


def differences(found: Replay) -> list[str]:
    """What differs, in lines: how many pixels by how much, and which parts of the fingerprint."""
    from gensearch.files.compare import by_machine, in_words, shorten

    if found.exact:
        edited = "the recipe gives what it promises, but the picture in the file is another one: it was edited"
        return [f"{edited}; {found.distance}"]
    machine, model = by_machine(found.changed)
    if machine and not model:
        return [f"not bit-exact, made on another machine: {in_words(machine)}; {found.distance}"]
    lines = [f"not bit-exact: {found.distance}"]
    lines += [f"  {name}: {shorten(then)} then, {shorten(now)} now" for name, (then, now) in model.items()]
    lines += [f"  made on another machine, too: {in_words(machine)}"] if machine else []
    return lines if found.changed else [*lines, "  the fingerprints agree: the weights or the recipe changed"]
