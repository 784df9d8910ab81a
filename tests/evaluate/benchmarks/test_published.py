"""The published benchmarks by name, and the layouts that their authors' scripts read."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from gensearch.evaluate.benchmarks import dpg, layouts
from gensearch.evaluate.benchmarks.published import NAMES, find
from gensearch.evaluate.benchmarks.subset import spread
from gensearch.evaluate.benchmarks.vbench_prompts import load, summary
from gensearch.files.images import decode, encode

PAGE = {
    "wise": "PKU-YuanGroup/WISE",
    "geneval2": "facebookresearch/GenEval2",
    "dpg": "ELLA",
    "vbench": "Vchitect/VBench",
}
VBENCH = [
    {"prompt_en": "a still lake", "dimension": ["temporal_flickering", "scene"]},
    {"prompt_en": "a cat runs", "dimension": ["subject_consistency"]},
    {"prompt_en": "a still lake", "dimension": ["overall_consistency"]},
]


@pytest.mark.parametrize("name", [name for name in NAMES if NAMES[name]])
def test_missing_data_names_what_to_download(name, tmp_path):
    page = PAGE[name.split("_")[0]]
    with pytest.raises(ValueError, match=f"{name} is not shipped; .*github.com/.*{page}.* --prompts-file"):
        find(name)
    with pytest.raises(ValueError, match=f"github.com/.*{page}.* --prompts-file"):
        find(name, tmp_path / "none").lines(3)


def test_the_shipped_one_needs_nothing_and_can_go_to_other_processes():
    found = find("t2i_compbench")
    assert len(found.lines(2)) == 16
    assert found.per_prompt == 10
    assert vars(found.judge())["upstream"] is True
    mended = pickle.loads(pickle.dumps(find("t2i_compbench_fixed", judge="grounding")))  # noqa: S301
    assert vars(mended.judge())["upstream"] is False
    assert "grounding" in mended.name
    assert found.name != mended.name


def test_vbench_has_each_prompt_once_and_no_other_judge(tmp_path):
    file = tmp_path / "info.json"
    file.write_text(json.dumps(VBENCH))
    assert [line["dimensions"] for line in load(file)] == [
        ["temporal_flickering", "scene", "overall_consistency"],
        ["subject_consistency"],
    ]
    assert find("vbench", file).per_prompt == 5
    records = [{"text": "a still lake", "judge": 0.9}, {"text": "a cat runs", "judge": 0.1}]
    assert summary(file, records) == pytest.approx({"temporal_flickering": (0.9 - 0.6293) / (1 - 0.6293)})
    with pytest.raises(ValueError, match="vbench is judged by VBench itself"):
        find("vbench", file, "vqa:x")


def test_some_prompts_are_spread_over_each_tag():
    lines = [{"tag": tag, "n": n} for tag in "ab" for n in range(7)]
    assert [line["n"] for line in spread(lines, 3)] == [0, 2, 4] * 2
    assert spread(lines, 9) == lines


def run_folder(tmp_path, lines, seeds, frames=1):
    """A finished run whose pictures tell prompt and seed."""
    records = []
    for prompt, line in enumerate(lines):
        for seed in range(seeds):
            name = f"pictures/base/{prompt:04}-{seed}.png"
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shade = np.arange(frames)[:, None, None, None] + np.full((frames, 16, 16, 3), 20 * prompt + seed)
            (tmp_path / name).write_bytes(encode(shade.astype(np.uint8)))
            records.append(
                {"method": "base", "prompt": prompt, "seed": seed, "text": line["prompt"], "picture": name, "root": 5}
            )
    return records


def shade(path):
    return int(decode(path)[0][0, 0, 0, 0])


def test_compbench_pictures_have_prompt_and_number_in_their_names(tmp_path):
    lines = find("t2i_compbench").lines(2)
    records = run_folder(tmp_path, lines, 2)
    (folder,) = layouts.export("t2i_compbench", tmp_path, records, lines, tmp_path / "out")
    assert shade(folder / "color" / "samples" / f"{lines[1]['prompt']}_001501.png") == 21
    assert len(list(folder.rglob("*.png"))) == 32


def test_wise_pictures_have_ids_and_geneval2_a_table(tmp_path):
    lines = [{"prompt": "riddle", "id": 7}, {"prompt": "another", "id": 401}]
    records = run_folder(tmp_path, lines, 2)
    (folder,) = layouts.export("wise", tmp_path, records, lines, tmp_path / "wise")
    assert (shade(folder / "401.png"), shade(folder / "seed1" / "401.png")) == (20, 21)
    (folder,) = layouts.export("geneval2", tmp_path, records, lines, tmp_path / "geneval2")
    named = json.loads((folder / "images.json").read_text())
    assert shade(folder / named["another"]) == 20
    assert set(named) == {"riddle", "another"}


def test_dpg_pictures_are_grids_of_four(tmp_path):
    lines = [{"prompt": "a barn", "file": "a1.png"}, {"prompt": "an owl", "file": "b2.png"}]
    records = run_folder(tmp_path, lines, 4)
    (folder,) = layouts.export("dpg_fixed", tmp_path, records[::-1], lines, tmp_path / "out")
    assert [int(part[0, 0, 0]) for part in dpg.untile(decode(folder / "b2.png")[0][0])] == [20, 21, 22, 23]
    with pytest.raises(ValueError, match="four pictures of one size, not 3"):
        layouts.export("dpg", tmp_path, records[:3], lines, tmp_path / "out")


def test_a_lost_picture_is_named(tmp_path):
    lines = [{"prompt": "riddle", "id": 7}]
    records = run_folder(tmp_path, lines, 1)
    (tmp_path / records[0]["picture"]).unlink()
    with pytest.raises(ValueError, match=r"0000-0.png is missing; run the same command again"):
        layouts.export("wise", tmp_path, records, lines, tmp_path / "out")
