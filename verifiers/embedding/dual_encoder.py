"""Image and text encoders of transformers whose features are compared: CLIP and SigLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from verifiers.embedding.base import Embedding
from verifiers.embedding.files import readable
from verifiers.embedding.preprocess import from_transformers
from verifiers.types import Device


class DualEncoder(Embedding):
    """scale * cosine + bias of image and text features; a subclass says which model it takes.

    Args:
        model: with `get_image_features` and `get_text_features`; it is frozen and set to eval mode.
        tokenizer: of its text encoder.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports.
        batch_size: pictures in one physical batch, at least 1.
    """

    architecture: ClassVar[str]  # class of transformers
    padding: ClassVar[Mapping[str, Any]]  # how prompts are padded

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        processor: str | Path | None = None,
        device: Device = "cpu",
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> Self:
        """Load safetensors from a folder or the hub; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            processor: where image processor and tokenizer are, if not there.
            device: where the model runs.
            dtype: precision of the encoders; scale and bias stay in fp32.
            **options: `name` and `batch_size` of the class.

        Raises:
            ValueError: for files that are missing, damaged or of another model, and for an image processor that cannot
                be repeated on tensors.
        """
        from transformers import AutoImageProcessor, AutoTokenizer

        with readable(source):
            model = network(cls.architecture, source, device, dtype)
        with readable(f"the tokenizer of {processor or source}"):
            tokenizer = AutoTokenizer.from_pretrained(processor or source, trust_remote_code=False)
        with readable(f"the image processor of {processor or source}"):
            images = AutoImageProcessor.from_pretrained(processor or source, trust_remote_code=False)
        settings = {"name": f"{cls.kind}:{source}", **options}
        return cls(model, tokenizer, from_transformers(images), **settings)

    def score(self, images: Tensor, text: Tensor) -> Tensor:
        """Return the scores [n] of one physical batch.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
            text: unit text features [n, d].
        """
        scale: Tensor = self.model.logit_scale.to(self.precise).exp()
        scores = super().score(images, text) * scale
        bias: Tensor | None = getattr(self.model, "logit_bias", None)  # of SigLIP alone
        return scores if bias is None else scores + bias.to(self.precise)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return the features [n, d] of prepared pictures.

        Args:
            pixels: the input of the image encoder [n, 3, size, size].
        """
        return pooled(self.model.get_image_features(pixel_values=pixels))

    def encode_prompt(self, prompt: str) -> Tensor:
        """Return the unit text features [d] of a prompt, encoded in a batch of one.

        Args:
            prompt: any text; a warning says if it is longer than the context of the text encoder.
        """
        text = self.worded(prompt)
        room = self.model.config.text_config.max_position_embeddings
        self.say_if_cut(prompt, len(self.tokenizer(text)["input_ids"]), room)
        ids = self.tokenizer(text, truncation=True, max_length=room, return_tensors="pt", **self.padding)["input_ids"]
        with torch.no_grad():
            features = pooled(self.model.get_text_features(input_ids=ids.to(self.device)))
            return normalize(features.to(self.precise), dim=-1)[0]

    def worded(self, prompt: str) -> str:
        """Return a prompt as the tokenizer takes it.

        Args:
            prompt: any text.
        """
        return prompt


def network(architecture: str, source: str | Path, device: Device, dtype: torch.dtype) -> Any:
    """Load a model of transformers from safetensors, with its scale and bias in fp32.

    Args:
        architecture: its class.
        source: a local folder, or a name on the Hugging Face hub.
        device: where it runs.
        dtype: precision of its other weights.

    Raises:
        OSError: for a source that has no such files.
        ValueError: for a model of another type, for one without safetensors, and for weights that do not belong to the
            config.
    """
    import transformers

    found = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
    kind = getattr(transformers, architecture)
    if found not in {kind.config_class.model_type, kind.config_class.model_type.removesuffix("_vision_model")}:
        raise ValueError(f"it is a {found!r}, not a {kind.config_class.model_type!r}")
    options = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
    try:
        model, report = kind.from_pretrained(source, **options, output_loading_info=True)
    except OSError as error:
        raise ValueError(
            "it has no safetensors, and pickles are not loaded; open it once by transformers where you trust it, and "
            "save it by `save_pretrained`"
        ) from error
    if report["missing_keys"]:
        raise ValueError(f"it lacks {sorted(report['missing_keys'])[0]}")
    precise = {name: value.clone() for name, value in model.named_parameters(recurse=False)}
    model.to(device, dtype)
    for name, value in precise.items():
        setattr(model, name, torch.nn.Parameter(value.to(device), requires_grad=False))
    return model


def pooled(output: Any) -> Tensor:
    """Return features from what transformers returns: an output object from version 5 on, a tensor before.

    Args:
        output: of `get_image_features` or `get_text_features`.
    """
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features
