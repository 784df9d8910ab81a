"""What shapes/janus is trained on: contexts as the adapter makes them, and true answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import JanusForConditionalGeneration, JanusVQVAE, JanusVQVAEConfig

from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.models.load import load
from gensearch.models.tokens.janus import Janus
from gensearch.shapes import plans, world
from gensearch.shapes.train.pictures.vae import batch
from gensearch.shapes.train.tokens import janus, vq
from verifiers.vlm.vqa import VQAScore

THINGS = (world.Thing("star", "red", 12.0, 50.0, 8.0), world.Thing("ring", "blue", 40.0, 10.0, 8.0))


@pytest.fixture(scope="module")
def words():
    return janus.tokenizer()


@pytest.fixture(scope="module")
def model(words):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return janus.build(words, JanusVQVAE(JanusVQVAEConfig(**vq.CONFIG))).eval()


def test_a_plan_says_what_is_where_from_left_to_right():
    assert plans.plan(THINGS) == "red star left bottom , blue ring center top"
    assert plans.plan(THINGS[::-1]) == plans.plan(THINGS)


def test_every_word_is_known_and_the_longest_context_fits(words):
    rng = np.random.default_rng(3)
    for _ in range(300):
        line, scene = world.sample(rng)
        text = plans.DRAW.replace("{prompt}", line["prompt"]).replace("{plan}", plans.plan(scene.things))
        ids = words(text)["input_ids"]
        assert words.unk_token_id not in ids
        assert len(ids) + 1 <= janus.CONTEXT
    assert (
        words.unk_token_id not in words(plans.QUESTION.replace("{prompt}", "a photo of two red boxes"))["input_ids"][:4]
    )


def test_contexts_are_those_of_the_adapter(words, model, tmp_path):
    janus.export(model.float(), words, tmp_path)
    adapter = load(str(tmp_path))
    assert isinstance(adapter, Janus)
    rng = np.random.default_rng(1)
    lines, scenes = zip(*(world.sample(rng) for _ in range(40)), strict=True)
    ids, labels = janus.contexts(words, list(lines), list(scenes), rng)
    kinds = set()
    for row, (line, scene) in enumerate(zip(lines, scenes, strict=True)):
        own = tuple(ids[row][(ids[row] == words.bos_token_id).cumsum(0) > 0].tolist())
        full, blind = adapter._context(line["prompt"], plans.plan(scene.things))
        bare, _ = adapter._context(line["prompt"], "")
        kinds.add([full, blind, bare].index(own))
        if own == full:
            asked = adapter._context(line["prompt"], None)[0]
            planned = labels[row][labels[row] != janus.NONE].tolist()
            assert words.decode(planned) == plans.plan(scene.things) + " <eos>"
            assert labels[row, -len(own) + len(asked) - 1] == planned[0], "the request ends before the first word"
        else:
            assert bool((labels[row] == janus.NONE).all())
    assert kinds == {0, 1, 2}


def test_the_loss_is_that_of_what_the_adapter_samples(words, model, tmp_path):
    """Teacher forcing and the adapter's cached loop give the same tokens the same probability."""
    janus.export(model.float(), words, tmp_path)
    adapter = load(str(tmp_path), plan="none", guidance_scale=1.0, temperature=1.0, batch_size=2)
    assert isinstance(adapter, Janus)
    adapter.network.float()
    prompt = "a photo of a red star"
    with torch.no_grad():
        noise = randn([1, 2], adapter.noise_shape)
        state = adapter.start([prompt] * 2, noise)
        for _ in range(adapter.num_steps - 1):
            state = adapter.advance(state)
        trace = adapter.trace(state)
        ours = adapter.logits("image", trace.image_states).log_softmax(-1).gather(-1, trace.image[..., None]).mean()
        ids = torch.full((2, janus.CONTEXT), words.pad_token_id)
        own = torch.tensor(adapter._context(prompt, "")[0])
        ids[:, -len(own) :] = own
        labels = torch.full_like(ids, janus.NONE)
        labels[:, -1] = 5  # something, so that the mean over words exists
        theirs = janus.drawing_loss(adapter.network, words, ids, labels, trace.image)
        plan = F.cross_entropy(adapter.network.lm_head(last(adapter, own)).float(), torch.tensor([5]))
    torch.testing.assert_close(-ours, theirs - 0.5 * plan, rtol=0, atol=2e-4)


def last(adapter, own):
    """The state after a context."""
    return adapter._read((tuple(own.tolist()),))[0]


