from __future__ import annotations

from collections import Counter

import pytest
import torch

from gensearch.core.gumbel import encoded, given, gumbel, pick, prefix
from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.core.price import price
from gensearch.engine.metered import MeteredModel
from gensearch.models.toy.tokens import ToyTokens, levels
from gensearch.testing import ModelLaws
from gensearch.testing.witness import assert_booked, counting

PROMPT = "a red star"


class OfTheToy(ModelLaws):
    @pytest.fixture
    def networks(self, model):
        return {"tokens": model.network, "decoded": model.decoder}


class TestPlain(OfTheToy):
    @pytest.fixture
    def model(self):
        return ToyTokens(image_length=5, batch_size=3)


class TestGuidedInBlocks(OfTheToy):
    @pytest.fixture
    def model(self):
        return ToyTokens(image_length=7, num_steps=3, guidance=2.5, batch_size=4)


class TestWithPlans(OfTheToy):
    @pytest.fixture
    def model(self):
        return ToyTokens(image_length=6, text_length=4, words=3, num_steps=2, guidance=1.5, batch_size=2)


class TestWithGreedyPlans(OfTheToy):
    @pytest.fixture
    def model(self):
        return ToyTokens(image_length=6, text_length=5, words=3, greedy=True, num_steps=4, batch_size=3)


def draw(model, noise, prompt=PROMPT):
    """The finished state of noise [b, positions]."""
    with torch.no_grad():
        state = model.start([prompt] * len(noise), noise)
        while not bool(state.done.all()):
            state = model.advance(state)
    return state


@pytest.mark.parametrize("guidance", [None, 1.8])
def test_pictures_have_the_probabilities_of_their_sequences(guidance):
    model = ToyTokens(image_length=3, vocabulary=4, guidance=guidance, num_steps=3, batch_size=64)
    count = 4000
    found = draw(model, randn(range(count), model.noise_shape)).clean
    seen = Counter(map(tuple, found.tolist()))
    listed = list(model.sequences(PROMPT))
    assert sum(chance for _, chance in listed) == pytest.approx(1, abs=1e-5)
    # Pearson's statistic over sequences expected at least 5 times; its mean is the number of cells less one.
    cells = [(seen[tokens], count * chance) for tokens, chance in listed if count * chance >= 5]
    statistic = sum((got - due) ** 2 / due for got, due in cells)
    assert abs(statistic - (len(cells) - 1)) <= 4 * (2 * len(cells)) ** 0.5


def test_noise_that_is_a_token_is_obeyed_and_keeps_chance_elsewhere():
    model = ToyTokens(image_length=6, text_length=3, vocabulary=7, num_steps=2)
    noise = randn(range(3), model.noise_shape)
    usual = draw(model, noise)
    forced = noise.clone()
    forced[:, :5] = given(usual.clean[:, :5])
    again = draw(model, forced)
    assert torch.equal(again.clean, usual.clean)
    assert torch.equal(model.render(again), model.render(usual))
    forced[:, 4] = given(torch.tensor([6, 0, 3]))
    assert draw(model, forced).clean[:, 4].tolist() == [6, 0, 3]


@pytest.mark.parametrize("kept", [0, 1, 2, 5, 8, 9])
def test_a_known_prefix_leads_to_the_states_that_its_steps_lead_to(kept):
    model = ToyTokens(image_length=9, vocabulary=6, guidance=3.0, num_steps=3)
    noise = randn(range(4), model.noise_shape)
    usual = model.trace(draw(model, noise))
    noise[:, :kept] = given(usual.image[:, :kept])
    again = model.trace(draw(model, noise))
    torch.testing.assert_close(again.image_states, usual.image_states, rtol=0, atol=1e-6)
    assert torch.equal(again.image, usual.image)


def test_states_choose_the_tokens_that_they_chose():
    model = ToyTokens(image_length=6, text_length=4, guidance=2.0, num_steps=2)
    noise = randn(range(4), model.noise_shape)
    trace = model.trace(draw(model, noise))
    assert torch.equal(model.choose("image", trace.image_states[:, :4], noise[:, 4:8]), trace.image[:, :4])
    words = model.choose("text", trace.text_states, noise[:, :4])
    for row, length in enumerate(trace.lengths.tolist()):
        assert torch.equal(words[row, :length], trace.text[row, :length])


def test_an_end_within_the_prefix_ends_the_plan():
    model = ToyTokens(image_length=3, text_length=5, words=4)
    noise = randn([1], model.noise_shape)
    noise[0, :4] = given(torch.tensor([2, model.end, 3, 1]))
    trace = model.trace(draw(model, noise))
    assert trace.text.tolist() == [[2, 0, 0, 0, 0]]
    assert trace.lengths.tolist() == [2]
    assert not trace.text_states[0, 2:].any()


def test_greedy_plans_do_not_read_noise():
    model = ToyTokens(image_length=3, text_length=5, words=6, greedy=True)
    trace = model.trace(draw(model, randn(range(6), model.noise_shape)))
    assert bool((trace.text == trace.text[0]).all())
    assert not bool((trace.image == trace.image[0]).all())


