"""The runner on a world with known odds: exact counts, resuming after any crash, hold-outs, controls."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gensearch import registry
from gensearch.core.divergence import best_of_n_nats
from gensearch.core.ledger import Cost
from gensearch.core.noise import derive, remake
from gensearch.evaluate.bench import Bench
from gensearch.evaluate.journal import JOURNAL, Trial, failures, records
from gensearch.evaluate.jury import Jury
from gensearch.evaluate.outcome import identity
from gensearch.evaluate.runner import run_plan, trials
from gensearch.pipeline import SearchPipeline
from tests.builders import dice
from tests.builders.dice import DICE, ODDS, plan
from verifiers.objects import by_object

ROOT = Path(__file__).parents[2]


def evaluate(folder: Path, workers: int = 1, retry: bool = False, **changes: Any) -> list[dict[str, Any]]:
    for _ in run_plan(plan(**changes), DICE, folder, workers=workers, retry=retry):
        pass
    return records(folder)


def untimed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in found]


def method(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "model": "dice", **fields}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """An evaluation that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, evaluate(folder)


# --- what is recorded


def test_every_trial_is_recorded_once(whole):
    folder, found = whole
    keys = [(r["method"], r["prompt"], r["seed"]) for r in found]
    assert len(keys) == 6 * 2 * 3
    assert set(keys) == set(trials(plan(), DICE.lines(3)))
    assert len((folder / JOURNAL).read_text().splitlines()) == len(keys)


def test_a_balanced_plan_makes_as_many_pictures_of_every_tag(tmp_path):
    few = DICE._replace(lines=few_hard)
    for _ in run_plan(plan(balanced=True), few, tmp_path):
        pass
    found = records(tmp_path)
    assert {tag: sum(r["tag"] == tag for r in found) for tag in ODDS} == {"easy": 3 * 2 * 3, "hard": 3 * 2 * 3}
    roots = {(r["prompt"], r["seed"]): r["root"] for r in found}
    assert len(set(roots.values())) == len(roots) == 12
    assert sorted(seed for prompt, seed in roots if prompt == 3) == list(range(6))  # the only hard prompt


def few_hard(per_tag: int) -> list[dict[str, Any]]:
    """One hard prompt only."""
    return [line for line in dice.lines(per_tag) if line["prompt"] != "hard 1" and line["prompt"] != "hard 2"]


def test_the_kl_of_records_follows_from_what_was_searched(whole):
    kl = {"base": 0.0, "best4": best_of_n_nats(4), "best6": best_of_n_nats(6)}
    assert all(r["kl"] == pytest.approx(kl[r["method"]]) and r["kl_first_order"] == 0 for r in whole[1])


def test_the_ledger_is_exact(whole):
    cost = {"base": Cost(2, 0, 1, 1), "best4": Cost(8, 0, 4, 4), "best6": Cost(36, 0, 6, 6)}
    for record in whole[1]:
        assert record["spent"] == cost[record["method"]]._asdict()
        assert record["padding"] == Cost()._asdict()  # batches of four, two and one fit all of them


def test_methods_share_seeds_so_that_candidates_are_nested(whole):
    scores = {(r["method"], r["prompt"], r["seed"]): r["score"] for r in whole[1]}
    roots = {
        (r["prompt"], r["seed"]): {q["root"] for q in whole[1] if (q["prompt"], q["seed"]) == (r["prompt"], r["seed"])}
        for r in whole[1]
    }
    assert all(len(shared) == 1 for shared in roots.values())
    assert len(set.union(*roots.values())) == len(roots)
    for record in whole[1]:
        pair = record["prompt"], record["seed"]
        assert record["root"] == derive(0, record["text"], record["seed"])
        noise = [
            remake((("gaussian", record["root"] if i == 0 else derive(record["root"], i)),), (3, 2, 2))
            for i in range(6)
        ]
        firsts = torch.special.ndtr(torch.cat(noise))[:, 0, 0, 0]
        for name, n in (("base", 1), ("best4", 4), ("best6", 6)):
            assert scores[(name, *pair)] == float(firsts[:n].max())


