from __future__ import annotations

import pytest

from gensearch.shapes import world
from hypernoise.prompts import benchmark_of, fingerprint, read_prompts, shapes, split


@pytest.mark.parametrize(
    ("prompt", "benchmark"),
    [
        ("a photo of a bench", "GenEval"),
        ("A photo of  a BENCH.", "GenEval"),
        ("a green bench and a blue bowl", "T2I-CompBench"),
        ("The red hat was on top of the brown coat rack", "T2I-CompBench"),
        ("a photo of three hearts", "GenEval-Shapes"),
        ("a photo of two red stars", None),
        ("a lighthouse made of glass", None),
    ],
)
def test_benchmark_prompts_are_known_however_they_are_spelt(prompt, benchmark):
    assert benchmark_of(prompt) == benchmark


def test_all_that_is_held_out_of_shapes_is_known():
    assert all(benchmark_of(line["prompt"]) == "GenEval-Shapes" for line in world.benchmark())
    free = [line for line in world.lines() if benchmark_of(line["prompt"]) is None]
    assert not any(world.asks_held_out(line) for line in free)
    assert len(free) > 1000


def test_prompts_of_the_shapes_world_teach_every_kind_but_the_two_that_are_all_benchmark():
    prompts = shapes()
    assert len(set(prompts)) == len(prompts) == len({fingerprint(prompt) for prompt in prompts})
    tags = {world.parse(prompt)["tag"] for prompt in prompts}
    assert tags == {"two_object", "colors", "position", "color_attr", "color_count"}
    assert prompts == shapes()


def test_a_file_is_read_line_by_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a lamp\n\n  a lamp \nan owl\n")
    assert read_prompts(str(path)) == ["a lamp", "an owl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "holds no prompts"),
        ("a lamp\na photo of a bench\n", "holds 1 prompts of benchmarks, the first is 'a photo of a bench' of GenEval"),
        (None, "no file of prompts is called"),
    ],
)
def test_unfit_files_are_refused(tmp_path, text, message):
    path = tmp_path / "prompts.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_prompts(str(path))


def test_a_prompt_stays_on_its_side_of_the_split_when_others_come():
    prompts = [f"prompt {i}" for i in range(40)]
    learn, watch = split(prompts, 6)
    assert sorted(learn + watch) == sorted(prompts)
    assert not set(learn) & set(watch)
    fewer_learn, fewer_watch = split(prompts[:30], 3)
    assert set(fewer_watch) <= set(watch) or set(fewer_watch) & set(watch)
    assert split(prompts[::-1], 6)[1] == watch
    with pytest.raises(ValueError, match="40 of 40 prompts for validation leave none to train on"):
        split(prompts, 40)
