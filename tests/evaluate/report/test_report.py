"""The numbers and files of a comparison: roles, costs, p-values, tables in three formats, one page without network."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gensearch.evaluate.bootstrap import Interval
from gensearch.evaluate.report.analyse import analyse, warnings
from gensearch.evaluate.report.curves import falling, ladders, replayed
from gensearch.evaluate.report.gallery import outcomes
from gensearch.evaluate.report.merge import merge
from gensearch.evaluate.report.plots import Point, beside, round_numbers, scatter
from gensearch.evaluate.report.tables import csv_text, escaped, latex, main_table, markdown
from gensearch.evaluate.report.write import write_report
from gensearch.evaluate.significance import holm, sign_flip
from gensearch.evaluate.table import per_prompt

ODDS = {"base": 0.2, "best_4": 0.8, "paid": 0.5, "blind": 0.2}
BLIND = {"blind": {"search": "unguided"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("runs") / "one", candidates=4)


def write(folder: Path, odds=ODDS, **more) -> Path:
    from tests.builders.evaluations import write_run

    return write_run(folder, odds, methods=BLIND, **more)


@pytest.fixture(scope="module")
def found(run):
    return analyse(merge([run]), resamples=300)


def test_roles_and_costs(found):
    assert {line.name: line.role for line in found.lines} == {
        "base": "baseline",
        "best_4": "",
        "paid": "",
        "blind": "control",
    }
    paid = found.lines[2].costs
    assert paid == pytest.approx({"nfe": 4, "scored": 2, "seconds": 0.5, "dollars": 250e-6})


def test_p_values_are_those_of_the_differences_of_prompts(found):
    rows = found.rows
    gaps = [a["judge"] - b["judge"] for a, b in zip(rows["best_4"], rows["base"], strict=True)]
    differences, tags = per_prompt(rows["base"], gaps)
    assert found.p["best_4", "world/judge"] == sign_flip(differences, tags, flips=300)
    assert len(found.p) == 3 * 2  # three methods against the baseline, by the judge and by one hold-out
    assert found.corrected == holm(found.p)
    assert found.lines[1].p == found.corrected["best_4", "world/judge"] < 0.05
    assert found.lines[0].p is None


def test_a_control_that_differs_is_said(tmp_path: Path):
    odd = analyse(merge([write(tmp_path / "odd", {"base": 0.1, "blind": 0.9})]), resamples=300)
    assert any(re.match(r"The control blind differs from base by \+0\.\d+", said) for said in warnings(odd))
    none = analyse(merge([write(tmp_path / "none", {"base": 0.1, "best_4": 0.9})]), resamples=300)
    assert any("No control was run" in said for said in warnings(none))


def test_runs_with_no_pair_in_common_are_refused(tmp_path: Path):
    one = write(tmp_path / "one", {"base": 0.2}, only=lambda p: p < 6)
    two = write(tmp_path / "two", {"best_4": 0.2}, only=lambda p: p >= 6)
    with pytest.raises(ValueError, match="no prompt is finished with all methods under the same seed; compare runs"):
        analyse(merge([one, two]))


def test_csv_has_every_number_once(found):
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    keys = [(row["method"], row["score"], row["tag"]) for row in rows]
    assert len(set(keys)) == len(keys)
    mine = next(r for r in rows if (r["method"], r["score"], r["tag"]) == ("best_4", "world/judge", "overall"))
    assert float(mine["mean"]) == found.lines[1].overall
    assert float(mine["difference"]) == found.lines[1].gain["mean"]
    assert float(mine["p_holm"]) == found.lines[1].p
    tags = [float(r["mean"]) for r in rows if r["method"] == "best_4" and r["score"] == "world/judge"][1:]
    assert np.mean(tags) == pytest.approx(found.lines[1].overall)


def test_markdown_and_latex_have_one_cell_for_each_column(found):
    header, rows = main_table(found)
    lines = [line for line in markdown(found, ["mind this"]).splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in lines[: len(rows) + 2]} == {len(header) - 1}
    assert "- mind this" in markdown(found, ["mind this"])
    body = [line for line in latex(found).splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [len(header) - 1] * (len(rows) + 1)
    assert r"best\_4" in latex(found)
    assert latex(found).startswith("% ")
    assert "\n% " not in latex(found)


def test_latex_escapes_what_it_would_read():
    assert escaped(r"a_b & 5% #1 $x$ {y} ~^\ <") == (
        r"a\_b \& 5\% \#1 \$x\$ \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} $<$"
    )


class Page(HTMLParser):
    """Tags in order, addresses, and whether all are closed."""

    VOID = {"meta", "img", "br", "path"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.addresses, self.tags = list[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_files_of_a_report(run, tmp_path: Path):
    write_report([run], tmp_path, resamples=300)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"compare.html", "compare.csv", "compare.md", "compare.tex", "replay.json"}
    text = (tmp_path / "compare.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "script" not in page.tags
    assert "prompt &lt;3&gt; &amp; more" in text
    assert "<3>" not in text
    assert "$" not in re.sub(r"data:[^\"]*", "", text)  # every placeholder is filled


def test_a_missing_picture_is_a_note(tmp_path: Path):
    run = write(tmp_path / "run", {"base": 0.1, "best_4": 0.9})
    for picture in (run / "pictures" / "best_4").iterdir():
        picture.unlink()
    write_report([run], tmp_path / "out", resamples=300)
    assert "no picture" in (tmp_path / "out" / "compare.html").read_text()


def test_wins_and_losses_take_each_tag_in_turn():
    def record(prompt, tag, judge):
        return {"prompt": prompt, "tag": tag, "judge": judge}

    tags = ["a", "a", "a", "b", "c", "a"]
    mine = [record(i, tag, 1.0) for i, tag in enumerate(tags)]
    base = [record(i, tag, 0.0 if i < 5 else 1.0) for i, tag in enumerate(tags)]
    wins, losses = outcomes(mine, base)
    assert [pair[0]["prompt"] for pair in wins] == [0, 3, 4, 1, 2]
    assert losses == []
    assert [pair[0]["prompt"] for pair in outcomes(base, mine)[1]] == [0, 3, 4, 1, 2]
    mine[4]["judge"] = 0.4
    assert [pair[0]["prompt"] for pair in outcomes(mine, base)[0]] == [0, 3, 1, 2, 4]  # the smallest gap comes last


def test_replays_have_both_limits(found):
    one = next(each for each in replayed(found) if each.method == "best_4")
    judged = {policy: curve[4].mean for policy, curve in one.judged.items()}
    assert judged["random"] == min(judged.values())
    assert judged["judge"] == max(judged.values())
    assert list(one.guided) == ["guide", "random"]
    with pytest.raises(ValueError, match="no stored score is called 'nope'"):
        replayed(found, ["nope"])


def test_a_falling_hold_out_is_said_only_where_limits_are_apart():
    up = {1: Interval(0.0, -0.1, 0.1), 4: Interval(1.0, 0.9, 1.1), 16: Interval(1.5, 1.4, 1.6)}
    down = {1: Interval(0.0, -0.1, 0.1), 4: Interval(0.8, 0.7, 0.9), 16: Interval(0.2, 0.1, 0.3)}
    near = down | {16: Interval(0.75, 0.6, 0.9)}
    assert falling({"guide": up, "other": down}) == [
        "other falls from 0.800 at n = 4 to 0.200 at n = 16 while the guide rises: the guide is over-optimised."
    ]
    assert falling({"guide": up, "other": near}) == falling({"guide": down, "other": up}) == []


def test_methods_of_several_budgets_are_a_ladder(tmp_path: Path):
    from tests.builders.evaluations import write_run

    budgets = {f"best{n}": {"compute": float(n)} for n in (1, 4, 16)} | {
        "other": {"compute": 2.0, "verifier": "motion"}
    }
    run = write_run(tmp_path / "run", {"best1": 0.2, "best4": 0.5, "best16": 0.8, "other": 0.5}, methods=budgets)
    found = ladders(analyse(merge([run]), resamples=300))
    assert list(found) == ["best16"]
    assert list(found["best16"]["judge"]) == [1, 4, 16]


def test_numbers_beside_points_do_not_cover_each_other():
    spots = [(200.0, 120.0 + 3 * i) for i in range(5)]
    places = beside(spots)
    apart = [abs(a[0] - b[0]) >= 16 or abs(a[1] - b[1]) >= 13 for i, a in enumerate(places) for b in places[:i]]
    assert all(apart)


def test_axes_have_round_numbers():
    assert round_numbers(1, 64) == [1, 2, 5, 10, 20, 50]
    assert round_numbers(1, 1e5) == [1, 10, 100, 1000, 10_000, 100_000]
    drawn = scatter(
        [Point(1, "baseline", 0.0, 0.5, None, None, "a <b>"), Point(2, "", 3.0, 0.7, 0.6, 0.8, "c")], "x", "y"
    )
    assert "nan" not in drawn
    assert "a &lt;b&gt;" in drawn