def test_winner_and_plain_sample_are_judged(whole):
    base = {(r["prompt"], r["seed"]): r for r in whole[1] if r["method"] == "base"}
    for record in whole[1]:
        plain, bar = base[record["prompt"], record["seed"]], 1 - ODDS[record["tag"]]
        assert record["judge"] == float(round(record["score"] * 255) / 255 > bar)
        assert record["base"] == {"judge": plain["judge"], "holdout": plain["holdout"]}
        picture = torch.special.ndtr(remake(record["recipe"], (3, 2, 2)))[0]
        assert record["holdout"] == {"second": float((picture[1, 0, 0] * 255).round() / 255)}  # 8-bit pixels
    assert {r["judge"] for r in whole[1]} == {0.0, 1.0}


def test_the_winners_picture_is_stored(whole):
    folder, found = whole
    for record in found:
        pixels = np.asarray(Image.open(io.BytesIO((folder / record["picture"]).read_bytes())))
        expected = torch.special.ndtr(remake(record["recipe"], (3, 2, 2)))[0].permute(1, 2, 0).numpy() * 255
        assert pixels.shape == (2, 2, 3)
        assert np.abs(pixels - expected).max() <= 0.5001
    assert len(list(folder.glob("pictures/*/*.png"))) == len(found)
    assert len(list(folder.glob("pictures/*/*"))) == len(list(folder.glob("pictures/*/.*"))) + len(found)


def test_every_model_and_verifier_is_loaded_once(tmp_path):
    dice.LOADED.clear()
    evaluate(tmp_path)
    assert sorted(dice.LOADED) == ["dice", "dice", "first", "second"]  # the model with two sets of options


def test_the_thread_count_of_the_caller_holds_between_records(tmp_path):
    before = torch.get_num_threads()
    seen = {torch.get_num_threads() for _ in run_plan(plan(threads=before + 1), DICE, tmp_path)}
    assert seen == {before}


# --- resuming


@pytest.mark.parametrize("seed", range(6))
def test_a_journal_cut_at_any_byte_is_completed_to_the_same_results(whole, tmp_path, seed):
    folder, found = whole
    content = (folder / JOURNAL).read_bytes()
    cut = int(np.random.default_rng(seed).integers(len(content)))
    (tmp_path / "plan.json").write_bytes((folder / "plan.json").read_bytes())
    (tmp_path / JOURNAL).write_bytes(content[:cut])
    shutil.copytree(folder / "pictures", tmp_path / "pictures")
    kept = content[:cut].count(b"\n")
    assert sum(1 for _ in run_plan(plan(), DICE, tmp_path)) == len(found) - kept
    assert untimed(records(tmp_path)) == untimed(found)
    assert (tmp_path / JOURNAL).read_bytes()[: content[:cut].rfind(b"\n") + 1] == content[
        : content[:cut].rfind(b"\n") + 1
    ]


def test_a_finished_run_does_nothing_again(whole):
    folder, found = whole
    before = (folder / JOURNAL).read_bytes()
    assert evaluate(folder) == found
    assert (folder / JOURNAL).read_bytes() == before


@pytest.mark.slow
def test_kill_two_workers_and_go_on_with_one(whole, tmp_path):
    """The killed process leaves no workers behind: they would hold its pipe open and `run` would time out."""
    command = [sys.executable, "-m", "tests.builders.dice", str(tmp_path), "17", "2"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=100, check=False)
    assert killed.returncode == -9, killed.stderr
    assert len(records(tmp_path)) == 17
    assert untimed(evaluate(tmp_path)) == untimed(whole[1])


@pytest.mark.parametrize(
    "change", [{"seeds": 3}, {"prompts": 2}, {"holdout": []}, {"methods": [method("base", compute=1)]}]
)
def test_another_plan_in_the_same_folder_is_refused(whole, change):
    folder, found = whole
    with pytest.raises(ValueError, match=f"another evaluation: .*{next(iter(change))}"):
        evaluate(folder, **change)
    assert records(folder) == found


# --- what is refused before anything is spent


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"knobs": {"m": 3}}, "method 'bad': unknown knob 'm'"),
        ({"verifier": "sum"}, "method 'bad': the hold-out 'second' also guides"),
        ({"select": "sum"}, "method 'bad': the hold-out 'second' also guides"),
        ({"verifier": "1*second"}, "method 'bad': the hold-out 'second' also guides"),
    ],
)
def test_methods_that_cannot_run_are_refused_before_the_first_search(tmp_path, fields, message):
    good = method("good", verifier="first", compute=1)
    with pytest.raises(ValueError, match=message):
        evaluate(tmp_path, methods=[good, method("bad", **{"verifier": "first", "compute": 2, **fields})])
    assert records(tmp_path) == []
    assert len(evaluate(tmp_path, methods=[good])) == 12  # the corrected plan may have the folder


