"""Replay of selection policies against every search written out, and the reader of stored candidates."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
import torch

from gensearch.evaluate.candidates import GUIDE, JUDGE, Candidates, read_candidates
from gensearch.evaluate.offline import curve, elect, policies, replay, sizes
from verifiers.calls import read_call
from verifiers.combine.rank import rank_vote
from verifiers.detect.summary import Outcome, summarise

NAN = float("nan")


def pool(seed: int, size: int = 5) -> dict[str, np.ndarray]:
    """Scores with ties and gaps."""
    rng = np.random.default_rng(seed)
    found = {name: rng.integers(0, 4, size) / 2 for name in (GUIDE, "a", "b")} | {JUDGE: rng.integers(0, 2, size) * 1.0}
    for name in (GUIDE, "a", "b"):
        found[name][rng.integers(size)] = NAN
    return found


def every_search(scores, pick, of, n):
    """The mean over all ordered draws of n of what a search that goes through them would return."""
    drawn = [list(order) for order in permutations(range(len(scores[of])), n)]
    won = [scores[of][order[pick({k: v[order] for k, v in scores.items()})]] for order in drawn]
    return np.nanmean(won) if not np.all(np.isnan(won)) else NAN


def first_best(values) -> int:
    return int(np.argmax(np.where(np.isnan(values), -np.inf, values)))


def by_cascade(keep):
    def pick(scores):
        cheap = np.where(np.isnan(scores[GUIDE]), -np.inf, scores[GUIDE])
        order = sorted(range(len(cheap)), key=lambda i: (-cheap[i], i))[:keep]
        return order[first_best(scores["a"][order])]

    return pick


POLICIES = {
    GUIDE: lambda s: first_best(s[GUIDE]),
    "b": lambda s: first_best(s["b"]),
    JUDGE: lambda s: first_best(s[JUDGE]),
    "random": lambda s: 0,
    f"rank({GUIDE},a,b)": lambda s: int(rank_vote({k: torch.tensor(s[k]) for k in (GUIDE, "a", "b")})[0]),
    f"cascade({GUIDE},a,keep=2)": by_cascade(2),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("n", range(1, 6))
def test_every_policy_is_the_mean_over_all_searches(policy, n):
    for seed in range(6):
        scores = pool(seed)
        for of in (JUDGE, "a", GUIDE):
            expected = every_search(scores, POLICIES[policy], of, n)
            assert replay(scores, policy, of, n) == pytest.approx(expected, nan_ok=True), (seed, of)


def test_one_candidate_is_the_mean_of_the_pool_whatever_selects():
    for seed in range(3):
        scores = pool(seed, size=9)
        for policy in policies(list(scores)):
            assert replay(scores, policy, "a", 1) == pytest.approx(np.nanmean(scores["a"]))


def test_large_pools_are_sampled_within_their_standard_error():
    """A vote of one score is best-of-n, whose exact value is known; 200 draws of a spread of 1."""
    rng = np.random.default_rng(5)
    differences = []
    for seed in range(40):
        scores = {GUIDE: rng.normal(size=30), JUDGE: rng.normal(size=30)}
        differences.append(replay(scores, f"rank({GUIDE})", JUDGE, 8, seed) - replay(scores, GUIDE, JUDGE, 8))
    assert np.mean(differences) == pytest.approx(0, abs=4 / np.sqrt(200 * 40))
    assert 0.5 < np.std(differences) * np.sqrt(200) < 1.3


def test_a_cascade_that_keeps_all_or_one_is_a_single_verifier():
    scores = {name: np.random.default_rng(2).permutation(6) * 1.0 for name in (GUIDE, "a", JUDGE)}
    for n in (2, 3):
        assert replay(scores, f"cascade({GUIDE},a,keep=6)", JUDGE, n) == pytest.approx(replay(scores, "a", JUDGE, n))
        assert replay(scores, f"cascade({GUIDE},a,keep=1)", JUDGE, n) == pytest.approx(replay(scores, GUIDE, JUDGE, n))


def verdicts(method="best4", prompts=12, size=4, holdout=True):
    """Lines of candidates.jsonl with some missing verdicts."""
    rng = np.random.default_rng(8)
    return [
        {
            "method": method,
            "prompt": p,
            "seed": 0,
            "candidates": [
                {
                    "id": i,
                    "parents": None,
                    "score": float(rng.normal()),
                    "judge": None if rng.random() < 0.1 else float(rng.random() < 0.3),
                    "holdout": {"other": float(rng.normal())} if holdout else {},
                    "nfe": 2,
                }
                for i in range(size)
            ],
        }
        for p in range(prompts)
    ]


def stored(folder, lines):
    (folder / "candidates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_candidates(folder)


def test_the_judge_as_guide_of_all_candidates_is_the_share_of_correct_prompts(tmp_path):
    """Best-of-N with the judge as verifier is "% correct prompts" of the same pictures."""
    lines = verdicts()
    given = stored(tmp_path, lines)
    shares = summarise(
        Outcome("tag", str(line["prompt"]), one["judge"] == 1) for line in lines for one in line["candidates"]
    )
    tags = ["tag"] * len(given)
    best = curve(given, tags, JUDGE, JUDGE)
    assert best[4].mean == pytest.approx(shares.prompts, abs=1e-12)
    assert best[1].mean == pytest.approx(shares.images, abs=1e-12)
    assert curve(given, tags, "random", JUDGE)[4].mean == pytest.approx(shares.images, abs=1e-12)
    assert (
        curve([one._replace(scores=one.scores | {GUIDE: -one.scores[JUDGE]}) for one in given], tags, GUIDE, JUDGE)[
            4
        ].mean
        < shares.images
    )


def test_curves_average_seeds_within_prompts_and_prompts_within_tags():
    def trial(prompt, seed, judge):
        return Candidates("m", prompt, seed, {GUIDE: np.array(judge), JUDGE: np.array(judge)}, True, np.ones(2))

    given = [trial(0, 0, [1.0, 1.0]), trial(0, 1, [0.0, NAN]), trial(1, 0, [0.0, 0.0]), trial(2, 0, [1.0, 0.0])]
    found = curve(given, ["a", "a", "a", "b"], "random", JUDGE)
    assert found[2].mean == pytest.approx(((0.5 + 0.0) / 2 + 0.5) / 2)


def test_a_standardised_curve_starts_at_zero_and_rises_by_the_mean_of_a_maximum():
    """E[max of 4] of N(0,1) is 1.029; pools of 64 are standardised by their own spread."""
    rng = np.random.default_rng(3)
    given = [
        Candidates("m", p, 0, {GUIDE: 7 + 3 * (x := rng.normal(size=64)), JUDGE: x}, True, np.ones(64))
        for p in range(60)
    ]
    found = curve(given, ["a"] * 60, GUIDE, GUIDE, standard=True)
    assert found[1].mean == pytest.approx(0, abs=1e-9)
    assert found[4].mean == pytest.approx(1.029, abs=0.03)
    assert list(found) == [1, 2, 4, 8, 16, 32, 64]


def test_sizes_end_with_the_whole_pool():
    assert sizes(1) == [1]
    assert sizes(11) == [1, 2, 4, 8, 11]


def test_policies_name_each_score_and_their_combinations():
    assert policies([GUIDE, JUDGE]) == ["random", GUIDE, JUDGE]
    assert f"rank({GUIDE},x)" in policies([GUIDE, JUDGE, "x"])


def test_descendants_are_no_searches_of_fewer_samples(tmp_path):
    lines = verdicts()
    lines[3]["candidates"][2]["parents"] = [0]
    given = stored(tmp_path, lines)
    assert [one.independent for one in given] == [True] * 3 + [False] + [True] * 8
    with pytest.raises(ValueError, match="made from each other.*such as best_of_n"):
        curve(given, ["a"] * 12, GUIDE, JUDGE)


@pytest.mark.parametrize(
    ("policy", "n", "message"),
    [
        ("gide", 2, "no stored score is called 'gide'.*did you mean 'guide'"),
        ("rank(guide,zzz)", 2, "no stored score is called 'zzz'"),
        ("knockout(guide)", 2, "knockout cannot be replayed"),
        ("cascade(guide)", 2, "cascade cannot be replayed"),
        (GUIDE, 6, "take n from 1 to 5"),
        (GUIDE, 0, "take n from 1 to 5"),
    ],
)
def test_mistakes_name_the_way_out(policy, n, message):
    with pytest.raises(ValueError, match=message):
        replay(pool(0), policy, JUDGE, n)


def test_the_last_line_may_be_torn_and_damage_is_named(tmp_path):
    lines = verdicts(prompts=3)
    stored(tmp_path, lines)
    path = tmp_path / "candidates.jsonl"
    path.write_text(path.read_text()[:-40])
    assert len(read_candidates(tmp_path)) == 2
    assert read_candidates(tmp_path / "nowhere") == []
    del lines[1]["candidates"][0]["judge"]
    with pytest.raises(ValueError, match="candidates.jsonl is damaged.*'judge'"):
        stored(tmp_path, lines)


def test_repeated_trials_count_once(tmp_path):
    lines = verdicts(prompts=2)
    assert len(stored(tmp_path, [*lines, lines[0]])) == 2


def test_elect_takes_the_call_it_is_given():
    scores = np.array([[[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]])
    call = read_call("cascade(x,y,keep=2)")
    assert call is not None
    assert elect(call, scores).tolist() == [1]
