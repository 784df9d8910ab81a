"""Chances of words against the softmax by hand, and answers that are read, asked for again or given up."""

from __future__ import annotations

import math

import pytest
import torch

from tests.builders.critic_server import serving
from tests.builders.tiny_qwen import qwen3_vl
from verifiers.vlm.chat import Chat
from verifiers.vlm.client import Client
from verifiers.vlm.local import LocalModel
from verifiers.vlm.reply import Reply
from verifiers.vlm.respond import LocalResponder, RemoteResponder, listed, responder
from verifiers.vlm.strict import Unparsed

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
ASKED: list[list[tuple[str, tuple[str, ...]]]] = [
    [("how two cup ?", ("two", " two", "Two")), ("is it red ?", ("yes", "no"))],
    [("is it red ?", ("yes",))],
    [("how two cup ?", ("two red", "blue"))],
]


@pytest.fixture(scope="module")
def local():
    return LocalResponder(LocalModel(*qwen3_vl(seed=3)), batch_size=2)


@torch.no_grad()
def shares(local, image, text):
    """P of each word after a picture and a question, asked alone."""
    return local.local.next_word([[image]], text).double().softmax(1)[0]


@torch.no_grad()
def test_chances_are_sums_of_first_tokens(local):
    ids = local.local.processor.tokenizer.convert_tokens_to_ids
    found = local.chances(IMAGES, ASKED, distinct=False)
    number, color = (shares(local, IMAGES[0], text) for text, _ in ASKED[0])
    assert found[0].tolist() == pytest.approx(
        [3 * float(number[ids("two")]), float(color[ids("yes")] + color[ids("no")])], rel=1e-4
    )
    assert float(found[1]) == pytest.approx(float(shares(local, IMAGES[1], "is it red ?")[ids("yes")]), rel=1e-4)
    last = shares(local, IMAGES[2], "how two cup ?")
    assert float(found[2]) == pytest.approx(float(last[ids("two")] + last[ids("blue")]), rel=1e-4)


@torch.no_grad()
def test_distinct_chances_count_each_token_once_and_only_whole_words(local):
    ids = local.local.processor.tokenizer.convert_tokens_to_ids
    found = local.chances(IMAGES, ASKED, distinct=True)
    assert float(found[0][0]) == pytest.approx(float(shares(local, IMAGES[0], "how two cup ?")[ids("two")]), rel=1e-4)
    assert float(found[2]) == pytest.approx(float(shares(local, IMAGES[2], "how two cup ?")[ids("blue")]), rel=1e-4)


def test_a_picture_that_is_not_finite_has_no_chances_and_no_answer(local):
    spoiled = IMAGES.clone()
    spoiled[1, 0, 0, 0] = math.nan
    clean, found = (local.chances(images, ASKED, distinct=False) for images in (IMAGES, spoiled))
    assert found[1].isnan().all()
    assert torch.equal(found[0], clean[0])
    assert local.write(spoiled, ["is it red ?"] * 3, str, 2)[1] is None


def test_local_answers_are_read_or_missing(local):
    def read(text):
        raise Unparsed("no")

    writer = LocalResponder(LocalModel(*qwen3_vl(answers=["<think>hm</think>2", "<think>hm</think>1"])))
    found = writer.write(IMAGES, ["is it red ?"] * 3, lambda text: int(text[:1]), 1)
    assert set(found) <= {1, 2}
    assert local.write(IMAGES, ["is it red ?"] * 3, read, 3) == [None] * 3


def remote(server):
    return RemoteResponder(Chat(Client(server.url, pause=0.01), "tiny"))


def test_a_server_is_asked_again_until_an_answer_can_be_read():
    tries = []

    def read(text):
        tries.append(text)
        if len(tries) % 3:
            raise Unparsed("not yet")
        return 7

    def unread(text):
        raise Unparsed("never")

    with serving("vllm") as server:
        assert remote(server).write(IMAGES[:1], ["Say something."], read, 20) == [7]
        assert len(tries) == 3
        assert remote(server).write(IMAGES[:1], ["Say something."], unread, 20) == [None]


def test_a_server_lists_chances():
    with serving("vllm") as server:
        found = remote(server).chances(
            IMAGES[:2], [[("Is it red?", ("Yes", " yes"))], [("Is it red?", ("maybe",))]], True
        )
    assert 0 < float(found[0]) < 1
    assert float(found[1]) == 0


def test_listed_tokens():
    tops = (("two", math.log(0.5)), ("▁two", math.log(0.2)), ("2", math.log(0.1)), ("Two", math.log(0.05)))
    assert listed(Reply("two", tops), ("two", " two", "2")) == pytest.approx(0.8)
    with pytest.raises(Unparsed, match="no probabilities of tokens"):
        listed(Reply("two"), ("two",))


def test_other_verifiers_answer_no_questions():
    with pytest.raises(ValueError, match=r"'clip:a' answers no questions; write vqascore:MODEL"):
        responder("clip:a")
