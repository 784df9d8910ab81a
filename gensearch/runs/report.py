"""report.html: one file that shows a run without the network; everything that came from outside is escaped."""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from gensearch.config.run import RunConfig, validate
from gensearch.core.ledger import Cost
from gensearch.core.noise import first_seed, last_seed, moves_of_noise, prompt_of
from gensearch.core.result import Motion
from gensearch.files.atomic import write_atomic
from gensearch.runs.format import PASSES, column, read_journal, read_json
from gensearch.runs.tree_svg import tree

SHOWN = 64  # candidates in the grid, best first
SMALL = 256  # pictures with no longer side are enlarged as hard pixels


def write_report(folder: Path) -> None:
    """Rebuild the report of a run folder from its own files.

    Args:
        folder: The folder of a run that has a result.

    Raises:
        ValueError: A file is missing or damaged.
    """
    config = validate(read_json(folder / "config.json")["config"])
    result, rounds = read_json(folder / "result.json"), read_journal(folder)
    template = Template((files("gensearch") / "runs" / "report.html").read_text(encoding="utf-8"))
    same = "the same sample: " if result["best"]["id"] == result["base"]["id"] else ""
    page = template.substitute(
        prompt=escape(config.prompt),
        lead=lead(config, result),
        base=figure(folder / "base.png", "first finished sample", result["base"]["score"]),
        best=figure(folder / "best.png", same + "best of the search", result["best"]["score"]),
        strip=strip_of(folder),
        tree=tree(rounds, result["best"]["id"], config.prompt),
        curve=curve(
            [(done, best) for done, _, best in result["curve"]],
            result["base"]["score"],
            PASSES[column(result["ledger"]["spent"])],
        ),
        scores=scores_table(config, result),
        ledger=ledger_table(result["ledger"]),
        guide=escape(config.verifier),
        candidates=grid(folder, rounds, result["best"]["id"]),
        recipe=recipe_table(config, result),
        replay=escape(f"gensearch replay {shlex.quote(str(folder))}"),
        command=escape(command(config)),
    )
    write_atomic(folder / "report.html", page.encode(errors="replace"))  # a folder's name may be no text


def lead(config: RunConfig, result: dict[str, Any]) -> str:
    """The run in one sentence."""
    best, base, spent = result["best"]["score"], result["base"]["score"], result["ledger"]["spent"]
    why = {
        "budget": "the budget was used up",
        "finished": "the search was complete",
        "closed": "it was stopped early",
        "unscorable": "the verifier could score nothing more",
    }
    unit = column(spent)
    passes = f"{spent[unit]} {PASSES[unit].removesuffix(' (nfe)')}"
    return (
        f"<b>{escape(config.search)}</b> on <b>{escape(config.model)}</b>, scored by "
        f"<b>{escape(config.select or config.verifier)}</b>: score {show(base)} &rarr; <b>{show(best)}</b> for "
        f"{passes} in {result['ledger']['seconds']:.1f}&nbsp;s; {why.get(result['stopped'], '')}."
        f"{moves(result.get('motion'))}"
    )


def moves(motion: dict[str, float] | None) -> str:
    """How much the winner moves, beside what it was chosen from; a warning if it is far less."""
    if motion is None:
        return ""
    about = Motion(**motion)
    alarm = " <b>That is less than half of it: the verifier may prefer still clips.</b>" if about.still else ""
    here, usual = show(about.winner), show(about.leaves)
    return f" From frame to frame its pixels change by {here}, those of all clips of the search by {usual}.{alarm}"


def figure(path: Path, caption: str, score: float | None) -> str:
    """One large picture with its score."""
    return f"<figure>{image(path)}<figcaption>{caption}<span>{show(score)}</span></figcaption></figure>"


def strip_of(folder: Path) -> str:
    """The frames of the winner side by side, if it is a clip."""
    path = folder / "best_strip.png"
    return f"<figure>{image(path)}<figcaption>frames of the best clip</figcaption></figure>" if path.exists() else ""


