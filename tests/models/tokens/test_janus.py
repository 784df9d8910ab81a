"""Our cached loop over transformers' Janus, against its own `generate` and against itself."""

from __future__ import annotations

import pytest
import torch

from gensearch.core.gumbel import given
from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.engine.metered import MeteredModel
from gensearch.engine.run import run
from gensearch.models.load import load
from gensearch.models.tokens.janus import Janus
from gensearch.search.tokens.milr import milr
from gensearch.testing import ModelLaws
from gensearch.testing.witness import assert_booked, counting, weights_of
from tests.builders.tiny_janus import janus
from verifiers.controls.redness import Redness

TEMPLATES = {
    "ask": "user : {prompt} plan :",
    "draw": "user : {prompt} . {plan} draw",
    "draw_bare": "user : {prompt} draw",
}
PROMPT = "a photo of two red star"


def build(pipeline=None, **options):
    return Janus(
        pipeline or janus(), **{"text_length": 6, "context": 24, "steps": 2, "batch_size": 3, **TEMPLATES, **options}
    )


def draw(model, noise, prompts):
    with torch.no_grad():
        state = model.start(prompts, noise)
        while not bool(state.done.all()):
            state = model.advance(state)
    return state


class TestLaws(ModelLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return build()

    @pytest.fixture
    def networks(self, model):
        return {"tokens": model.language.layers[0], "decoded": model.network.model.vqmodel.decoder}


class TestLawsWithSampledPlans(TestLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return build(plan="sampled", guidance_scale=1.0, steps=4, batch_size=4)


def test_a_greedy_plan_is_that_of_generate():
    model = build(text_length=9)
    trace = model.trace(draw(model, randn([1, 2], model.noise_shape), [PROMPT, "a blue ring"]))
    for prompt, ours, length in zip([PROMPT, "a blue ring"], trace.text, trace.lengths.tolist(), strict=True):
        ids = model.tokenizer(TEMPLATES["ask"].replace("{prompt}", prompt), return_tensors="pt")
        theirs = model.network.generate(**ids, do_sample=False, max_new_tokens=9, generation_mode="text")
        assert theirs[0, ids["input_ids"].shape[1] :].tolist() == ours[:length].tolist()


@pytest.mark.parametrize("guidance", [5.0, 2.0])
def test_the_likeliest_picture_is_that_of_generate(guidance):
    model = build(plan="none", guidance_scale=guidance, temperature=1e-9)
    prompts = [PROMPT, "a blue ring", PROMPT]
    ours = draw(model, randn([1, 2, 3], model.noise_shape), prompts)
    for row, prompt in enumerate(prompts):
        text = TEMPLATES["draw_bare"].replace("{prompt}", prompt)
        inputs = model.pipeline.processor(text=text, generation_mode="image", return_tensors="pt")
        theirs = model.network.generate(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            generation_mode="image",
            do_sample=False,
            guidance_scale=guidance,
        )
        assert theirs[0].tolist() == ours.clean[row].tolist()
        pixels = model.network.decode_image_tokens(theirs)[0].permute(2, 0, 1) / 2 + 0.5
        torch.testing.assert_close(model.render(ours)[row], pixels.clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sampled_picture_of_generate_is_drawn_from_our_distributions(seed):
    """Its own draws by one global generator, row by row from the chances that our loop states."""
    model = build(plan="none", guidance_scale=3.0, temperature=1.0)
    inputs = model.pipeline.processor(
        text=TEMPLATES["draw_bare"].replace("{prompt}", PROMPT), generation_mode="image", return_tensors="pt"
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = model.network.generate(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            generation_mode="image",
            do_sample=True,
            top_k=0,
            guidance_scale=3.0,
        )
        trace = model.trace(draw(model, given(theirs), [PROMPT]))
        torch.manual_seed(seed)
        chances = model.logits("image", trace.image_states)[0].softmax(-1)
        ours = [int(torch.multinomial(row[None], 1)) for row in chances]
    assert ours == theirs[0].tolist()


def test_a_plan_without_room_beside_its_prompt_loses_its_last_words():
    noise = randn([1, 2], (6 + 16,))
    whole, cut = (build(plan="sampled", text_length=6, context=context) for context in (40, 14))
    states = [model.start([PROMPT] * 2, noise) for model in (whole, cut)]
    assert torch.equal(states[0].clean[:, :6], states[1].clean[:, :6]), "the plans are what they were"
    assert int(states[0].extra["context"].max()) > 14
    assert int(states[1].extra["context"].max()) == 14
    with pytest.raises(ValueError, match="takes? 11 tokens and .* reads 10; shorten the prompt"):
        build(plan="none", context=10).start([PROMPT], noise[:1, 6:])


def test_padding_changes_nothing_but_rounding():
    noise = randn([4, 5], (16,))
    usual, wider = (build(plan="none", context=context) for context in (12, 40))
    one, other = (model.trace(draw(model, noise, [PROMPT, "a star"])) for model in (usual, wider))
    assert torch.equal(one.image, other.image)
    torch.testing.assert_close(one.image_states, other.image_states, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kept", [1, 3, 8, 15, 16])
def test_a_known_prefix_in_one_pass_is_its_steps(kept):
    model = build(steps=3)
    noise = randn([7, 8], model.noise_shape)
    usual = model.trace(draw(model, noise, [PROMPT] * 2))
    noise[:, 6 : 6 + kept] = given(usual.image[:, :kept])
    again = model.trace(draw(model, noise, [PROMPT] * 2))
    assert torch.equal(again.image, usual.image)
    torch.testing.assert_close(again.image_states, usual.image_states, rtol=0, atol=2e-5)


def test_states_are_what_the_heads_read():
    model = build(plan="sampled")
    noise = randn([1, 2, 3], model.noise_shape)
    trace = model.trace(draw(model, noise, [PROMPT] * 3))
    assert torch.equal(model.choose("image", trace.image_states, noise[:, 6:]), trace.image)
    scale = trace.image_states.square().mean(-1).sqrt()
    assert bool(((scale > 0.9) & (scale < 1.1)).all()), "states are those after the last norm"


def test_a_moved_state_changes_its_token_and_what_follows_only():
    model = build(plan="none", steps=1)
    noise = randn([1], model.noise_shape)
    trace = model.trace(draw(model, noise, [PROMPT]))
    moved = trace.image_states[:, :3].clone()
    moved[:, 2] = 40 * torch.randn(2, 32, generator=torch.Generator().manual_seed(5))
    tokens = model.choose("image", moved, noise[:, :3])
    assert tokens[0, :2].tolist() == trace.image[0, :2].tolist()
    assert tokens[0, 2] != trace.image[0, 2]
    noise[:, :3] = given(tokens)
    again = model.trace(draw(model, noise, [PROMPT]))
    assert again.image[0, :3].tolist() == tokens[0].tolist()
    assert not torch.equal(again.image, trace.image)


@pytest.mark.parametrize("scale", [2.0, 5.0])
def test_gradients_of_guided_logits(scale):
    """d log p(a) / dh agrees with finite differences; only states take gradients, and weights stay."""
    model = build(guidance_scale=scale)
    before = weights_of({"all": model.network})
    states = torch.randn(2, 32, generator=torch.Generator().manual_seed(3)).requires_grad_()
    model.logits("image", states).log_softmax(-1)[7].backward()
    assert weights_of({"all": model.network}) == before, "a weight changed or holds a gradient"
    assert states.grad is not None
    model.network.double()
    for row, unit in ((0, 4), (1, 4), (0, 20)):
        step = torch.zeros(2, 32, dtype=torch.float64)
        step[row, unit] = 1e-3
        with torch.no_grad():
            up, down = (
                model.logits("image", states.double() + sign * step).double().log_softmax(-1)[7] for sign in (1, -1)
            )
        torch.testing.assert_close(states.grad[row, unit].double(), (up - down) / 2e-3, rtol=2e-2, atol=2e-4)


def test_costs_have_their_closed_form():
    model = build(plan="sampled", batch_size=3)
    ledger, networks = Ledger(), {"tokens": model.language.layers[0]}
    with counting(networks) as seen:
        state = draw(MeteredModel(model, ledger), randn([1, 2, 3], model.noise_shape), [PROMPT] * 3)
    assert_booked(ledger, networks, seen)
    trace = model.trace(state)
    plans = {model.write(row[:n]) for row, n in zip(trace.text.tolist(), trace.lengths.tolist(), strict=True)}
    ask = len(model._context(PROMPT, None)[0])
    read = ask + 2 * sum(len(model._context(PROMPT, plan)[0]) for plan in plans)
    assert ledger.spent.tokens == read + int((trace.lengths - 1).sum()) + 3 * 2 * 15
    assert ledger.spent.prefills == 1 + 2 * len(plans)


@pytest.mark.parametrize("strategy", ["joint", "alt", "t2v", "image"])
def test_without_a_plan_its_states_are_none_of_the_usual_width(strategy):
    model = build(plan="none")
    trace = model.trace(draw(model, randn([1, 2], model.noise_shape), [PROMPT] * 2))
    assert trace.text_states.shape == (2, 0, 1, trace.image_states.shape[-1])
    outcome = run(milr, model, Redness(), PROMPT, iterations=2, strategy=strategy)
    assert len(outcome.lineage) == 4


def test_a_folder_is_loaded_as_janus(tmp_path):
    pipeline = janus()
    pipeline.model.save_pretrained(tmp_path)
    pipeline.processor.save_pretrained(tmp_path)
    model = load(str(tmp_path), text_length=6, context=24, steps=2, batch_size=3, **TEMPLATES)  # type: ignore[arg-type]
    noise = randn([1, 2], model.noise_shape)
    there, here = (draw(one, noise, [PROMPT] * 2) for one in (model, build(pipeline)))
    assert torch.equal(there.clean, here.clean)
    assert model.name == str(tmp_path)


def test_a_folder_that_lacks_weights_is_refused(tmp_path):
    pipeline = janus()
    pipeline.processor.save_pretrained(tmp_path)
    del pipeline.model.model.generation_head.proj_out
    pipeline.model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="lacks 2 weights, the first is .*generation_head"):
        load(str(tmp_path))


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="17 steps are more than the 16 image tokens"):
        build(steps=17)
    with pytest.raises(ValueError, match="option plan of .* is 'best'"):
        build(plan="best")
    with pytest.raises(ValueError, match="option ask of .* is 'draw it'"):
        build(ask="draw it")
