"""Prompts for the stages of a clip, written by a language model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gensearch.models.tokens.language import filled
from gensearch.search.chunks.clips import AS_IT_IS, written

ASK = (
    "A video is judged while it is made. Its prompt: {prompt}\nWrite three lines and nothing else: what must be seen "
    "in its first frame, how what is there must move or change, and what the whole video must show.\n"
)
MARK = re.compile(r"^[\s\-*]*(\d+[.):]|[-*])?\s*")  # of a list


def stages_by(
    language: Any, tokenizer: Any, *, ask: str = ASK, otherwise: Sequence[str] = AS_IT_IS, length: int = 200
) -> Callable[[str], tuple[str, ...]]:
    """A function that writes the three `stages` of a prompt with a causal language model (Video-T1, arXiv:2503.18942).

    Greedy, at most `length` tokens; its first three lines count, without numbers and bullets. If it writes fewer, the
    templates `otherwise` are used.
    """

    @torch.no_grad()
    def write(prompt: str) -> tuple[str, ...]:
        asked = tokenizer(filled(ask, prompt=prompt), return_tensors="pt").to(language.device)
        tokens = language.generate(**asked, do_sample=False, max_new_tokens=length)
        text = tokenizer.decode(tokens[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        lines = [line for line in (MARK.sub("", line).strip() for line in text.splitlines()) if line]
        return tuple(lines[:3]) if len(lines) >= 3 else written(list(otherwise), prompt)

    return write
