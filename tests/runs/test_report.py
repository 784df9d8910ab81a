"""report.html: self-contained, escaped, and true to the record."""

from __future__ import annotations

import json
import re
import shlex
from html.parser import HTMLParser

import pytest

from gensearch import registry
from gensearch.cli import main as cli
from gensearch.config.run import RunConfig, validate
from gensearch.runs.command import command
from gensearch.runs.curve_svg import curve, ticks
from gensearch.runs.format import read_journal
from gensearch.runs.report import write_report
from gensearch.runs.tree_svg import tree
from verifiers.catalogue import Entry
from verifiers.controls.random import RandomScore

PROMPT = "a <script>alert(1)</script> & \"red\" 'star' $best ${x}"


class Page(HTMLParser):
    """Tags with attributes, and the text between them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    words = ["generate", PROMPT, "--model", "toy/turbo", "--verifier", "0.5*random", "--holdout", "noise"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.VERIFIERS, "noise", Entry(lambda: RandomScore(1, name="noise"), ""))
        with pytest.raises(SystemExit):
            cli.main([*words, "--compute", "6", "--out", str(folder), "--select", "random"])
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page(page_of(folder))


def test_the_prompt_is_text_and_never_markup(folder, page):
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in (folder / "report.html").read_text()
    assert page.text.count(PROMPT) >= 2  # title and heading; the command quotes it for the shell


def test_nothing_is_fetched(folder, page):
    source = (folder / "report.html").read_text()
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in {"src", "href"}]
    assert all(value.startswith("data:image/png;base64,") for value in links)
    assert not re.search(r"https?:|url\(|@import", source)
    assert "default-src 'none'" in source


def test_pictures_scores_and_roles_are_those_of_the_record(folder, page):
    result = json.loads((folder / "result.json").read_bytes())
    scores = [score for line in read_journal(folder) for score in line["scores"]]
    assert sum(tag == "img" for tag, _ in page.tags) == 2 + len(scores) == 8
    grid = re.findall(r"#(\d)(0\.\d+)", page.text)
    assert [int(sample) for sample, _ in grid] == sorted(range(6), key=lambda i: -scores[i])
    assert f"{result['best']['score']:.4g}" in page.text
    for word in ("guides the search", "selects the winner", "hold-out: not optimised", "network passes (nfe)"):
        assert word in page.text
    best = next(attributes for tag, attributes in page.tags if tag == "figure" and attributes.get("class") == "best")
    assert best["title"].startswith(f"#{result['best']['id']}:")


def test_the_random_numbers_of_a_control_are_not_shown_as_scores_of_its_verifier(tmp_path):
    words = ["generate", "a star", "--model", "toy/turbo", "--verifier", "redness", "--search", "unguided"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--compute", "6", "--out", str(tmp_path / "run")])
    text = Page(page_of(tmp_path / "run")).text
    result = json.loads((tmp_path / "run" / "result.json").read_bytes())
    assert "scored by" not in text
    assert "picked by random numbers, which say nothing of quality" in text
    random, red = (result["best"][of] for of in ("score", "parts"))
    assert f"a random numberselects the winner{result['base']['score']:.4g}{random:.4g}" in text
    assert f"rednessscores without any effect{result['base']['parts']['redness']:.4g}{red['redness']:.4g}" in text


def test_the_account_shows_what_compute_pays_for(folder):
    ledger = json.loads((folder / "result.json").read_bytes())["ledger"]
    cells = re.findall(r"<td>work, as compute counts it</td>((?:<td>\d+</td>){4})", page_of(folder))
    spent, padding = ledger["spent"]["nfe"], ledger["padding"]["nfe"]
    wanted = [spent, padding, spent + padding, ledger["limit"]["work"]]
    assert [re.findall(r"\d+", row) for row in cells] == [[str(number) for number in wanted]]


def page_of(folder):
    return (folder / "report.html").read_text()


def test_small_pictures_keep_their_pixels(page):
    assert all("sharp" in (attributes.get("class") or "") for tag, attributes in page.tags if tag == "img")


def test_the_report_can_be_rebuilt_from_the_folder(folder):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    write_report(folder)
    assert (folder / "report.html").read_bytes() == before


def test_rewritten_prompts_stand_below_the_tree_as_text_with_their_samples():
    plain, told = (["gaussian", 1],), (["gaussian", 1], ["prompt", PROMPT])
    line = {"done": True, "ids": [0, 1], "parents": [None, None], "recipes": [plain, plain], "scores": [0.1, 0.2]}
    child = {"done": True, "ids": [2, 3], "parents": [1, 1], "recipes": [told, told], "scores": [0.4, None]}
    drawn = Page(tree([line, child], 2, "a star"))
    assert f"{PROMPT}#2, #3" in drawn.text
    assert f"#2: 0.4, from: {PROMPT}" in drawn.text
    assert "script" not in {tag for tag, _ in drawn.tags}
    assert "rewritten" not in tree([line, {**child, "recipes": [plain, plain]}], 2, "a star")


CONFIGS = [
    RunConfig(prompt=PROMPT, model="toy/turbo", verifier="random"),
    RunConfig(prompt="-- star", seed=2**53 - 1, compute=2.5, metadata=False, select="shapes/judge"),
    RunConfig(prompt="x", knobs={"n": None, "a": [1, 2.5], "b": "1"}, options={"steps": 3, "device": "cpu"}),
    RunConfig(prompt="x", holdout=["a", "b"], knobs={"cosine": -0.25, "flag": True}, search="zero_order"),
    RunConfig(prompt="x", propose="0.5*shapes/hypernoise", guard=False, allow_noncommercial=True),
    validate({"prompt": "x", "verifiers": [{"name": "a", "shift": 0.5}, {"name": "b", "role": "holdout"}]}),
]


@pytest.mark.parametrize("field", RunConfig.model_fields)
def test_every_field_is_tried_in_a_printed_command(field):
    assert any(getattr(config, field) != RunConfig.model_fields[field].default for config in CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_printed_command_means_the_same_config(config, monkeypatch):
    from gensearch.cli import generate as module

    made = []

    def stops(path, wanted):
        made.append(wanted)
        raise SystemExit(0)

    monkeypatch.setattr(module, "RunFolder", stops)
    with pytest.raises(SystemExit):
        cli.main(shlex.split(command(config))[1:])
    assert made == [config]


def test_the_curve_is_a_staircase_that_starts_at_its_first_point():
    found = re.search(r"class=line d='([^']+)'", curve([(4, 0.25), (8, 0.25), (12, 0.75)], 0.0))
    assert found
    path = found[1]
    numbers = [float(n) for n in re.findall(r"[\d.]+", path)]
    (x0, y0), (x1, y1), (x2, y2) = (numbers[i : i + 2] for i in (0, 2, 4))
    assert x2 - x1 == pytest.approx(x1 - x0, abs=0.11)
    assert y0 == y1 > y2
    assert path.startswith("M")
    assert path.count("M") == 1


@pytest.mark.parametrize(
    ("points", "base"), [([(1, 0.5)], 0.5), ([(3, 0.0)], 0.0), ([(1, -2.0), (2, None)], None), ([(5, 1e9)], 1e-9)]
)
def test_flat_and_lonely_curves_are_drawn(points, base):
    drawn = curve(points, base)
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert drawn.count("<circle") == 1


def test_a_curve_without_scores_says_so():
    assert curve([], None) == "<p>Nothing was scored.</p>"


@pytest.mark.parametrize(("low", "high"), [(0.31, 0.36), (-1, 1), (0, 1000), (5e-7, 6e-7)])
def test_ticks_are_few_distinct_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 5
    assert len({text for _, text in found}) == len(found)
    assert all(low - 1e-9 <= value <= high + 1e-9 for value, _ in found)
    assert all(float(text) == pytest.approx(value, abs=1e-12) for value, text in found)