def test_a_holdout_that_holds_the_guide_in_a_sum_is_refused(tmp_path):
    with pytest.raises(ValueError, match="method 'a': the hold-out 'sum' also guides"):
        evaluate(tmp_path, holdout=["sum"], methods=[method("a", verifier="first", compute=1)])
    with pytest.raises(ValueError, match="method 'a': the hold-out 'sum' also guides"):
        evaluate(tmp_path, holdout=["sum"], methods=[method("a", verifier="blend", compute=1)])
    evaluate(tmp_path, prompts=1, holdout=["sum"], methods=[method("a", verifier="judge", compute=1)])


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_trial_that_fails_is_recorded_and_the_others_go_on(tmp_path, workers):
    methods = [method("base", verifier="first", compute=1), method("blind", verifier="nothing", compute=2)]
    with pytest.warns(UserWarning, match="12 trials failed 3 times, see .*failed.* blind on .* could score none of 2"):
        done = evaluate(tmp_path, workers=workers, methods=methods)
    assert len(done) == 12
    assert {record["method"] for record in done} == {"base"}
    failed = failures(tmp_path)
    assert [(f["method"], f["prompt"], f["seed"]) for f in failed] == [
        ("blind", p, s) for p in range(6) for s in (0, 1)
    ]
    assert all(failure["error"].startswith("the verifier could score none") for failure in failed)


def broken(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int, list[str]], bool]) -> list[list[str]]:
    """The prompts of each call of a dice verifier; a call that is bad by its number and prompts raises."""
    scored, calls = dice.Number.__call__, []

    def breaking(self, media, prompts, *, progress=1.0):
        calls.append(list(prompts))
        if bad(len(calls), calls[-1]):
            raise RuntimeError("GPU lost")
        return scored(self, media, prompts, progress=progress)

    monkeypatch.setattr(dice.Number, "__call__", breaking)
    return calls


def test_a_trial_that_fails_twice_is_done_at_the_third_try(tmp_path, monkeypatch):
    methods = [method("a", verifier="first", compute=12)]
    found = evaluate(tmp_path / "calm", holdout=[], methods=methods)
    with monkeypatch.context() as patch:
        broken(patch, lambda count, _: count in (3, 37))
        assert untimed(evaluate(tmp_path / "rough", holdout=[], methods=methods)) == untimed(found)
    assert failures(tmp_path / "rough") == []


@pytest.mark.parametrize("guide", ["first", "random"])
def test_a_poison_prompt_is_tried_three_times_named_and_left_out_until_asked(tmp_path, monkeypatch, guide):
    """As the guide, whose trial fails, and as a hold-out, which cannot judge what was generated."""
    plans: dict[str, Any] = {
        "methods": [method("a", verifier=guide, compute=2)],
        "holdout": ["second"] if guide == "random" else [],
    }
    calm = evaluate(tmp_path / "calm", **plans)
    folder = tmp_path / "rough"
    with monkeypatch.context() as patch:
        calls = broken(patch, lambda _, prompts: "easy 1" in prompts)
        with pytest.warns(UserWarning, match="2 trials failed 3 times.*left out until --retry.*GPU lost"):
            found = evaluate(folder, **plans)
        assert untimed(found) == untimed([record for record in calm if record["text"] != "easy 1"])
        assert [(f["text"], f["seed"], f["tries"]) for f in failures(folder)] == [("easy 1", 0, 3), ("easy 1", 1, 3)]
        assert sum(set(call) == {"easy 1"} for call in calls) == 6
        before = len(calls)
        with pytest.warns(UserWarning, match="left out until --retry"):
            evaluate(folder, **plans)
        assert len(calls) == before
    generated = watched(monkeypatch)
    assert untimed(evaluate(folder, retry=True, **plans)) == untimed(calm)
    assert failures(folder) == []
    assert generated == ([[("a", 1, 0), ("a", 1, 1)]] if guide == "first" else [])  # pictures are there already


