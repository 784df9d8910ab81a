"""The plan's schema, its texts, and the presets."""

from __future__ import annotations

import re

import pytest

from gensearch.config.run import RunConfig
from gensearch.evaluate.plan import Method, Plan, make_plan, parse_method
from gensearch.packages import configs
from gensearch.registry import VERIFIERS
from gensearch.shapes.verifiers import guide_for
from verifiers.names import leaf_names


def test_a_method_in_one_text():
    text = "fast-16=model:org/name, compute:16,knobs.n:4,knobs.kind:slow,options.steps:2,select:random"
    assert Method(**parse_method(text)) == Method(
        name="fast-16",
        model="org/name",
        compute=16,
        knobs={"n": 4, "kind": "slow"},
        options={"steps": 2},
        select="random",
    )


def test_commas_inside_brackets_are_part_of_a_value():
    text = "a=select:rank(shapes/clip,random),knobs.steps:[1, 2],compute:3"
    expected = {"select": "rank(shapes/clip,random)", "knobs": {"steps": [1, 2]}, "compute": 3}
    assert parse_method(text) == {"name": "a", **expected}


@pytest.mark.parametrize("text", ["best16", "best16:compute=16", "a=compute", "a=compute:,search:x"])
def test_other_texts_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="best16=compute:16"):
        parse_method(text)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_balanced_plan_gives_every_tag_as_many_pictures(seeds):
    """Tag sizes that divide the largest one, as those of GenEval-Shapes do, and sizes that do not."""
    plan = make_plan(None, ["a=compute:1"], seeds=seeds, balanced=True)
    for sizes in ({"a": 2, "b": 6, "c": 3}, {"a": 4, "b": 1, "c": 7}):
        tags = [tag for round in range(7) for tag, size in sizes.items() if round < size]
        found = plan.seeds_of(tags)
        pictures = {tag: sum(n for n, other in zip(found, tags, strict=True) if other == tag) for tag in sizes}
        assert set(pictures.values()) == {seeds * max(sizes.values())}
        for tag in sizes:
            shares = [n for n, other in zip(found, tags, strict=True) if other == tag]
            assert max(shares) - min(shares) <= 1
            assert min(shares) >= seeds
    assert make_plan(None, ["a=compute:1"], seeds=seeds).seeds_of("aab") == (seeds,) * 3


def test_the_shapes_benchmark_is_balanced_by_whole_numbers():
    from gensearch.shapes.world import benchmark

    tags = [line["tag"] for line in benchmark()]
    found = dict(zip(tags, make_plan(None, ["a=compute:1"], balanced=True).seeds_of(tags), strict=True))
    assert found == {
        "single_object": 6,
        "two_object": 3,
        "counting": 2,
        "colors": 3,
        "position": 1,
        "color_attr": 1,
    }


