"""T2I-CompBench: its files, the parts of its judge with known networks, and its layout."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
import torch

from gensearch.evaluate.benchmarks.t2i_compbench import PIECES, CompBench, load, plain, product, summary
from gensearch.evaluate.benchmarks.t2i_compbench_prompts import (
    CATEGORIES,
    DATA,
    file_of,
    kind_of,
    kinds,
    lines,
    plurals,
    samples,
    table,
)
from verifiers.detect.compbench import DEPTHS, counts, relation
from verifiers.detect.geneval import Detection, Rules
from verifiers.types import Scores
from verifiers.vlm.noun_chunks import noun_chunks

SHA256 = {
    "3d_spatial_val.txt": "c9953597315f36a5fcb41291bb19bdc6ab5f64a0fa760d691b4854a73f5d1fe9",
    "License.txt": "905b2fb8de6611b855171c41985efc7a36698016c083f1b39485a6f9e9d4ae00",
    "color_val.txt": "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d",
    "complex_val.txt": "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4",
    "complex_val_action.txt": "d49ee4c7f99e3f3379fb8704a54ff5288b83bb412971edf616a4721c2473308e",
    "complex_val_spatial.txt": "6c7ac0ab75c7c9080cfc7b421fb059b9b0febb98471707aeedf58771088abc02",
    "complex_val_spatialaction.txt": "e02ddc7fed812e6577e7386ec2137ce0a994a5ce19771661f68df7ac349a6ca9",
    "new_objects.txt": "f39a3d2ff6067d7738673cbf465dc659ccc750776162989a5d9916f1d5f3e231",
    "non_spatial_val.txt": "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d",
    "numeracy_val.txt": "dad8df141604b70ba7554bec724e3db0a80023680769b5c514854ea2d2527bbe",
    "shape_val.txt": "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae",
    "spatial_val.txt": "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988",
    "texture_val.txt": "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f",
}
ON_TOP = "The red apple was on top of the black plate."
ACTION = "The shiny blue car drove past the dusty brown barn."
BOTH = "The sleek black cat sat on top of the fluffy white pillow."


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_the_published_ones(name):
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == SHA256[name]


def test_there_are_300_prompts_of_each_category():
    found = lines(300)
    assert [sum(line["tag"] == tag for line in found) for tag in CATEGORIES] == [300] * 8
    assert len({line["prompt"] for line in found}) == 2400
    counted = [sum(kind == name for kind in kinds().values()) for name in tuple(PIECES)[-3:]]
    assert counted == [58, 212, 30]
    assert [line["place"] for line in lines(3)] == [0, 100, 200] * 8
    assert len(plurals()) == 88


def test_every_prompt_can_be_read():
    for prompt, kind in kinds().items():
        if kind == "numeracy":
            assert sum(counts(prompt, plurals()).values()) > 0
        elif kind in ("spatial", "complex_spatial"):
            assert relation(prompt).words
        elif kind == "3d_spatial":
            assert relation(prompt, DEPTHS).words
        elif kind not in ("non_spatial",):
            assert 1 <= len(table()[prompt]) <= 8


def test_the_table_of_noun_chunks_is_that_of_the_rules():
    assert table() == {prompt: noun_chunks(prompt) for prompt in table()}
    assert len(table()) == 1200


class Networks:
    """Networks whose outputs are known: boxes and chances by name, one cosine, and depth by columns."""

    def __init__(self, boxes=(), chances=()):
        self.boxes, self.chances, self.read, self.loaded = dict(boxes), dict(chances), [], []
        self.rules = Rules(threshold=0.2, counting_threshold=0.2)

    def judge(self, **options):
        def loading(name, what):
            def load():
                self.loaded.append(name)
                return what

            return load

        networks = {"questions": self, "detector": self, "depth": self.depth, "alignment": self.align}
        return CompBench({name: loading(name, what) for name, what in networks.items()}, **options)

    def answer(self, media, questions):
        return [torch.tensor([self.chances[q] for q in own], dtype=torch.float64).log() for own in questions]

    def looking_for(self, names):
        self.names = names
        return self

    def detect(self, image):
        return {name: [Detection(box, 0.5) for box in self.boxes.get(name, ())] for name in self.names}

    def depth(self, picture):
        return (torch.arange(picture.shape[2]).flip(0).clamp(max=255).byte().expand(*picture.shape[1:])).numpy()

    def align(self, media, prompts):
        self.read += prompts
        return Scores(torch.full((len(prompts),), 0.31))


def scored(networks, *prompts, side=479, **options):
    return networks.judge(**options)(torch.rand(len(prompts), 3, side, side), prompts)


def test_attributes_are_products_over_noun_chunks():
    networks = Networks(chances={"a red backpack": 0.87654321, "a blue train": 0.5})
    prompt = "a red backpack and a blue train"
    assert scored(networks, prompt).total.item() == pytest.approx(0.8765 * 0.5, abs=1e-7)
    assert scored(networks, prompt, upstream=False).total.item() == pytest.approx(0.87654321 * 0.5, abs=1e-7)
    assert networks.loaded == ["questions"] * 2
    assert product([], True) == 1
    assert product([0.00004, 1], True) == 0
    assert scored(
        networks, prompt, chunks={prompt: ["a red backpack", "the left", "top"]}
    ).total.item() == pytest.approx(0.8765, abs=1e-7)


def test_places_need_both_objects():
    prompt = "a microwave on the right of a pig"
    boxes = {"microwave": [(300, 100, 400, 200)], "pig": [(0, 100, 100, 200)]}
    assert scored(Networks(boxes), prompt).total.item() == 1
    assert scored(Networks(boxes | {"pig": [(390, 0, 479, 479)]}), prompt).total.item() == 0.5
    assert scored(Networks({"pig": boxes["pig"]}), prompt).total.item() == 0
    near = Networks({"bee": [(0, 0, 10, 10)], "microwave": [(400, 400, 410, 410)]})
    half = scored(near, "a bee next to a microwave").total.item()
    assert half == pytest.approx(0.5 + 0.5 * 150 / 400)
    double = Networks({name: [tuple(2 * edge for edge in box[0])] for name, box in near.boxes.items()})
    assert scored(double, "a bee next to a microwave", side=958).total.item() == pytest.approx(half)


def test_depth_and_numbers():
    boxes = {"person": [(0, 0, 200, 200)], "desk": [(0, 0, 200, 300)]}
    assert scored(Networks(boxes), "a girl hidden by a desk").total.item() == 0.5  # equally near
    boxes = {"person": [(150, 0, 350, 200)], "desk": [(100, 0, 300, 200)]}
    mended = scored(Networks(boxes), "a girl hidden by a desk", side=480, upstream=False).total.item()
    assert mended == pytest.approx(0.5 + 0.5)
    swapped = scored(Networks(boxes), "a sofa in front of a chicken").total.item()
    assert swapped == 0
    three = [(0, 0, 50, 50), (100, 0, 150, 50), (0, 0, 49, 50)]
    assert scored(Networks({"dog": three}), "two dogs").total.item() == 1
    assert scored(Networks({"dog": three[:1]}), "two dogs").total.item() == 0.5


def test_complex_prompts_are_means_of_their_parts():
    boxes = {"apple": [(100, 0, 200, 100)], "plate": [(100, 300, 200, 400)]}
    boxes |= {"cat": boxes["apple"], "pillow": boxes["plate"]}
    chances = dict.fromkeys([chunk for prompt in (ON_TOP, ACTION, BOTH) for chunk in noun_chunks(prompt)], 0.9)
    networks = Networks(boxes, chances)
    upstream = scored(networks, ON_TOP, ACTION, BOTH).total.tolist()
    mended = scored(networks, ON_TOP, ACTION, BOTH, upstream=False)
    assert upstream == pytest.approx([(0.81 + 0.5) / 2, (0.81 + 0.31) / 2, (0.81 + 0.5 + 0.31) / 3])
    assert mended.total.tolist() == pytest.approx([(0.81 + 1) / 2, (0.81 + 0.31) / 2, (0.81 + 1 + 0.31) / 3])
    assert mended.parts["place"][1].isnan()
    assert networks.read[:2] == ["The car drove past the barn.", "The cat sat on top of the pillow."]


def test_other_prompts_are_read_whole_and_a_picture_that_is_not_finite_is_unscored():
    networks = Networks()
    prompt = next(p for p, kind in kinds().items() if kind == "non_spatial")
    images = torch.rand(2, 3, 16, 16)
    images[0, 0, 0, 0] = math.inf
    scores = networks.judge()(images, [prompt] * 2)
    assert scores.total.isnan().tolist() == [True, False]
    assert networks.read == [prompt]
    with pytest.raises(ValueError, match="T2I-CompBench has no prompt 'a cow'"):
        networks.judge()(images, ["a cow"] * 2)
    assert plain("The soft, fluffy silk dress.") == "The silk dress."


def test_a_table_of_ones_own_must_have_every_prompt(tmp_path):
    own = tmp_path / "chunks.json"
    full = {prompt: ["thing"] for prompt in table()}
    own.write_text(json.dumps(full))
    assert load("owlv2", chunks=own).chunks[ON_TOP] == ("thing",)
    del full[ON_TOP]
    own = tmp_path / "fewer.json"
    own.write_text(json.dumps(full))
    with pytest.raises(ValueError, match=f"lacks 1 prompts, the first is '{ON_TOP}'"):
        load("owlv2", chunks=own)
    with pytest.raises(ValueError, match="the detector 'mask2former' does not find any object"):
        load("mask2former")


def test_the_summary_names_what_was_replaced():
    records = [{"tag": "color", "judge": 0.2}, {"tag": "color", "judge": 0.4}, {"tag": "spatial", "judge": 0.5}]
    assert summary(records) == pytest.approx({"color": 0.3, "spatial-OV": 0.5})
    assert summary([*records, {"tag": "color", "judge": None}]) == pytest.approx(
        {"color": 0.3, "spatial-OV": 0.5, "unscored": 1}
    )


def test_the_layout_goes_out_and_in(tmp_path):
    prompt = "a microwave on the right of a pig"
    assert kind_of(prompt) == "spatial"
    name = file_of(prompt, 3, 12)
    assert name == f"spatial/samples/{prompt}_000123.png"
    for path in (name, file_of(ON_TOP, 0, 1), "spatial/samples/notes.png", "spatial/samples/x_12.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert [sample[:2] for sample in samples(tmp_path / "spatial")] == [(prompt, 123)]
    assert samples(tmp_path / "complex" / "samples")[0].prompt == ON_TOP
    with pytest.raises(ValueError, match="picture 10 of 'a microwave"):
        file_of(prompt, 10, 12)
    with pytest.raises(ValueError, match="holds no pictures; T2I-CompBench names them"):
        samples(tmp_path)


def test_names_are_files():
    longest = max(kinds(), key=len)
    assert all("/" not in prompt and "_" not in prompt for prompt in kinds())
    assert len(f"{longest}_000000.png".encode()) < 255
    assert file_of(longest, 0, 0).endswith("_000000.png")