def image(path: Path) -> str:
    """A PNG inside the page; small ones keep their pixels sharp."""
    content = path.read_bytes()
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))  # of the header
    sharp = " class=sharp" if max(width, height) <= SMALL else ""
    return f'<img{sharp} alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def show(value: Any) -> str:
    """A score in four digits; a dash where there is none."""
    return "&ndash;" if value is None else f"{value:.4g}"


# --- the curve


def curve(
    points: Sequence[tuple[int, float | None]],
    base: float | None,
    unit: str = PASSES["nfe"],
    width: int = 640,
    height: int = 240,
) -> str:
    """The best score so far against the generator's work, as an SVG staircase; dashes mark the base sample.

    Args:
        points: Work so far and the best score after it; None where nothing was scored.
        base: The base sample's score.
        unit: What the work is counted in.
        width: In pixels.
        height: In pixels.
    """
    known = [(x, y) for x, y in points if y is not None]
    if not known:
        return "<p>Nothing was scored.</p>"
    values = [y for _, y in known] + ([base] if base is not None else [])
    low, high = padded(min(values), max(values))
    scale = ticks(low, high)
    left, right, top, bottom = 30 + 8 * max(len(text) for _, text in scale), 12, 12, 42
    end = max(1, *(x for x, _ in known))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + x / end * (width - left - right),
            top + (high - y) / (high - low) * (height - top - bottom),
        )

    path, last = "", None
    for x, y in known:
        px, py = at(x, y)
        path += f"M{px:.1f} {py:.1f}" if last is None else f"H{px:.1f}V{py:.1f}"
        last = (px, py)
    dots = "".join("<circle r=3 cx={:.1f} cy={:.1f} />".format(*at(x, y)) for x, y in known[:200])
    grid_lines, labels = "", ""
    for tick, text in scale:
        y = at(0, tick)[1]
        grid_lines += f"<path class=grid d='M{left} {y:.1f}H{width - right}'/>"
        labels += f"<text x={left - 8} y={y + 4:.1f} text-anchor=end>{text}</text>"
    for tick, text in ticks(0, end) if end >= 4 else [(i, str(i)) for i in range(int(end) + 1)]:
        labels += f"<text x={at(tick, low)[0]:.1f} y={height - bottom + 18} text-anchor=middle>{text}</text>"
    dashes = ""
    if base is not None:
        y = at(0, base)[1]
        dashes = f"<path class=base d='M{left} {y:.1f}H{width - right}'/>"
        labels += f"<text x={width - right} y={y - 5:.1f} text-anchor=end>first finished sample</text>"
    across, down = (left + width - right) / 2, (top + height - bottom) / 2
    labels += f"<text x={across} y={height - 4} text-anchor=middle>{unit}</text>"
    labels += f"<text transform='translate(13 {down}) rotate(-90)' text-anchor=middle>best score</text>"
    return (
        f"<svg viewBox='0 0 {width} {height}' role=img aria-label='best score against {unit}'>"
        f"{grid_lines}{dashes}<path class=line d='{path}'/>{dots}{labels}</svg>"
    )


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers within a range, about four, with their texts."""
    digits = -math.floor(math.log10((high - low) / 4))
    step = next(m for m in (1, 2, 5, 10) if m * 10.0**-digits >= (high - low) / 4) * 10.0**-digits
    found = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(tick, f"{tick:.{max(0, digits)}f}") for tick in found]


def padded(low: float, high: float) -> tuple[float, float]:
    """A range with some room around it, never empty."""
    room = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    return low - room, high + room


# --- tables


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of cells that are escaped already."""
    header = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def scores_table(config: RunConfig, result: dict[str, Any]) -> str:
    """The verifiers by role, and their scores for base and best."""
    best, base = result["best"], result["base"]
    decides = config.select or config.verifier
    rows = []
    if config.select:
        rows.append([escape(config.verifier), "guides the search", "&ndash;", "&ndash;"])
    role = "selects the winner" if config.select else "guides and selects"
    rows.append([escape(decides), role, show(base["score"]), show(best["score"])])
    for name, value in best["parts"].items():
        if name != decides:
            rows.append([f"&emsp;{escape(name)}", "part of it", show(base["parts"].get(name)), show(value)])
    for name, (winner, plain) in result["holdout"].items():
        rows.append([escape(name), "hold-out: not optimised", show(plain), show(winner)])
    return table(["verifier", "role", "base", "best"], rows)


