"""ImageReward: a BLIP that was fine-tuned on human rankings of pictures of one prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from verifiers.calls import quoted
from verifiers.card import Card
from verifiers.embedding.base import Embedding
from verifiers.embedding.files import WEIGHTS, Converted, readable, require_layout, settings
from verifiers.embedding.head import linear_head, numbered
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device

ORIGINAL = "ImageReward.pt"
TOKENIZER = "google-bert/bert-base-uncased"
WORDS = 35  # tokens that are read of a prompt
HEAD_WIDTH = 64  # of one attention head, in both encoders
MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of rewards in the training data
RENAMED = (  # the original's names of the image encoder, in order, and those of transformers
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.\1."),
    (r"\.attn\.proj\.", ".self_attn.projection."),
    (r"\.attn\.", ".self_attn."),
    (r"\.norm([12])\.", r".layer_norm\1."),
)
PARTS = ("blip.visual_encoder.", "blip.text_encoder.", "mlp.")
UNUSED = r"blip\.(vision_proj|text_proj)\.(weight|bias)|blip\.text_encoder\.embeddings\.position_ids"
CARD = Card(
    checkpoint=f"THUDM/ImageReward, {ORIGINAL}, converted",
    licence="Apache-2.0",
    input="pictures",
    range="typically -2.3 to 2",
    size="446M parameters",
    price="1 pass of ViT-L/16 and of BERT-base",
    differentiable=True,
)


class Reward(nn.Module):
    """Image encoder, text encoder with cross-attention, and reward head.

    Args:
        vision: settings of a BlipVisionConfig.
        text: settings of a BlipTextConfig.
        head: from the text encoder's first feature to one number.
    """

    def __init__(self, vision: Mapping[str, Any], text: Mapping[str, Any], head: nn.Module) -> None:
        from transformers import BlipTextConfig, BlipVisionConfig, BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        super().__init__()
        self.vision = BlipVisionModel(BlipVisionConfig(**vision))
        self.text = BlipTextModel(BlipTextConfig(**text, is_decoder=True), add_pooling_layer=False)
        self.head = head


class ImageReward(Embedding):
    """A standardised reward, usually -2 to 2 (ImageReward, Xu et al. 2023, arXiv:2304.05977).

    A text encoder reads the prompt with cross-attention to the picture; five linear layers without activations turn its
    first feature into a reward, which is standardised by the mean and deviation of the training data. Otherwise as
    `Embedding`.

    Args:
        model: both encoders and the head; it is frozen and set to eval mode.
        tokenizer: of bert-base-uncased.
        name: the verifier's name in logs and reports.
        batch_size: pictures in one physical batch, at least 1.
    """

    kind = "imagereward"

    def __init__(self, model: Reward, tokenizer: Any, *, name: str = "", batch_size: int = 8) -> None:
        super().__init__(model, tokenizer, Preprocess(model.vision.config.image_size), name=name, batch_size=batch_size)
        self.model.head.to(self.device, self.precise)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: Device = "cpu", dtype: torch.dtype = torch.float32, **options: Any
    ) -> Self:
        """Load a converted folder, and the tokenizer from a folder or the hub.

        Args:
            folder: that `gensearch convert imagereward` wrote; `tokenizer` in its gensearch.json names the tokenizer.
            device: where the model runs.
            dtype: precision of the encoders; the head runs in fp32.
            **options: `name` and `batch_size` of the class.

        Raises:
            ValueError: for another path, such as that of the original pickle, and for damaged files.
        """
        from safetensors.torch import load_file
        from transformers import AutoTokenizer

        found = settings(folder, "imagereward", ORIGINAL)
        with readable(Path(folder) / WEIGHTS):
            weights = load_file(Path(folder) / WEIGHTS)
            head = linear_head({k.removeprefix("head."): v for k, v in weights.items() if k.startswith("head.")})
            model = Reward(found["vision"], found["text"], head)
            model.load_state_dict(weights)
        with readable(f"the tokenizer {found.get('tokenizer', TOKENIZER)}"):
            tokenizer = AutoTokenizer.from_pretrained(found.get("tokenizer", TOKENIZER), trust_remote_code=False)
        for encoder in (model.vision, model.text):
            encoder.to(device, dtype)
        return cls(model, tokenizer, **{"name": f"imagereward:{quoted(str(folder))}", **options})

    def score(self, images: Tensor, text: Tensor) -> Tensor:
        """Return the scores [n] of one physical batch.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
            text: token ids and attention mask [n, 2, 35].
        """
        seen = self.model.vision(pixel_values=self.prepared(images)).last_hidden_state
        ids, mask = text.unbind(1)
        read = self.model.text(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
        reward: Tensor = self.model.head(read[:, 0].to(self.precise))[:, 0]
        return (reward - MEAN) / STD

    def encode_prompt(self, prompt: str) -> Tensor:
        """Return token ids and attention mask of a prompt, int64 [2, 35].

        Args:
            prompt: any text; a warning says if it is longer than what is read.
        """
        self.say_if_cut(prompt, len(self.tokenizer(prompt)["input_ids"]), WORDS)
        options = {"padding": "max_length", "padding_side": "right", "truncation": True, "max_length": WORDS}
        found = self.tokenizer(prompt, return_tensors="pt", **options)
        return torch.cat([found["input_ids"], found["attention_mask"]]).to(self.device)


def from_original(content: Mapping[str, Any]) -> Converted:
    """Translate the original checkpoint to the names of transformers' BLIP.

    Args:
        content: of ImageReward.pt: tensors by name.

    Raises:
        ValueError: for tensors that are not those of such a model.
    """
    tensors = {name: value for name, value in content.items() if not re.fullmatch(UNUSED, name)}
    vision, text, head = (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in PARTS
    )
    sizes = read_sizes(vision, text)
    head = numbered(head, ORIGINAL)
    with torch.device("meta"):
        network = Reward(**sizes, head=nn.Module())
    renamed = {f"vision.{rename(name)}": value for name, value in vision.items()}
    renamed |= {f"text.{name}": value for name, value in text.items()}
    strangers = {name: value for name, value in tensors.items() if not name.startswith(PARTS)}
    require_layout(renamed | strangers, network.state_dict(), ORIGINAL)
    renamed |= {f"head.{name}": value for name, value in head.items()}
    return Converted(renamed, {"kind": "imagereward", **sizes, "tokenizer": TOKENIZER})


def rename(name: str) -> str:
    """Return transformers' name of a tensor of the image encoder.

    Args:
        name: in the original.
    """
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    return name


def read_sizes(vision: Mapping[str, Tensor], text: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return the settings of both encoders, read from the shapes of their tensors.

    Args:
        vision: tensors of the image encoder by their original names.
        text: tensors of the text encoder.

    Raises:
        ValueError: if one of the tensors that tell sizes is missing.
    """

    def layers(part: Mapping[str, Tensor], pattern: str) -> int:
        return len({match[1] for name in part if (match := re.match(pattern, name))})

    try:
        width, _, patch, _ = vision["patch_embed.proj.weight"].shape
        side = patch * round((vision["pos_embed"].shape[1] - 1) ** 0.5)
        words, hidden = text["embeddings.word_embeddings.weight"].shape
        positions = text["embeddings.position_embeddings.weight"].shape[0]
        inner = vision["blocks.0.mlp.fc1.weight"].shape[0], text["encoder.layer.0.intermediate.dense.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"the file has no {error} as in {ORIGINAL}; give the original file") from None
    return {
        "vision": {
            "hidden_size": width,
            "intermediate_size": inner[0],
            "num_hidden_layers": layers(vision, r"blocks\.(\d+)\."),
            "num_attention_heads": width // HEAD_WIDTH,
            "image_size": side,
            "patch_size": patch,
            "layer_norm_eps": 1e-6,
        },
        "text": {
            "vocab_size": words,
            "hidden_size": hidden,
            "encoder_hidden_size": width,
            "intermediate_size": inner[1],
            "num_hidden_layers": layers(text, r"encoder\.layer\.(\d+)\."),
            "num_attention_heads": hidden // HEAD_WIDTH,
            "max_position_embeddings": positions,
            "layer_norm_eps": 1e-12,
        },
    }
