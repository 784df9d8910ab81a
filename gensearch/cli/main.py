"""The command line: `gensearch generate | evaluate | judge | compare | verifiers | train | list | convert | replay`.

Exit codes: 0 done, 1 failed (or a replay gave other pixels), 2 a wrong request, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gensearch.cli.check import check
from gensearch.cli.compare import compare
from gensearch.cli.convert import convert
from gensearch.cli.evaluate import evaluate
from gensearch.cli.generate import generate
from gensearch.cli.judge import judge
from gensearch.cli.listing import list_names
from gensearch.cli.replay import replay
from gensearch.core.errors import by_flag, one_line
from gensearch.packages import __version__

EXITS = "Exit codes: 0 done, 1 failed, 2 wrong request, 130 interrupted."


class Commands(TyperGroup):
    """The commands; Ctrl-C in one that does not handle it is said, too."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


class Command(TyperCommand):
    """A command whose errors name the flags that were given, where they would name the fields that these fill."""

    def invoke(self, ctx: Any) -> Any:
        """Run it; of a flag and a `--set` of one field, the latter has won."""
        given = {o.name: o.opts[0] for o in self.params if ctx.params.get(o.name) not in (None, [], ())}
        flags = {field: given[name] for field, name in OPTIONS.items() if name in given}
        won = {text.partition("=")[0].strip() for text in ctx.params.get("sets") or ()}
        try:
            return super().invoke(ctx)
        except ValueError as error:
            text = by_flag(str(error), {k: v for k, v in {**given, **flags}.items() if k not in won})
            if text == str(error):
                raise
            raise ValueError(text) from error


NAMES = {  # of what a flag fills in models of all kinds
    "steps": ("steps", "num_steps", "num_inference_steps"),
    "guidance": ("guidance_scale", "guidance"),
    "batch_size": ("batch_size",),
}
OPTIONS = {f"{kind}{name}": flag for flag in NAMES for name in NAMES[flag] for kind in ("options.", "option ")}

ALLOWED = {False: (), True: ("allow_noncommercial=true",)}  # the flag of training as a setting

app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("generate", cls=Command, epilog=EXITS)(generate)
app.command("evaluate", cls=Command, epilog=EXITS)(evaluate)
app.command("judge", epilog=EXITS)(judge)
app.command("compare", cls=Command, epilog=EXITS)(compare)
app.command("list")(list_names)
app.command("convert", epilog=EXITS)(convert)
app.command("replay", epilog=EXITS)(replay)
checking = typer.Typer(no_args_is_help=True, help="Check verifiers before you trust them.")
app.add_typer(checking, name="verifiers")
checking.command("check", epilog=EXITS)(check)
training = typer.Typer(no_args_is_help=True, help="Train what makes searches cheaper.")
app.add_typer(training, name="train")


@training.command("hypernoise", epilog=EXITS)
def train_hypernoise(
    config: Annotated[str, typer.Option(help="A recipe of configs/hypernoise or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, panel and result.")],
    sets: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE or form.NAME=VALUE.")] = None,
    log: Annotated[
        str | None, typer.Option(help="tensorboard, wandb or none; tensorboard by default if it is installed.")
    ] = None,
    allow_noncommercial: Annotated[
        bool, typer.Option("--allow-noncommercial", help="Take verifiers whose licence forbids commercial use.")
    ] = False,
) -> None:
    """Train a noise hypernetwork, which keeps most of a search's gain for one more network pass.

    Example: gensearch train hypernoise --config redness --out runs/redness

    The same command goes on with a run that was interrupted. For several processes: torchrun --nproc_per_node 2 -m
    gensearch train hypernoise ...
    """
    from hypernoise.command import train

    train(config, [*(sets or ()), *ALLOWED[allow_noncommercial]], out, log)


@training.command("remember", epilog=EXITS)
def train_remember(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, all of one model and verifier.")],
    memory: Annotated[Path, typer.Option(help="Folder of the memory; made as needed.")],
) -> None:
    """Remember the winners of searches: later ones start near them, and hypernetworks learn from them.

    Example: gensearch train remember runs/* --memory runs/memory

    Then `gensearch generate ... --propose runs/memory`, or `gensearch train consolidate --memory runs/memory ...`.
    """
    from hypernoise.command import remember

    remember(runs, memory)


@training.command("consolidate", epilog=EXITS)
def train_consolidate(
    memory: Annotated[Path, typer.Option(help="Folder that `train remember` filled.")],
    config: Annotated[str, typer.Option(help="A recipe of configs/hypernoise or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, panel and result.")],
    sets: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE or distil.NAME=VALUE.")] = None,
    log: Annotated[
        str | None, typer.Option(help="tensorboard, wandb or none; tensorboard by default if it is installed.")
    ] = None,
    allow_noncommercial: Annotated[
        bool, typer.Option("--allow-noncommercial", help="Take verifiers whose licence forbids commercial use.")
    ] = False,
) -> None:
    """Train a noise hypernetwork on remembered winners, and then by the reward as the recipe says.

    Example: gensearch train consolidate --memory runs/memory --config shapes_turbo --set steps=0 --out runs/night
    """
    from hypernoise.command import train

    train(config, [f"distil.memory={memory}", *(sets or ()), *ALLOWED[allow_noncommercial]], out, log)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"gensearch {__version__}")
        raise typer.Exit


@app.callback(epilog=EXITS)
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Test-time scaling for image and video generators: spend more compute, get a better picture.

    Example: gensearch generate "a photo of two red stars" --compute 16
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit; every error is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn  # type: ignore[assignment]
            code = app(given, prog_name="gensearch", standalone_mode=False)
    except KeyboardInterrupt:
        code = complain("interrupted", 130)
    except Exception as error:
        if given[:1] == ["--debug"]:
            raise
        code = complain("interrupted", 130) if by_interrupt(error) else complain(*explain(error))
    sys.exit(code or 0)


def warn(message: Warning | str, *where: Any) -> None:
    """Show a warning as one line on stderr."""
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def by_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: extensions turn it into their own while they are imported."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def explain(error: Exception) -> tuple[str, int]:
    """An error as one line and an exit code."""
    if hasattr(error, "format_message"):  # click's own, from whichever package typer takes it
        return " ".join(error.format_message().split()), 2
    if type(error).__name__ == "Abort":
        return "interrupted", 130
    expected = isinstance(error, ValueError | OSError | ImportError) or type(error).__module__.startswith("gensearch")
    hint = "" if expected else " (`gensearch --debug ...` shows where)"
    return one_line(error) + hint, 2 if isinstance(error, ValueError) else 1


def complain(message: str, code: int) -> int:
    """Say what went wrong, if there is something to say, on stderr and pass the exit code on."""
    if message:
        print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