def test_texts_and_options_go_over_the_file(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("seeds: 3\nprompts: 5\nmethods: [{name: a, compute: 1}, {name: b, compute: 2}]\n")
    plan = make_plan(str(path), ["b=compute:7", "c=compute:3"], seeds=4, prompts=None)
    assert (plan.seeds, plan.prompts, plan.reference) == (4, 5, "a")
    assert {method.name: method.compute for method in plan.methods} == {"a": 1, "b": 7, "c": 3}


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (["a=verifer:random"], {}, "unknown key 'verifer'; did you mean 'verifier'?"),
        (["a=compute:0.5"], {}, "method 'a': compute: it should be at least 1 and at most 1000000"),
        (["a=compute:1", "b=compute:1"], {"baseline": "aa"}, "baseline 'aa' is not a method; did you mean 'a'?"),
        (["a=verifier:random"], {"holdout": ["random"]}, "method 'a': the hold-out 'random' also guides"),
        (["a=select:random"], {"holdout": ["random"]}, "method 'a': the hold-out 'random' also guides"),
        (["a=options.trust_remote_code:true"], {}, "trust_remote_code is never passed on"),
        (["../a=compute:1"], {}, "name: "),
        ([], {}, "methods: .* at least 1"),
        (["a=compute:1"], {"seeds": 0}, "seeds: "),
        (["a=compute:1"], {"seeds": True}, "seeds: "),
        (["a=compute:true"], {}, "compute: "),
        (["a=compute:1"], {"holdout": ["random", "random"]}, "two hold-outs have one name"),
        (["a=compute:1"], {"promts": 3}, "unknown key 'promts'; did you mean 'prompts'?"),
        (["a=verifier:nope"], {}, "method 'a': no verifier is called 'nope'"),
        (["a=select:radom"], {}, "method 'a': no verifier is called 'radom'; did you mean 'random'?"),
        (["a=compute:1"], {"holdout": ["nope"]}, "no verifier is called 'nope'"),
        (["a=search:best_of_m"], {}, "method 'a': no search is called 'best_of_m'; did you mean 'best_of_n'?"),
        (
            ["a=verifier:random"],
            {"holdout": ["shapes/judge+2*random"]},
            "the hold-out 'shapes/judge.2.random' also guides",
        ),
        (["a=select:random+shapes/clip"], {"holdout": ["1*random"]}, "the hold-out '1.random' also guides"),
        (["a=knobs.compute:3"], {}, "method 'a': unknown knob 'compute' for best_of_n"),
        (["a=knobs.select:x"], {}, "method 'a': unknown knob 'select' for best_of_n"),
        (["a=knobs.holdout:[x]"], {}, "method 'a': unknown knob 'holdout' for best_of_n"),
        (["a=knobs.n:0"], {}, "method 'a': knob n of best_of_n is 0"),
        (["a=search:unguided,select:shapes/clip"], {}, "method 'a': 'shapes/clip' would pick the winner"),
    ],
)
def test_mistakes_are_one_line_with_the_way_out(methods, options, message):
    with pytest.raises(ValueError, match=message) as error:
        make_plan(None, methods, **options)
    assert "\n" not in str(error.value)


def test_a_replaced_method_keeps_its_place_and_stays_the_baseline():
    plan = make_plan("shapes_turbo", ["new=compute:3", "base=compute:2"])
    assert plan.reference == "base"
    assert plan.methods[0] == Method(name="base", compute=2)
    assert [m.name for m in plan.methods] == [*(m.name for m in make_plan("shapes_turbo", []).methods), "new"]
    with pytest.raises(ValueError, match="two methods have one name"):
        make_plan("shapes_turbo", ["base=compute:2", "base=compute:3"])


def test_spaces_around_names_mean_nothing():
    plan = make_plan(None, ["a=compute:1"], holdout=[" shapes/judge"])
    assert plan.holdout == ("shapes/judge",)
    with pytest.raises(ValueError, match="the hold-out 'random' also guides"):
        make_plan(None, ["a=verifier:random"], holdout=[" random "])


@pytest.mark.parametrize("methods", ["5", "abc", "{a: {compute: 1}}"])
def test_methods_in_a_file_are_a_list(tmp_path, methods):
    (tmp_path / "plan.yaml").write_text(f"methods: {methods}\n")
    with pytest.raises(ValueError, match="methods: it is .* in the config; write it as methods: "):
        make_plan(str(tmp_path / "plan.yaml"), [])


def test_two_methods_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two methods have one name"):
        Plan(methods=[Method(name="a"), Method(name="a", compute=2)])


def test_unknown_presets_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'shapes_turbo'"):
        make_plan("shape_turbo", [])


def test_every_preset_is_a_plan_that_has_both_controls_if_it_searches():
    names = sorted(path.stem for path in (configs() / "evaluate").glob("*.yaml"))
    assert "shapes_turbo" in names
    for name in names:
        plan = make_plan(name, [])
        verifiers = {*plan.holdout, *(method.verifier for method in plan.methods)}
        searches = {method.search for method in plan.methods}
        kinds = {leaf if leaf in VERIFIERS else leaf.split(":")[0] for one in verifiers for leaf in leaf_names(one)}
        assert kinds <= {*VERIFIERS, *(known.split(":")[0] for known in VERIFIERS)}
        assert plan.methods[0].compute == 1  # the baseline is one plain sample
        if any(method.compute != 1 for method in plan.methods):
            assert "random" in verifiers
            assert "unguided" in searches