def watched(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The trials of each block that is generated."""
    make, seen = Bench.make, []

    def watching(self, block):
        seen.append([tuple(trial) for trial in block])
        return make(self, block)

    monkeypatch.setattr(Bench, "make", watching)
    return seen


# --- roles and controls


def test_holdouts_judge_each_winner_and_plain_sample_once_and_not_while_the_clock_runs(tmp_path):
    class Watched(dice.Number):
        def __call__(self, media, prompts, *, progress=1.0):
            seen.append(len(prompts))
            return super().__call__(media, prompts, progress=progress)

    seen: list[int] = []
    watched = DICE._replace(verifier=lambda name: Watched(name, 1) if name == "second" else dice.verifier(name))
    found = list(run_plan(plan(), watched, tmp_path))
    assert sum(seen) == 2 * len(found)


def test_the_bench_asks_the_holdouts_that_it_is_given_and_no_other():
    class Unasked(dice.Number):
        def __call__(self, *_, **__):
            pytest.fail("it was asked")

    pipe = SearchPipeline(dice.Dice("dice"), dice.Number("first", 0), compute=3, holdout=[Unasked("other", 1)])
    lines, reporter = dice.lines(1), dice.Number("reporter", 1)
    jury = Jury(dice.Judge(), {"second": reporter})
    bench = Bench({"a": pipe.job}, lines, jury, oracles=frozenset({"first"}))
    [(record, _)] = jury(bench.make([Trial("a", 1, 0)]))
    assert record["holdout"].keys() == record["base"]["holdout"].keys() == {"second"}
    assert record["spent"] == Cost(6, 0, 3, 3)._asdict()
    assert record["oracle"]
    assert bench.identities == {"a": identity(pipe.job)}
    blind = Jury(dice.Judge(), {})
    assert blind(Bench({"a": pipe.job}, lines, blind).make([Trial("a", 1, 0)]))[0][0]["holdout"] == {}


def test_replacing_the_holdout_by_noise_changes_no_pick(whole, tmp_path):
    found = evaluate(tmp_path, holdout=["noise", "nothing"])
    assert [r["recipe"] for r in found] == [r["recipe"] for r in whole[1]]
    assert all(r["holdout"]["nothing"] is None for r in found)
    assert len({r["holdout"]["noise"] for r in found}) > 10


def test_oracles_are_marked(tmp_path):
    methods = [
        method("guided", verifier="judge", compute=1),
        method("selected", verifier="first", select="judge", compute=1),
        method("blend", verifier="blend", compute=1),
        method("honest", verifier="first", select="random", compute=1),
    ]
    found = evaluate(tmp_path, prompts=1, seeds=1, methods=methods)
    assert {r["method"]: r["oracle"] for r in found} == {
        "guided": True,
        "selected": True,
        "blend": True,
        "honest": False,
    }


def test_select_picks_and_is_charged(tmp_path):
    methods = [method("a", verifier="random", select="first", compute=4), method("b", verifier="first", compute=4)]
    found = evaluate(tmp_path, methods=methods)
    a, b = ([r for r in found if r["method"] == name] for name in "ab")
    assert [r["recipe"] for r in a] == [r["recipe"] for r in b]
    assert {r["spent"]["scored"] for r in a} == {8}


def test_an_oracle_gains_what_order_statistics_say_and_random_scores_gain_nothing(tmp_path):
    """100 pairs per tag; success of best-of-4 is 1 - (1 - p)^4; standard errors are 3 to 5 %."""
    methods = [method("oracle", verifier="judge", compute=4), method("random", verifier="random", compute=4)]
    found = evaluate(tmp_path, prompts=20, seeds=5, holdout=[], methods=methods)
    for tag, p in ODDS.items():
        share = {
            n: np.mean([r["judge"] for r in found if (r["method"], r["tag"]) == (n, tag)]) for n in ("oracle", "random")
        }
        best = 1 - (1 - p) ** 4
        assert abs(share["oracle"] - best) < 3 * (best * (1 - best) / 100) ** 0.5
        assert abs(share["random"] - p) < 3 * (p * (1 - p) / 100) ** 0.5


def test_a_record_is_strict_json(whole):
    for line in (whole[0] / JOURNAL).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert json.loads((whole[0] / "plan.json").read_text())["benchmark"] == "dice"


def test_results_of_two_models_under_one_name_are_not_mixed(tmp_path):
    *kept, last = evaluate(tmp_path)
    assert last["method"] in {record["method"] for record in kept}
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write(json.dumps({**last, "identity": "another"}) + "\n")
    with pytest.raises(ValueError, match=f"model or a verifier of '{last['method']}' changed"):
        records(tmp_path)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_does_not_go_on_with_another_model(tmp_path, workers):
    """Also where the changed method itself is finished: its numbers would be compared with those of the new one."""
    lines = [r | {"identity": "another"} if r["method"] == "base" else r for r in evaluate(tmp_path)]
    kept = "".join(json.dumps(line) + "\n" for line in lines[:-2])
    assert {line["method"] for line in lines[-2:]} == {"best4", "best6"}
    (tmp_path / JOURNAL).write_text(kept)
    with pytest.raises(ValueError, match="the model or a verifier of base changed since"):
        evaluate(tmp_path, workers=workers)
    assert (tmp_path / JOURNAL).read_text() == kept


def test_a_methods_identity_follows_the_weights_of_its_judges():
    def judged(weight: float, role: str) -> str:
        judge: Any = dice.Number("watched", 0)
        judge.model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(judge.model.weight, weight)
        roles: dict[str, Any] = {"verifier": dice.Number("first", 0), role: [judge] if role == "holdout" else judge}
        return identity(SearchPipeline(dice.Dice("dice"), **roles, n=2).job)

    for role in ("verifier", "select", "holdout"):
        assert judged(1.0, role) == judged(1.0, role) != judged(2.0, role)


def test_two_processes_never_write_to_one_folder(tmp_path):
    first: Any = run_plan(plan(), DICE, tmp_path)  # a generator
    next(first)
    with pytest.raises(ValueError, match="another process is writing"):
        next(run_plan(plan(), DICE, tmp_path))
    first.close()
    assert len(evaluate(tmp_path)) == len(trials(plan(), DICE.lines(3)))


def test_a_panel_guides_with_its_weights_and_loads_each_verifier_once():
    entries = [{"name": "first", "weight": 2.0, "shift": 0.5, "scale": 0.25}, {"name": "noise", "weight": -1.0}]
    methods = [method("a", verifiers=entries, compute=4), method("b", verifier="first", compute=4)]
    dice.LOADED.clear()
    bench = Bench.load(plan(methods=methods), DICE, {})
    assert sorted(name for name in dice.LOADED if name != "dice") == ["first", "noise", "second"]
    media = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    guide = bench.jobs["a"].panel.guide
    other = dice.verifier("noise")(media, ["easy 0"] * 5).total
    expected = 2 * (media[:, 0, 0, 0] - 0.5) / 0.25 - other
    torch.testing.assert_close(guide(media, ["easy 0"] * 5).total, expected)
    ((record, _),) = bench.jury(bench.make([Trial("a", 0, 0)]))
    assert np.isfinite(record["score"])
    assert set(record["holdout"]) == {"second"}
    assert record["aside"]["scored"] == 2


OWN = """
import functools
SCALE = {scale}
class Bright:
    name, differentiable = "bright", False
    def __init__(self, channel=0):
        self.channel = channel
    def __call__(self, media, prompts, *, progress=1.0):
        return media[:, self.channel].flatten(1).mean(1) * {factor}
def bright(media, prompts):
    return media.flatten(1).mean(1) * {factor}
last = functools.partial(bright, **{{}})
third = Bright({channel})
"""


@pytest.mark.parametrize("name", ["bright", "Bright", "last", "third"])
def test_the_identity_of_a_method_covers_its_own_judges(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for module, text in {
        "one": OWN.format(factor=1, channel=1, scale=1),
        "same": OWN.format(factor=1, channel=1, scale=2),
        "code": OWN.format(factor=2, channel=1, scale=1),
        "setting": OWN.format(factor=1, channel=2, scale=1),
    }.items():
        (tmp_path / f"judges_{name}_{module}.py").write_text(text)
        own: Any = by_object(f"judges_{name}_{module}:{name}")
        own.name = "own"
        found[module] = identity(SearchPipeline(dice.Dice("dice"), own, n=2, guard=False).job)
    assert found["one"] == found["same"]
    assert found["one"] != found["code"]
    assert (found["one"] != found["setting"]) == (name == "third")


def test_an_own_judge_by_its_place_runs_in_an_evaluation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judges_of_mine.py").write_text(OWN.format(factor=1, channel=0, scale=1))
    real = DICE._replace(verifier=registry.verifier)
    methods = [method("a", verifier="judges_of_mine:bright", select="judges_of_mine:Bright", compute=3)]
    for _ in run_plan(plan(methods=methods, holdout=["judges_of_mine:last"], prompts=1), real, tmp_path / "out"):
        pass
    assert len(records(tmp_path / "out")) == 4
    assert not failures(tmp_path / "out")
