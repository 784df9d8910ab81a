"""A tiny causal language model of transformers' own class before a flow in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from gensearch.core.gumbel import given
from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.engine.metered import MeteredModel
from gensearch.engine.run import run, stream
from gensearch.models.tokens.language import filled
from gensearch.models.tokens.rewriter import Rewriter
from gensearch.models.toy.gaussian import GaussianFlow
from gensearch.search import OF_TOKENS, SEARCHES
from gensearch.search.tokens.milr import milr
from gensearch.testing import ModelLaws
from gensearch.testing.verifiers import LinearScore
from gensearch.testing.witness import assert_booked, counting
from tests.builders.tiny_janus import tokenizer

PROMPT = "a photo of two red star"


def build(attention="sdpa", window=None, **options):
    kind, make = (MistralConfig, MistralForCausalLM) if window else (LlamaConfig, LlamaForCausalLM)
    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = kind(
            hidden_size=24,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            attn_implementation=attention,
            vocab_size=len(words),
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=False,
            **({"sliding_window": window} if window else {}),
        )
        language = make(config).eval()
        for parameter in language.parameters():
            if parameter.ndim == 2:
                parameter.data.mul_(3)
    model = GaussianFlow((1, 3, 3), num_steps=3, batch_size=3, **options.pop("flow", {}))
    return Rewriter(
        model, language, words, **{"text_length": 5, "context": 16, "ask": "user : {prompt} plan :", **options}
    )


class TestLaws(ModelLaws):
    @pytest.fixture
    def model(self):
        return build()

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.model.network, "decoded": model.model.decoder}


class TestLawsWithSampledWordsAndStochasticSteps(ModelLaws):
    @pytest.fixture
    def model(self):
        return build(greedy=False, flow={"churn": 0.5, "guidance": 1.5})


@pytest.mark.parametrize(("attention", "window"), [("sdpa", None), ("eager", None), ("sdpa", 4), ("eager", 4)])
def test_the_rewriting_is_that_of_generate(attention, window):
    model = build(attention, window)
    assert model.language.config._attn_implementation == attention
    with torch.no_grad():
        state = model.start([PROMPT], randn([1], model.noise_shape))
        ids = model.tokenizer("user : " + PROMPT + " plan :", return_tensors="pt")
        theirs = model.head.generate(**ids, do_sample=False, max_new_tokens=5)[0, ids["input_ids"].shape[1] :]
    length = int(state.extra["length"])
    assert state.extra["words"][0, :length].tolist() == theirs.tolist()
    assert state.prompts == (model.write(theirs.tolist()),)


def test_the_picture_is_that_of_the_rewritten_prompt():
    model = build(draw="{prompt} , {plan}")
    noise = randn([4], model.noise_shape)
    with torch.no_grad():
        state = model.start([PROMPT], noise)
        inner = model.model.start(list(state.prompts), noise[:, 5:].view(1, 1, 3, 3))
    assert state.prompts[0].startswith(PROMPT + " , ")
    assert torch.equal(model.render(state), model.model.render(inner))
    noise[:, :5] = given(torch.tensor([[model.end, 0, 0, 0, 0]]))
    assert model.start([PROMPT], noise).prompts == (PROMPT,)


def test_words_and_passes_are_booked():
    model = build()
    ledger, networks = Ledger(), {"tokens": model.language.layers[0], "nfe": model.model.network}
    with counting(networks) as seen, torch.no_grad():
        metered = MeteredModel(model, ledger)
        state = metered.start([PROMPT] * 4, randn(range(4), model.noise_shape))
        metered.advance(state)
    assert_booked(ledger, networks, seen)
    assert ledger.spent.nfe == 8
    assert ledger.spent.prefills == 1  # all rows share it


@pytest.mark.parametrize("search", sorted(OF_TOKENS))
def test_searches_that_move_a_pictures_tokens_are_refused(search):
    with pytest.raises(ValueError, match="has words only; take milr with strategy=text, or best_of_n"):
        run(SEARCHES[search], build(), LinearScore(torch.ones(1, 3, 3)), PROMPT, compute=4)


def test_braces_in_a_prompt_are_letters():
    assert (
        filled("{prompt} . {plan} {other}", prompt="a {plan} b", plan="c {prompt}") == "a {plan} b . c {prompt} {other}"
    )


def test_text_latents_are_moved_and_the_picture_noise_is_kept():
    model = build(greedy=False)
    verifier = LinearScore(torch.ones(1, 3, 3))
    knobs: dict[str, Any] = {
        "iterations": 6,
        "strategy": "text",
        "credit": "argmax",
        "text_share": 1.0,
        "noise": "common",
        "lr": 3.0,
        "baseline": "none",
    }
    rounds = [p.round for p in stream(milr, model, verifier, PROMPT, seed=2, **knobs)]
    assert len({r.media.numpy().tobytes() for r in rounds}) > 1
    still = [p.round for p in stream(milr, model, verifier, PROMPT, seed=2, **{**knobs, "lr": 0.0})]
    assert all(torch.equal(r.media, still[0].media) for r in still)
