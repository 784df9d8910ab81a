"""Train `shapes/janus`: plans in words, image tokens with guidance, and answers whether a picture shows a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gensearch.shapes import plans, world
from gensearch.shapes.train.judges import clip
from gensearch.shapes.train.judges.matches import facts, matches, near_misses
from gensearch.shapes.train.loop import Batches, accelerator, ahead, fit, learn_only
from gensearch.shapes.train.muon import matrices
from gensearch.shapes.train.pictures import data
from gensearch.shapes.train.tokens import vq

WIDTH = 128
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>", "<image>", "<boi>", "<eoi>")
CONTEXT = 56  # tokens: the longest prompt with a plan of four objects, with some reserve
CHAT = (  # a picture, then the question about it
    "{% for message in messages %}{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }} {% endfor %}{% endfor %}"
)
ASKED = 6  # questions about one picture
BARE, BLIND, NONE = 0.15, 0.1, -100  # shares of samples without a plan and without any text; label to ignore


def tokenizer() -> Any:
    """Return a word-level tokenizer that begins every text with <bos>."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [word for word in data.vocabulary() if not word.startswith("<")]
    vocab = {word: i for i, word in enumerate(dict.fromkeys((*SPECIAL, *words, *plans.WORDS)))}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", vocab["<bos>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        extra_special_tokens={"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"},
        padding_side="left",
    )


