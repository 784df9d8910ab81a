"""The plan's schema, its texts, and the presets."""

from __future__ import annotations

import pytest

from gensearch.evaluate.plan import Method, Plan, make_plan, parse_method
from gensearch.packages import configs
from gensearch.registry import VERIFIERS


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
        assert verifiers <= set(VERIFIERS)
        assert plan.methods[0].compute == 1  # the baseline is one plain sample
        if any(method.compute != 1 for method in plan.methods):
            assert "random" in verifiers
            assert "unguided" in searches