def ledger_table(ledger: dict[str, Any]) -> str:
    """What was spent, per sample, and what only filled batches."""
    names = {
        **PASSES,
        "backward": "backward passes",
        "decoded": "pictures decoded",
        "scored": "verifier calls",
        "critic_tokens": "tokens of remote critics",
        "microdollars": "microdollars for remote critics",
    }
    padding, limit = ledger["padding"], ledger["limit"]
    rows = [
        [names.get(c, escape(c)), *map(str, (n, padding.get(c, 0), n + padding.get(c, 0), limit.get(c, "&ndash;")))]
        for c, n in ledger["spent"].items()
        if n or c in limit
    ]
    if "work" in limit:
        spent, filled = Cost(**ledger["spent"]).work, Cost(**padding).work
        rows.append(["work, as compute counts it", *map(str, (spent, filled, spent + filled, limit["work"]))])
    return table(["", "spent", "padding", "total", "limit"], rows)


def grid(folder: Path, rounds: Sequence[dict[str, Any]], best: int) -> str:
    """Thumbnails of the finished samples, best first."""
    found = [
        (score, sample, recipe, parent)
        for line in rounds
        if line["done"]
        for score, sample, recipe, parent in zip(
            line["scores"], line["ids"], line["recipes"], line["parents"], strict=True
        )
    ]
    found.sort(key=lambda entry: (entry[0] is None, -(entry[0] or 0.0), entry[1]))
    cells = []
    for score, sample, recipe, parent in found[:SHOWN]:
        seed = first_seed(recipe) if parent is None else last_seed(recipe)
        origin = "noise of its own" if seed is None else f"seed {seed}"
        origin += "" if parent is None else f", from #{parent}"
        mark = " class=best" if sample == best else ""
        picture = image(folder / "candidates" / f"{sample:05}.png")
        cells.append(
            f'<figure{mark} title="#{sample}: {escape(origin)}">{picture}'
            f"<figcaption>#{sample}<span>{show(score)}</span></figcaption></figure>"
        )
    more = f"<p>The best {SHOWN} of {len(found)}; all of them are in candidates/.</p>" if len(found) > SHOWN else ""
    return f"<div class=grid>{''.join(cells)}</div>{more}"


def recipe_table(config: RunConfig, result: dict[str, Any]) -> str:
    """Where the winner came from."""
    about = result["provenance"]
    noise = moves_of_noise(about["recipe"])
    moves = " &rarr; ".join(escape(" ".join(map(str, move))) for move in noise[:12])
    rows = [
        ["sample", f"#{about['sample']}"],
        ["generated from", escape(prompt_of(about["recipe"], config.prompt))],
        ["noise", moves + (" ..." if len(noise) > 12 else "")],
        ["seed of the search", str(config.seed)],
        ["physical batches", ", ".join(map(str, about.get("sizes") or [about["batch_size"]]))],
        ["sha256 of the pixels", f"<code>{escape(about['pixels'])}</code>"],
        ["unscored samples", str(result["unscored"])],
        ["made by", f"gensearch {escape(about['gensearch'])}"],
    ]
    return table(["", ""], rows)


def command(config: RunConfig) -> str:
    """The command line that runs this config again; values are JSON, which the YAML of the options contains."""
    words = ["--model", config.model, "--verifier", config.verifier, "--search", config.search]
    words += ["--seed", str(config.seed)]
    words += ["--compute", json.dumps(config.compute)] if config.compute is not None else []
    words += ["--propose", config.propose] if config.propose is not None else []
    words += ["--select", config.select] if config.select is not None else []
    words += [word for name in config.holdout for word in ("--holdout", name)]
    words += [word for name, value in config.knobs.items() for word in ("--knob", f"{name}={json.dumps(value)}")]
    words += [word for name, v in config.options.items() for word in ("--set", f"options.{name}={json.dumps(v)}")]
    words += [] if config.metadata else ["--no-metadata"]
    return shlex.join(["gensearch", "generate", *words, "--", config.prompt])
