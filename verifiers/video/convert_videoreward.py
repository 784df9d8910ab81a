"""Convert the released checkpoint of VideoReward to safetensors, once.

python -m verifiers.video.convert_videoreward CHECKPOINT BASE FOLDER [QUESTION]

CHECKPOINT is a copy of KwaiVGI/VideoReward (model_config.json and checkpoint-STEP/model.pth), BASE its base model
Qwen/Qwen2-VL-2B-Instruct, FOLDER the result, and QUESTION a text file with upstream's template "detailed_special".
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from verifiers.video.videoreward import ASPECTS, TOKENS, reward_network


def convert(checkpoint: Path, base: str, folder: Path, question: str = "") -> None:
    """Merge the adapters of a checkpoint, rename its tensors and save them with config, processor and settings.

    Only tensors are unpickled, by torch's `weights_only`.

    Args:
        checkpoint: a folder with model_config.json and checkpoint-STEP/model.pth; the latest step is taken.
        base: name or local folder of the base model, for config and processor.
        folder: where the result is written.
        question: the template of the training, with {text_prompt} or {prompt}; `VideoReward`'s paraphrase if empty.

    Raises:
        ValueError: for missing files, and for tensors that do not fit the network.
    """
    from transformers import AutoConfig, AutoProcessor

    weights = sorted(checkpoint.glob("checkpoint-*/model.pth"), key=lambda path: int(path.parent.name.split("-")[-1]))
    if not weights or not (checkpoint / "model_config.json").is_file():
        raise ValueError(
            f"{checkpoint} lacks model_config.json or checkpoint-STEP/model.pth; copy the whole repository"
        )
    known = json.loads((checkpoint / "model_config.json").read_text(encoding="utf-8"))
    adapter = known.get("peft_lora_config", {})
    rank = adapter.get("lora_r", 16)
    scale = adapter.get("lora_alpha", 32) / (rank**0.5 if adapter.get("use_rslora") else rank)
    tensors = torch.load(weights[-1], map_location="cpu", weights_only=True)  # noqa: TID251  # tensors alone, once
    state = merged(tensors, scale)

    processor = AutoProcessor.from_pretrained(base, trust_remote_code=False)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": list(TOKENS)})
    config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    embedding = "model.language_model.embed_tokens.weight"
    if embedding in state:
        config.text_config.vocab_size = len(state[embedding])
    network = reward_network()(config).to(state.get(embedding, torch.empty(0)).dtype)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:240]
        raise ValueError(
            f"{weights[-1]} does not fit {base} ({why}); take the base model it was trained from"
        ) from error
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "gensearch.json").write_text(json.dumps(settings_of(known, question), indent=2), encoding="utf-8")


def merged(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Return the tensors of a network with low-rank adapters under transformers' present names, adapters added.

    Args:
        state: tensors under the names of peft and of transformers 4.45.
        scale: what the product of an adapter is multiplied by.
    """
    plain = {name.removeprefix("base_model.model."): tensor for name, tensor in state.items()}
    found = {}
    for name, tensor in plain.items():
        if ".lora_" in name or ".original_module." in name or name.startswith("lm_head."):
            continue
        if ".base_layer." in name:
            layer = name.partition(".base_layer.")[0]
            down, up = (plain.get(f"{layer}.lora_{side}.default.weight") for side in "AB")
            if down is not None and up is not None and name.endswith(".weight"):
                tensor = (tensor.float() + scale * (up.float() @ down.float())).to(tensor.dtype)
        found[renamed(name)] = tensor
    return found


def renamed(name: str) -> str:
    """Return the present name of a tensor.

    Args:
        name: that of peft around transformers 4.45, without "base_model.model.".
    """
    name = name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
    name = re.sub(r"^visual\.", "model.visual.", name)
    return re.sub(r"^model\.(?!visual\.|language_model\.)", "model.language_model.", name)


def settings_of(known: Mapping[str, Any], question: str) -> dict[str, Any]:
    """Return what gensearch.json holds: rates, sizes, constants and the question.

    Args:
        known: the checkpoint's model_config.json.
        question: the template of the training, or empty.
    """
    data, norm = known.get("data_config") or {}, known.get("inference_config") or {}
    found = {"fps": data.get("fps"), "most_pixels": data.get("max_frame_pixels")}
    for name in ("mean", "std"):
        if all(f"{aspect}_{name}" in norm for aspect in ASPECTS):
            found[name] = [norm[f"{aspect}_{name}"] for aspect in ASPECTS]
    found["question"] = question.replace("{text_prompt}", "{prompt}") or None
    return {name: value for name, value in found.items() if value is not None}


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit((__doc__ or "").strip())
    text = Path(sys.argv[4]).read_text(encoding="utf-8") if len(sys.argv) == 5 else ""
    convert(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), text)
