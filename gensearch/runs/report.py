"""report.html: one file that shows a run without the network; everything that came from outside is escaped."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from gensearch.config.run import RunConfig, validate
from gensearch.core.guard import ADVICE, read_guard
from gensearch.core.ledger import Cost
from gensearch.core.limits import CONTROLS
from gensearch.core.noise import first_seed, last_seed, moves_of_noise, prompt_of
from gensearch.core.result import Election, Motion
from gensearch.files.atomic import write_atomic
from gensearch.runs.command import command
from gensearch.runs.curve_svg import curve
from gensearch.runs.format import PASSES, charged, column, read_journal, read_json, remarks
from gensearch.runs.passports import sentence
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
        scores=scores_table(config, result) + reliability(config, result.get("passports", [])),
        guard=guard_section(result.get("guard"), bool(result["holdout"])),
        ledger=ledger_table(result["ledger"]) + beside(result.get("aside") or {}),
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
        "error": "an error ended it",
        "unscorable": "no finalist got a verdict",
    }
    unit, election = column(spent), result.get("election")
    passes = f"{spent[unit]} {PASSES[unit].removesuffix(' (nfe)')}"
    scored = f"scored by <b>{escape(config.select or config.verifier)}</b>: score"
    judged = "picked by random numbers, which say nothing of quality:" if config.search in CONTROLS else scored
    return (
        f"<b>{escape(config.search)}</b> on <b>{escape(config.model)}</b>, {judged} "
        f"{show(base)} &rarr; <b>{show(best)}</b> for "
        f"{passes} in {result['ledger']['seconds']:.1f}&nbsp;s; {why.get(result['stopped'], '')}."
        f"{moves(result.get('motion'))}{f' {Election(**election)}' if election else ''}"
        f"{''.join(f' <b>Note: {escape(said)}.</b>' for said in remarks(result))}"
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
    blind = config.search in CONTROLS
    first = ["a random number", "selects the winner"] if blind else [escape(decides), role]
    rows.append([*first, show(base["score"]), show(best["score"])])
    for name, value in best["parts"].items():
        if blind:
            rows.append([escape(name), "scores without any effect", show(base["parts"].get(name)), show(value)])
        elif name != decides:
            rows.append([f"&emsp;{escape(name)}", "part of it", show(base["parts"].get(name)), show(value)])
    for name, (winner, plain) in result["holdout"].items():
        rows.append([escape(name), "hold-out: not optimised", show(plain), show(winner)])
    return table(["verifier", "role", "base", "best"], rows)


def reliability(config: RunConfig, passports: Sequence[dict[str, Any]]) -> str:
    """How far the verifiers were found to be right, or how to find out for the guide."""
    said = [f"{escape(p['verifier'])} on {escape(sentence(p))}." for p in passports]
    if config.verifier not in {p["verifier"] for p in passports}:
        said.append(f"Not checked yet: <code>gensearch verifiers check {escape(shlex.quote(config.verifier))}</code>")
    return "".join(f"<p>{text}</p>" for text in said)


def guard_section(data: dict[str, Any] | None, held_out: bool) -> str:
    """What speaks for over-optimisation, warnings first; nothing if it was not checked."""
    if data is None:
        return ""
    guard = read_guard(data)
    alarms = "".join(f"<p><b>Warning: {escape(text)}.</b></p>" for text in guard.warnings)
    rows = [
        ["score of the winner, corrected for selection", f"{show(data['corrected'])} &plusmn; {show(data['error'])}"],
        ["the same by a split of the verifiers, each on the pick of the others", show(data.get("split"))],
        ["finished samples that count as different", show(data["distinct"])],
        ["mean distance of two of them, 0 to 1", show(data["distance"])],
        ["squared norm of the winner's noise, in standard deviations from the shell", show(data["shell"])],
        ["scores that the ledger does not count", f"{guard.scored} in {guard.seconds:.1f}&nbsp;s"],
    ]
    advice = "" if held_out else f"<p>{escape(ADVICE)}.</p>"
    return f"<h2>Signs of over-optimisation</h2>{alarms}{advice}{table(['', ''], rows)}"


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


def beside(aside: dict[str, int]) -> str:
    """What remote critics cost as hold-outs, which is in no row of the ledger; nothing if they cost nothing."""
    paid = charged(aside)
    return f"<p>Hold-outs, beside the budget: {aside['scored']} scores, {escape(paid)}.</p>" if paid else ""


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
