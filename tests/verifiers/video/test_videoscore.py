"""VideoScore2 on a tiny random Qwen2.5-VL whose words are dictated and whose probabilities are its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor

from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from tests.builders.tiny_qwen_video import qwen25
from verifiers.video.videoscore import ASPECTS, VideoScore2, find_scores, soften

ANSWER = (
    "a red star : visual quality : 2 visual quality of a : 4 ; text - to - video alignment : 3 ; "
    "physical / common - sense consistency : 5 <eos>"
)
QUESTION = "visual quality of {prompt} : 1 to 5"
CLIPS = randn(range(4), (5, 3, 16, 24)).mul(0.2).add(0.5).clamp(0.01, 0.99)
PROMPTS = ["a red star", "a blue ring", "a red ring", "a star"]


class Dictated(LogitsProcessor):
    """Let a model write one text, whatever it would have written."""

    def __init__(self, ids):
        self.ids, self.start = ids, None

    def __call__(self, input_ids, scores):
        if self.start is None or input_ids.shape[1] < self.start or input_ids.shape[1] >= self.start + len(self.ids):
            self.start = input_ids.shape[1]
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[input_ids.shape[1] - self.start]] = 0
        return forced


def build(answer=ANSWER, **options):
    model, processor = qwen25()
    generate = type(model).generate

    def dictated(**inputs):
        ids = processor.tokenizer(answer)["input_ids"]
        return generate(model, **inputs, logits_processor=[Dictated(ids)])

    model.generate = dictated
    return VideoScore2(model, processor, **{"question": QUESTION, "answer_tokens": 40, **options})


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build()

    @pytest.fixture
    def media(self):
        return CLIPS

    @pytest.fixture
    def prompts(self):
        return PROMPTS


def shares(verifier, clip, prompt):
    """Probabilities of the digits at the three scores [3, 5], from one pass over question and answer."""
    words = verifier.processor.tokenizer
    asked = verifier.processor(
        text=[f"<|vision_start|><|video_pad|><|vision_end|> {QUESTION.replace('{prompt}', prompt)} "],
        videos=[(clip[[0, 1, 3, 4]] * 255).round().to(torch.uint8)],
        videos_kwargs={"do_sample_frames": False, "fps": 2.0},
        return_tensors="pt",
    )
    asked["second_per_grid_ts"] = torch.tensor([1.0])
    answer = words(ANSWER, return_tensors="pt")["input_ids"]
    start = asked["input_ids"].shape[1]
    whole = {**asked, "input_ids": torch.cat([asked["input_ids"], answer], 1)}
    whole["attention_mask"] = torch.ones_like(whole["input_ids"])
    whole["mm_token_type_ids"] = torch.cat([asked["mm_token_type_ids"], torch.zeros_like(answer)], 1)
    with torch.no_grad():
        logits = verifier.model(**whole).logits[0].double().numpy()
    colons = [i for i, token in enumerate(words.convert_ids_to_tokens(answer[0].tolist())) if token in ("4", "3", "5")]
    digits = words.convert_tokens_to_ids(list("12345"))
    rows = np.exp(logits[[start + place - 1 for place in colons]][:, digits])
    return rows / rows.sum(1, keepdims=True)


def test_the_scores_are_those_of_the_digits_probabilities():
    peak, mean = build()(CLIPS, PROMPTS), build(soft="expectation")(CLIPS, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        p = shares(build(), CLIPS[row], prompt)
        expected = (p.argmax(1) + 1) * p.max(1)
        assert [peak.parts[aspect][row].item() for aspect in ASPECTS] == pytest.approx(expected, rel=1e-4)
        assert peak.total[row].item() == pytest.approx(expected.mean(), rel=1e-4)
        assert mean.total[row].item() == pytest.approx((p * np.arange(1, 6)).sum(1).mean(), rel=1e-4)
    assert len(set(peak.total.tolist())) == 4


def test_clips_have_the_same_bits_alone():
    verifier = build()
    alone = torch.cat([verifier(CLIPS[i : i + 1], PROMPTS[i : i + 1]).total for i in range(4)])
    assert torch.equal(alone, verifier(CLIPS, PROMPTS).total)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_are_scored(frames):
    assert bool(build()(CLIPS[:, :frames], PROMPTS).total.isfinite().all())


def test_an_answer_without_scores_is_unscored_and_counted():
    verifier = build("a red star : 4 <eos>")
    scores = verifier(CLIPS[:2], PROMPTS[:2])
    assert scores.total.isnan().all()
    assert all(part.isnan().all() for part in scores.parts.values())
    assert verifier.unparsed == 2
    cut = build(answer_tokens=20)
    assert cut(CLIPS[:1], PROMPTS[:1]).total.isnan().all()
    assert cut.unparsed == 1


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("visual quality: 4; text-to-video alignment: 3, physical/common-sense consistency: 5", "435"),
        ("(1) Visual Quality: sharp, 9 of 10\n(1) visual quality (sharpness): **2**\n(2) text-to-video alignment: <1>\n"
         "(3) physical/common-sense consistency score: [4]/5", "214"),
        ("visual quality: 4.0; text - to - video alignment: 3, physical / common - sense consistency: 5", "435"),
        ("visual quality: 4; text-to-video alignment: 3", None),
        ("visual quality: 10; text-to-video alignment: 3, physical/common-sense consistency: 5", None),
        ("visual quality: 4.5; text-to-video alignment: 3, physical/common-sense consistency: 5", None),
        ("", None),
    ],
)  # fmt: skip
def test_answers_are_read(answer, found):
    places = find_scores(list(answer))
    assert places == (None if found is None else places)
    assert (None if places is None else "".join(answer[place] for place in places)) == found


def test_a_digit_inside_a_longer_token_has_no_probabilities():
    assert find_scores(["visual quality", ":", " 4;", " text-to-video alignment:", "3",
                        " physical/common-sense consistency:", "5"]) is None  # fmt: skip


def test_soft_scores():
    logits = torch.tensor([[0.0, 0, 0, 0, 30], [0.0, 0, 0, 1, 1.01]])
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    assert soften(logits, "peak").tolist() == pytest.approx((5 * p[:, 4]).tolist(), rel=1e-5)
    assert soften(logits, "expectation").tolist() == pytest.approx((p @ np.arange(1, 6)).tolist(), rel=1e-5)


def test_what_cannot_be_asked_is_refused():
    for options, said in (
        ({"question": "how good?"}, "lacks {prompt}"),
        ({"soft": "hard"}, "take 'peak' or 'expectation'"),
        ({"clip_fps": 0.0}, "above 0"),
    ):
        with pytest.raises(ValueError, match=said):
            build(**options)
    with pytest.raises(ValueError, match="takes clips"):
        build()(CLIPS[:, 0], PROMPTS)
    with pytest.raises(ValueError, match="stands for a clip or picture"):
        build()(CLIPS[:1], ["a <|video_pad|> star"])
    model, processor = qwen25()
    processor.tokenizer = without_digits(processor.tokenizer)
    with pytest.raises(ValueError, match="1 to 5 are single tokens"):
        VideoScore2(model, processor)


def without_digits(words):
    """The same tokenizer, for which a 5 is unknown."""
    known = words.backend_tokenizer.to_str().replace('"5"', '"five"')
    return words.__class__(tokenizer_object=words.backend_tokenizer.__class__.from_str(known), unk_token="<unk>")


def test_it_is_loaded_from_safetensors_with_the_question_of_its_folder(tmp_path):
    model, processor = qwen25()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    (tmp_path / "gensearch.json").write_text('{"question": "a {prompt} : 5", "clip_fps": 8}')
    loaded = VideoScore2.load(str(tmp_path))
    assert (loaded.question, loaded.clip_fps) == ("a {prompt} : 5", 8)
    assert torch.equal(loaded.model.lm_head.weight, model.lm_head.weight)
    (tmp_path / "gensearch.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        VideoScore2.load(str(tmp_path))