@pytest.mark.parametrize("given", [{}, {"verifier": None}])
@pytest.mark.parametrize("model", ["shapes/turbo", "shapes/video", "org/name", None])
def test_the_default_guide_is_that_of_the_model_in_runs_and_in_methods(model, given):
    data = {**given, **({"model": model} if model else {})}
    method, run = Method(name="a", **data), RunConfig(prompt="a red star", **data)
    assert method.verifier == run.verifier == guide_for(model or "shapes/turbo")


def panel_file(folder, text):
    path = folder / "panel.yaml"
    path.write_text(text)
    return path


PANEL = """
verifiers:
- {name: shapes/clip, weight: 0.5, shift: 0.2, scale: 0.05}
- {name: redness}
- {name: random, role: select}
- {name: shapes/clip-holdout, role: holdout}
"""


@pytest.mark.parametrize("key", ["panel", "verifier"])
def test_a_method_takes_a_panel_from_a_file(key, tmp_path):
    path = panel_file(tmp_path, PANEL)
    plan = make_plan(None, [f"a={key}:{path},compute:4", "b=verifier:redness"], holdout=["shapes/critic"])
    first = plan.methods[0]
    assert (first.verifier, first.select) == ("0.5*shapes/clip+redness", "random")
    assert [(e.name, e.role, e.weight, e.shift, e.scale) for e in first.verifiers or ()] == [
        ("shapes/clip", "guide", 0.5, 0.2, 0.05),
        ("redness", "guide", 1, 0, 1),
        ("random", "select", 1, 0, 1),
    ]
    assert plan.holdout == ("shapes/critic", "shapes/clip-holdout")
    assert plan.methods[1].verifiers is None
    other = make_plan(None, [f"a={key}:{panel_file(tmp_path, PANEL.replace('0.2', '0.3'))},compute:4"])
    assert other.methods[0] != first  # so that a folder of results belongs to its weights


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("a=panel:PANEL,select:redness", "has a panel and select; leave out one of them"),
        ("a=panel:missing.yaml", "there is no panel 'missing.yaml'"),
        ("a=verifier:missing.yml", "there is no panel 'missing.yml'"),
        ("a=verifiers:[{name: redness}],verifier:random", "verifier is 'random', and the panel gives the roles"),
    ],
)
def test_an_unfit_panel_of_a_method_is_refused(method, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        make_plan(None, [method.replace("PANEL", str(panel_file(tmp_path, PANEL)))])


def test_a_holdout_of_a_panel_that_another_method_searches_with_is_refused(tmp_path):
    with pytest.raises(ValueError, match="method 'b': .*'shapes/clip-holdout' also guides or selects"):
        make_plan(None, [f"a=panel:{panel_file(tmp_path, PANEL)}", "b=verifier:shapes/clip-holdout"])


@pytest.mark.parametrize("path", sorted((configs() / "evaluate").glob("published_*.yaml")), ids=lambda path: path.stem)
def test_a_preset_of_a_published_table_names_paper_figures_budget_and_licence(path):
    header = " ".join(line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    assert re.search(r"arXiv:\d{4}\.\d{5}", header)
    assert "Budget: " in header
    assert "Licence: " in header
    assert "Not run here." in header
    figures = header.split("Published, ")[1].split("Licence: ")[0]
    plan = make_plan(path.stem, [])
    published = [
        method.name for method in plan.methods if "random" not in method.name and "unguided" not in method.name
    ]
    found = {name: re.search(rf"\b{name} (0\.\d\d)\b", figures) for name in published}
    assert all(found.values()), found
    assert len({method.model for method in plan.methods}) == 1
    assert (plan.prompts, len(published) > 1) == (100, True)