def test_a_tilt_is_a_temperature_and_a_shift():
    model = ToyTokens(image_length=3, guidance=2.0)
    shift = torch.tensor([0.5, -1.0, 0.0, 2.0, 0.1])
    states = torch.randn(4, 2, model.width, generator=torch.Generator().manual_seed(1))
    usual = model.logits("image", states)
    torch.testing.assert_close(model.tilted(0.7, shift).logits("image", states), (usual + shift) / 0.7)
    assert torch.equal(model.logits("image", states), usual)
    twice = model.tilted(0.7, shift).tilted(0.5, -2 * shift)
    torch.testing.assert_close(twice.logits("image", states), ((usual + shift) / 0.7 - 2 * shift) / 0.5)


@pytest.mark.parametrize("guidance", [None, 2.0])
@pytest.mark.parametrize("kept", [0, 3])
def test_costs_have_their_closed_form(guidance, kept):
    model = ToyTokens(image_length=7, text_length=4, words=3, guidance=guidance, num_steps=2, batch_size=4)
    noise = randn(range(4), model.noise_shape)
    noise[:, 4 : 4 + kept] = given(torch.ones(4, kept).long())
    ledger, networks = Ledger(), {"tokens": model.network, "decoded": model.decoder}
    with counting(networks) as seen:
        state = draw(MeteredModel(model, ledger), noise)
    del networks["decoded"]
    assert_booked(ledger, networks, seen)
    lengths = model.trace(state).lengths.tolist()
    plans = {model.write(row[:n]) for row, n in zip(state.clean.tolist(), lengths, strict=True)}
    rows, words = model.rows, len(PROMPT.split())
    read = words + sum(rows * (words + len(plan.split())) for plan in plans)
    fed = sum(n - 1 for n in lengths) + 4 * rows * (model.image_length - 1)
    assert ledger.spent.tokens == read + fed
    assert ledger.spent.prefills == 1 + rows * len(plans)
    assert ledger.spent.work == ledger.spent.tokens


def test_the_price_is_the_longest_plan_in_the_longest_context():
    model = ToyTokens(image_length=7, text_length=4, guidance=2.0, num_steps=3)
    cost = price(model)
    assert cost.tokens == (16 + 4 - 1) + 2 * (16 + 7 - 1)
    assert (cost.prefills, cost.decoded, cost.scored, cost.nfe) == (3, 1, 1, 0)


def test_a_context_that_is_too_long_is_refused():
    model = ToyTokens(text_length=3)
    model.context_length = 4
    with pytest.raises(ValueError, match=r"takes? 5 tokens and toy/tokens reads 4; shorten"):
        model.start(["one two three four five"], randn([0], model.noise_shape))


def test_undrawn_tokens_look_like_the_first():
    model = ToyTokens(image_length=4, vocabulary=6, num_steps=2)
    with torch.no_grad():
        state = model.start([PROMPT] * 3, randn(range(3), model.noise_shape))
    seen = levels(model.render(state), 6)
    assert torch.equal(seen[:, :2], state.clean[:, :2])
    assert torch.equal(seen[:, 2:], state.clean[:, :1].expand(-1, 2))


def test_gumbel_max_samples_the_softmax_and_rarely_changes_its_mind():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    noise = randn(range(4000), (1,))[:, 0]
    drawn = pick(logits.expand(4000, -1), noise, 3)
    shares = torch.bincount(drawn, minlength=4) / 4000
    error = (logits.softmax(0) * (1 - logits.softmax(0)) / 4000).sqrt()
    assert bool(((shares - logits.softmax(0)).abs() <= 4 * error).all())
    moved = pick((logits + torch.tensor([0.1, 0, 0, 0])).expand(4000, -1), noise, 3)
    gained = (logits + torch.tensor([0.1, 0, 0, 0])).softmax(0)[0] - logits.softmax(0)[0]
    changed = (moved != drawn).double().mean()
    assert set(moved[moved != drawn].tolist()) == {0}
    assert abs(float(changed - gained)) <= 4 * (float(gained) / 4000) ** 0.5


def test_gumbel_noise_depends_on_number_and_position():
    noise = torch.tensor([0.25, 0.2500001, 0.25])
    first, near, again = gumbel(noise, 3, 9)
    assert torch.equal(first, again)
    assert not torch.equal(first, near)
    assert not torch.equal(first, gumbel(noise, 4, 9)[0])
    assert torch.equal(gumbel(noise[1:2], 3, 9)[0], near)


def test_given_tokens_come_back():
    tokens = torch.tensor([[0, 1, 16383, 102399]])
    assert torch.equal(encoded(given(tokens)), tokens)
    noise = torch.cat([given(tokens[:, :2]), torch.tensor([[0.3]]), given(tokens[:, :1])], 1)
    assert encoded(noise).tolist() == [[0, 1, -1, 0]]
    assert prefix(noise).tolist() == [2]
