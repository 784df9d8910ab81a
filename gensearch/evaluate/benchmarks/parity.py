"""A result on GenEval beside published ones, with the deviations from the original named."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from gensearch.core.errors import nearest
from gensearch.evaluate.journal import Record
from gensearch.evaluate.judging import summarise

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
README, PAPERS = "original README", "papers"
PUBLISHED = {  # model -> scores by tag and overall as printed, empty where not given, and the source
    "SD 1.5": ("0.97", "0.38", "0.35", "0.76", "0.04", "0.06", "0.43", README),
    "SD 2.1": ("0.98", "0.51", "0.44", "0.85", "0.07", "0.17", "0.50", README),
    "SDXL": ("0.98", "0.74", "0.39", "0.85", "0.15", "0.23", "0.55", README),
    "IF-XL": ("0.97", "0.74", "0.66", "0.81", "0.13", "0.35", "0.61", README),
    "minDALL-E": ("0.73", "0.11", "0.12", "0.37", "0.02", "0.01", "0.23", README),
    "CLIP retrieval": ("0.89", "0.22", "0.37", "0.62", "0.03", "0.00", "0.35", README),
    "PixArt-alpha": ("0.98", "0.50", "0.44", "0.80", "0.08", "0.07", "0.48", PAPERS),
    "SDXL-Turbo": ("1.00", "0.72", "0.49", "0.80", "0.10", "0.18", "0.55", "SD3 paper"),
    "FLUX.1-dev": ("0.98", "0.79-0.81", "0.73-0.74", "0.77-0.79", "0.22", "0.45", "0.66", PAPERS),
    "FLUX.1-dev, rewritten prompts": ("0.98", "0.93", "0.75", "0.93", "0.68", "0.65", "0.82", PAPERS),
    "DALL-E 3": ("0.96", "0.87", "0.47", "0.83", "0.43", "0.45", "0.67", PAPERS),
    "SD3-Medium": ("0.98", "0.74", "0.63", "0.67", "0.34", "0.36", "0.62", PAPERS),
    "SD3.5-Large": ("0.98", "0.89", "0.73", "0.83", "0.34", "0.47", "0.71", PAPERS),
    "Janus": ("0.97", "0.68", "0.30", "0.84", "0.46", "0.42", "0.61", PAPERS),
    "Janus-Pro-1B": ("0.98", "0.82", "0.51", "0.89", "0.65", "0.56", "0.73", PAPERS),
    "Janus-Pro-7B": ("0.99", "0.89", "0.59", "0.90", "0.79", "0.66", "0.80", "its own paper"),
    "Janus-Pro-7B (MILR's rerun)": ("0.98", "0.85", "0.56", "0.89", "0.77", "0.64", "0.78", "MILR paper"),
    "BAGEL": ("0.99", "0.94", "0.81", "0.88", "0.64", "0.63", "0.82", PAPERS),
    "Qwen-Image": ("0.99", "0.92", "0.89", "0.88", "0.76", "0.77", "0.87", PAPERS),
    "Z-Image": ("1.00", "0.94", "0.78", "0.93", "0.62", "0.77", "0.84", PAPERS),
    "Z-Image-Turbo": ("1.00", "0.95", "0.77", "0.89", "0.65", "0.68", "0.82", PAPERS),
}
ALWAYS = (
    "colours are named in float32; the original uses float16 autocast",
    "pictures are resized by torch's bilinear filter and rounded to 8 bits; OpenCV's differs in the last bit",
)


def check_published(model: str) -> str:
    """Return a model of the table.

    Args:
        model: Its name there.

    Raises:
        ValueError: There is no such row; with the nearest.
    """
    if model not in PUBLISHED:
        raise ValueError(f"the table of published scores has no {model!r}{nearest(model, PUBLISHED)}")
    return model


def parity(records: Sequence[Record], published: str | None = None) -> str:
    """Return a table in Markdown: this result, its difference from a published one, all published ones, deviations.

    The difference has a 95 % interval of this result's sampling alone, and none where a range was published.

    Args:
        records: Verdicts, as `judge_pictures` writes them.
        published: The model that made the pictures, if the table has it.
    """
    found, title = summarise(records), records[0]["benchmark"]
    counts = Counter(record["tag"] for record in records)
    mine = [found.tags.get(tag) for tag in TAGS]
    rows = [["model", *TAGS, "overall", "source"], ["---", *["---:"] * 7, "---"]]
    rows.append(
        ["**these pictures**", *(f"{v:.2f}" if v is not None else "-" for v in mine), f"{found.overall:.3f}", title]
    )
    if published:
        spread = [
            math.sqrt(v * (1 - v) / counts[tag]) if v is not None else 0.0 for tag, v in zip(TAGS, mine, strict=True)
        ]
        spread.append(math.sqrt(sum(s * s for s in spread)) / max(1, len(found.tags)))
        theirs = PUBLISHED[published][:7]
        cells = [gap(a, b, s) for a, b, s in zip([*mine, found.overall], theirs, spread, strict=True)]
        rows.append([f"difference from {published}", *cells, "95 % interval of our sampling"])
    rows += [[model, *scores] for model, scores in PUBLISHED.items()]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    named = "\n".join(f"- {text}" for text in deviations(records))
    note = "Numbers of papers mix prompts as they are and prompts rewritten by a language model."
    return f"# {title}\n\n" + "\n".join(lines) + f"\n\n{note}\n\n## Deviations from the original\n\n{named}\n"


def of_run(title: str, records: Sequence[Record]) -> str:
    """Return the table of each method of an evaluation in Markdown; one that the judge itself guided is an oracle.

    Args:
        title: The name of the benchmark.
        records: Of the journal.
    """
    sections = []
    for name in dict.fromkeys(record["method"] for record in records):
        mine = [record for record in records if record["method"] == name]
        oracle = ", an oracle: guided by this judge" if any(record["oracle"] for record in mine) else ""
        named = f"{title}: {name}{oracle}"
        verdicts = [
            {"tag": r["tag"], "metadata": str(r["prompt"]), "correct": r["judge"] == 1, "benchmark": title}
            for r in mine
        ]
        sections.append(parity(verdicts).replace(f"# {title}", f"# {named}", 1))
    return "\n".join(sections)


def gap(mine: float | None, theirs: str, spread: float) -> str:
    """Return a difference with the half width of its interval as text; a dash where one of the two is not known.

    Args:
        mine: Our score.
        theirs: As it was printed; a range or nothing has no difference.
        spread: Standard error of ours.
    """
    if mine is None or not theirs or "-" in theirs:
        return "-"
    return f"{mine - float(theirs):+.2f} ± {1.96 * spread:.2f}"


def deviations(records: Sequence[Record]) -> list[str]:
    """Return what differs from the original evaluation.

    Args:
        records: Verdicts on pictures.
    """
    title, prompts = records[0]["benchmark"], Counter(record["metadata"] for record in records)
    named = [] if title == "GenEval" else [detector(title)]
    if len(prompts) != 553:
        named.append(f"{len(prompts)} prompts instead of 553")
    if set(prompts.values()) != {4}:
        named.append(f"{min(prompts.values())} to {max(prompts.values())} pictures of a prompt instead of 4")
    return [*named, *ALWAYS]


def detector(title: str) -> str:
    """Return how the detector differs from that of the original.

    Args:
        title: Of the benchmark, such as "GenEval (HF-M2F)".
    """
    if title.endswith("(HF-M2F)"):
        return (
            "detector: Mask2Former with Meta's weights (mask AP 46.3 on COCO) instead of OpenMMLab's (46.1); its "
            "scores are on another scale, which matters most at the threshold of 0.9 for counting"
        )
    return f"detector: {title.partition('(')[2].rstrip(')')} instead of OpenMMLab's Mask2Former"