def test_answers_are_true_and_questions_are_those_of_the_verifier(words, model):
    rng = np.random.default_rng(2)
    pixels, ids, labels = janus.questions(words, 12, rng)
    assert pixels.shape == (12, 3, 64, 64)
    yes, no = words.convert_tokens_to_ids(["yes", "no"])
    first = [int(row[row != janus.NONE][0]) for row in labels]
    assert {first[row] for row in range(0, 12, 2)} <= {yes, no}
    assert [int(((row == yes) | (row == no)).sum()) for row in labels] == [janus.ASKED, 0] * 6
    assert bool(((labels == janus.NONE) | (torch.cat([ids[:, 1:], labels[:, -1:]], 1) == labels)).all())
    assert all(first[row] not in (yes, no) for row in range(1, 12, 2))
    loss = janus.question_loss(model.float(), words, pixels, ids, labels)
    assert loss.isfinite()
    assert bool((ids == words.convert_tokens_to_ids("<image>")).sum(1).eq(64).all())


def test_the_verifier_asks_as_in_training(words, model, tmp_path):
    janus.export(model.float(), words, tmp_path)
    verifier = VQAScore.load(str(tmp_path), question=plans.QUESTION)
    asked = verifier.question.replace("{prompt}", "a photo of a red star")
    text = verifier.template.replace("{image}", "<image>").replace("{question}", asked)
    ids = verifier.processor(text=[text], images=[torch.zeros(3, 64, 64, dtype=torch.uint8)], return_tensors="pt")[
        "input_ids"
    ]
    mark = words.convert_tokens_to_ids(["<boi>", *["<image>"] * 64, "<eoi>"])
    question = words("does this show a photo of a red star ?", add_special_tokens=False)["input_ids"]
    assert ids[0].tolist() == [words.bos_token_id, *mark, *question]


def test_dead_codes_come_alive_and_living_ones_stay():
    torch.manual_seed(0)
    codes = JanusVQVAE(JanusVQVAEConfig(**{**vq.CONFIG, "num_embeddings": 512}))
    z = torch.nn.functional.normalize(torch.randn(4, 64, 8), dim=-1)
    before = codes.quantize.embedding.weight.detach().clone()
    alive = vq.nearest(codes, z).unique()
    moved = vq.restart(codes, z, torch.Generator().manual_seed(1))
    assert moved == 512 - len(alive)
    kept = codes.quantize.embedding.weight[alive]
    torch.testing.assert_close(kept, torch.nn.functional.normalize(before[alive], dim=-1))
    assert len(vq.nearest(codes, z).unique()) > len(alive)


def test_codes_are_decoded_as_they_were_chosen():
    torch.manual_seed(0)
    codes = JanusVQVAE(JanusVQVAEConfig(**vq.CONFIG)).eval()
    x = batch(2, 5, 0)
    with torch.no_grad():
        chosen = vq.nearest(codes, vq.directions(codes, x))
        code = torch.nn.functional.normalize(codes.quantize.embedding.weight, dim=-1)[chosen]
        ours = codes.decoder(codes.post_quant_conv(code.mT.unflatten(2, (8, 8))))
        torch.testing.assert_close(codes.decode(chosen), ours, rtol=0, atol=1e-3)


def test_pictures_are_of_the_world(words, model, tmp_path):
    janus.export(model.float(), words, tmp_path)
    adapter = load(str(tmp_path), batch_size=1)
    with torch.no_grad():
        media = generate(adapter, ["a photo of a red star"], randn([1], adapter.noise_shape), [(("gaussian", 1),)])
    assert media.shape == (1, 3, 64, 64)


def test_figures_are_what_is_not_background():
    x = batch(8, 9, 0)
    shown = vq.figures(x)
    assert shown.shape == (8, 1, 64, 64)
    assert set(shown.unique().tolist()) == {0.0, 1.0}
    assert 0.01 < float(shown.mean()) < 0.45
    corner = x[:, :, 0, 0]
    alike = ((x - corner[..., None, None]).abs().amax(1) < 0.05) & (shown[:, 0] == 1)
    assert not bool(alike.any()), "pixels like those of the corner are background"


def test_a_better_decoder_leaves_every_token_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(vq, "quality", lambda codes: "of 256 pictures takes long")
    torch.manual_seed(0)
    codes = JanusVQVAE(JanusVQVAEConfig(**vq.CONFIG)).eval()
    codes.save_pretrained(tmp_path / "vq" / "model")
    vq.train_decoder(tmp_path, name="vq-decoder", steps=2, size=2, lr=1e-2)
    after = JanusVQVAE.from_pretrained(tmp_path / "vq" / "model").eval()
    before, changed = codes.state_dict(), after.state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], changed[name])}
    assert moved == {"decoder", "post_quant_conv"}


def test_a_better_vision_tower_draws_as_before(words, model, tmp_path):
    janus.export(model.float(), words, tmp_path / "janus" / "model")
    before = JanusForConditionalGeneration.from_pretrained(tmp_path / "janus" / "model").state_dict()
    janus.train_vision(tmp_path, name="looks", steps=2, size=2, lr=1e-2)
    after = JanusForConditionalGeneration.from_pretrained(tmp_path / "janus" / "model").state_dict()
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"vision_model", "aligner"}
