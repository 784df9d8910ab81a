"""The options of `gensearch evaluate`, one a line."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class StageName(StrEnum):
    """What a run does."""

    both = "both"
    generate = "generate"
    judge = "judge"


class Export(StrEnum):
    """Other formats of the results."""

    parquet = "parquet"


Benchmarks = Annotated[
    str,
    typer.Argument(help="shapes, moving, a published one such as geneval, or a .txt or .jsonl file of prompts."),
]
Metric = Annotated[
    str | None, typer.Option(help="The metric of a benchmark without an exact judge: a verifier's name.")
]
PromptsFile = Annotated[
    Path | None, typer.Option(help="Prompts of a benchmark that is not shipped; the error names what to download.")
]
Layout = Annotated[
    Path | None, typer.Option(help="Also write the pictures into this folder, as the authors' scripts read them.")
]
GPU = Annotated[str | None, typer.Option(help="With --dry-run: hours of h200, h100, a100, 4090 ...")]
Utilisation = Annotated[float, typer.Option(help="With --gpu: the share of its peak that is reached.")]
Variance = Annotated[
    Path | None, typer.Option(help="With --dry-run: an earlier run, whose variances tell what the plan can detect.")
]
Balanced = Annotated[
    bool, typer.Option("--balanced", help="More seeds for prompts of small tags, until all tags have as many images.")
]
NoCanary = Annotated[bool, typer.Option("--no-canary", help="Do not try a detector on known pictures.")]
Config = Annotated[
    str | None, typer.Option(help="A preset or a YAML file (default without --method: that of the benchmark).")
]
Methods = Annotated[
    list[str] | None, typer.Option(help="NAME=KEY:VALUE,... once for each method; added to those of the config.")
]
Prompts = Annotated[
    int | None, typer.Option(help="Prompts per tag (default: 48, or all of published benchmarks and files).")
]
Seeds = Annotated[int | None, typer.Option(help="Seeds per prompt (default: that of the benchmark).")]
Seed = Annotated[int | None, typer.Option(help="The root that all seeds come from (default: 0).")]
Baseline = Annotated[str | None, typer.Option(help="What gains are over (default: the first method).")]
Holdout = Annotated[list[str] | None, typer.Option(help="A verifier that only reports; may be repeated.")]
Out = Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is continued.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, each with its own copy of the models.")]
BlockSize = Annotated[int | None, typer.Option(help="Trials that share batches (default: 16).")]
Candidates = Annotated[
    bool, typer.Option("--candidates", help="Judge every finished sample as well, into candidates.jsonl.")
]
ShardText = Annotated[str, typer.Option(help="Which part of the trials, and of how many, as in 2/8.")]
Stages = Annotated[StageName, typer.Option(help="Only generate, or only judge what was generated.")]
Retry = Annotated[bool, typer.Option("--retry", help="Try trials again that have failed.")]
Exports = Annotated[Export | None, typer.Option(help="Write the results in another format as well.")]
Noncommercial = Annotated[
    bool, typer.Option("--allow-noncommercial", help="Take verifiers whose licence forbids commercial use.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, do nothing.")]