def build(words: Any, codes: Any) -> Any:
    """Build an untrained Janus around a trained image tokenizer."""
    from transformers import JanusConfig, JanusForConditionalGeneration

    text = dict(
        hidden_size=WIDTH,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=len(words),
        max_position_embeddings=256,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    vision = dict(
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        mlp_ratio=3.0,
        image_size=64,
        patch_size=8,
        num_image_tokens=64,
        projection_dim=WIDTH,
        depth=2,
    )
    image = words.convert_tokens_to_ids("<image>")
    config = JanusConfig(
        text_config=text, vision_config=vision, vq_config=vq.CONFIG, image_token_id=image, tie_word_embeddings=False
    )
    model = JanusForConditionalGeneration(config)
    model.model.vqmodel.load_state_dict(codes.state_dict())
    model.model.vqmodel.requires_grad_(False)
    with torch.no_grad():
        model.model.generation_embeddings.weight.copy_(codes.quantize.embedding.weight)
    generation = model.generation_config
    generation.bos_token_id, generation.eos_token_id = words.bos_token_id, words.eos_token_id
    generation.pad_token_id = words.pad_token_id
    generation.generation_kwargs = {"boi_token_id": words.convert_tokens_to_ids("<boi>")}
    return model


# --- image generation


def contexts(
    words: Any, lines: list[world.Spec], scenes: list[world.Scene], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return the context of each picture [b, CONTEXT], padded on the left, and the plan's words as labels (or NONE)."""
    ids = torch.full((len(lines), CONTEXT), words.pad_token_id)
    labels = torch.full((len(lines), CONTEXT), NONE)
    boi = words.convert_tokens_to_ids("<boi>")
    for row, (line, scene) in enumerate(zip(lines, scenes, strict=True)):
        asked = words(plans.ASK.replace("{prompt}", line["prompt"]))["input_ids"]
        plan = words(plans.plan(scene.things), add_special_tokens=False)["input_ids"]
        draw = words.convert_tokens_to_ids("draw")
        luck = rng.random()
        bare = luck < BARE
        read = [*words(line["prompt"])["input_ids"], draw, boi] if bare else [*asked, *plan, draw, boi]
        kept = torch.tensor(read)
        if BARE <= luck < BARE + BLIND:
            kept[1:-1] = words.pad_token_id
        elif not bare:
            labels[row, -len(plan) - 3 : -2] = torch.tensor([*plan, words.eos_token_id])
        ids[row, -len(read) :] = kept
    return ids, labels


def drawing_loss(model: Any, words: Any, ids: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
    """Return the cross-entropy of image tokens [b, 64] plus, at half the weight, that of the plan's words."""
    begun = (ids == words.bos_token_id).long().cumsum(1)  # a context begins with <bos>
    first = int(begun.any(0).long().argmax())  # padding that all rows have is left out
    ids, labels, begun = ids[:, first:], labels[:, first:], begun[:, first:]
    length = ids.shape[1]
    pixels = model.prepare_embeddings_for_image_generation(codes[:, :-1])
    embedded = torch.cat([model.get_input_embeddings()(ids), pixels], 1)
    mask = torch.cat([begun, torch.ones_like(codes[:, :-1])], 1)
    out = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False
    )
    states = out.last_hidden_state
    image_logits = model.model.generation_head(states[:, length - 1 :])
    planned = labels != NONE
    plan_logits = model.lm_head(states[:, :length][planned])
    image = F.cross_entropy(image_logits.flatten(0, 1).float(), codes.flatten())
    return image + 0.5 * F.cross_entropy(plan_logits.float(), labels[planned])


# --- questions about pictures


def asked(line: world.Spec, things: Sequence[world.Thing], rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield questions about a picture with true answers, half on its own prompt and half on a near miss."""
    prompts = [line if rng.random() < 0.5 else near_misses(rng, line, 1)[0] for _ in range(ASKED)]
    for prompt, true in zip(prompts, matches(facts([things]), prompts)[0], strict=True):
        yield plans.QUESTION.replace("{prompt}", prompt["prompt"]), "yes" if true else "no"


def described(things: Sequence[world.Thing]) -> list[tuple[str, str]]:
    """Return the request for a plan, and the plan."""
    return [(plans.DESCRIBE, plans.plan(things))]


def questions(words: Any, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures [b, 3, 64, 64] in [0, 1], token ids [b, n] padded on the left, and labels [b, n].

    Half of them ask `ASKED` times in a row whether the picture shows a prompt, the other half ask for its plan.
    """
    lines, things, images = zip(*(clip.draw(rng) for _ in range(size)), strict=True)
    begin = [words.bos_token_id, *words.convert_tokens_to_ids(["<boi>", *["<image>"] * 64, "<eoi>"])]
    rows = []
    for row, line in enumerate(lines):
        tokens, answers = [*begin], [False] * len(begin)
        for question, answer in described(things[row]) if row % 2 else asked(line, things[row], rng):
            request = words(question, add_special_tokens=False)["input_ids"]
            reply = [*words(answer, add_special_tokens=False)["input_ids"], words.eos_token_id]
            tokens, answers = tokens + request + reply, answers + [False] * len(request) + [True] * len(reply)
        rows.append((tokens[:-1], [token if own else NONE for token, own in zip(tokens, answers, strict=True)][1:]))
    longest = max(len(inputs) for inputs, _ in rows)
    ids = torch.tensor([[words.pad_token_id] * (longest - len(inputs)) + inputs for inputs, _ in rows])
    labels = torch.tensor([[NONE] * (longest - len(targets)) + targets for _, targets in rows])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return pixels, ids, labels


def question_loss(model: Any, words: Any, pixels: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the answers."""
    mask = (ids != words.pad_token_id).long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model.model(
        input_ids=ids, pixel_values=pixels * 2 - 1, attention_mask=mask, position_ids=positions, use_cache=False
    )
    asked = labels != NONE
    return F.cross_entropy(model.lm_head(out.last_hidden_state[asked]).float(), labels[asked])


# --- training


@torch.no_grad()
def encode(codes: Any, count: int) -> tuple[list[tuple[world.Spec, world.Scene]], Tensor]:
    """Return training scenes and their image tokens [count, 64]."""
    known, tokens = [], []
    for drawn, x in ahead(data.scenes, range(0, count, data.PART)):
        known += drawn
        tokens.append(vq.nearest(codes, vq.directions(codes, x.to(codes.device))))
    return known[:count], torch.cat(tokens)[:count]


def train(out: Path, *, name: str, scenes: int, steps: int, size: int, looks: int, lr: float) -> None:
    """Fit image generation and, at half the weight, answers, on `size` and `looks` pictures a step.

    Writes out/janus/model.
    """
    from transformers import JanusVQVAE

    torch.manual_seed(0)
    words, codes = tokenizer(), JanusVQVAE.from_pretrained(out / "vq" / "model").eval()
    model = build(words, codes).to(accelerator())
    known, tokens = encode(model.model.vqmodel.eval(), scenes)

    def batch(step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng((12, step))
        rows = rng.integers(scenes, size=size)
        lines, shown = zip(*(known[row] for row in rows), strict=True)
        return torch.from_numpy(rows), *contexts(words, list(lines), list(shown), rng), *questions(words, looks, rng)

    batches = Batches(batch, steps)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows, ids, labels, *asked = (part.to(tokens.device) for part in batches(step))
        drawn = drawing_loss(model, words, ids, labels, tokens[rows])
        return drawn + 0.5 * question_loss(model, words, *asked)

    fit(model, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.02, save_every=200, matrices=hidden(model))
    export(model, words, out / name / "model")


def hidden(model: Any) -> list[Tensor]:
    """Return the matrices inside the blocks of the language model and of the vision tower."""
    return matrices(model.model.language_model.layers, model.model.vision_model.encoder.layers)


def restore(out: Path) -> Any:
    """Load the exported model, in fp32."""
    from transformers import JanusForConditionalGeneration

    torch.manual_seed(0)
    return JanusForConditionalGeneration.from_pretrained(out / "janus" / "model").float()


def train_vision(out: Path, *, name: str, steps: int, size: int, lr: float) -> None:
    """Fit the vision tower and its aligner only, on questions; replaces out/janus/model.

    Weights of planning and image generation do not change.
    """
    words, model = tokenizer(), restore(out).to(accelerator())
    learn_only(model, "model.vision_model", "model.aligner")

    batches = Batches(lambda step: questions(words, size, np.random.default_rng((15, step))), steps)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        return question_loss(model, words, *(part.to(model.device) for part in batches(step)))

    fit(model, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.02, save_every=200)
    export(model, words, out / "janus" / "model")


def export(model: Any, words: Any, folder: Path) -> None:
    """Write a folder for JanusForConditionalGeneration and JanusProcessor, in fp16 safetensors."""
    from transformers import JanusImageProcessor, JanusProcessor

    images = JanusImageProcessor(size={"height": 64, "width": 64}, min_size=8)
    model.half().save_pretrained(folder)
    JanusProcessor(images, words, chat_template=CHAT, num_image_tokens=64).save_pretrained(folder)
    settings = {
        "text_length": 24,
        "context": CONTEXT,
        "guidance_scale": 1.2,
        "temperature": 1.5,
        "ask": plans.ASK,
        "draw": plans.DRAW,
        "draw_bare": plans.DRAW_BARE,
        "question": plans.QUESTION,
        "batch_size": 4,
    }
    (folder / "gensearch.json").write_text(json.dumps(settings, indent=2) + "\n")
