"""What a search asks of a model or a verifier, with one error for each capability that is missing."""

from __future__ import annotations

from gensearch.core.types import Model
from gensearch.core.verbs import ChunkModel
from verifiers.types import Verifier


def require_tokens(model: Model, search: str, words: bool = False) -> None:
    """Raise ValueError for a model without tokens, and for one without those of a picture unless `words` are enough."""
    if "tokens" not in model.verbs:
        raise ValueError(
            f"{search} moves the tokens of a picture, and {model.name} has none; take a Janus, or best_of_n"
        )
    if not words and not model.image_length:  # type: ignore[attr-defined]
        raise ValueError(
            f"{search} moves the tokens of a picture, and {model.name} has words only; "
            "take milr with strategy=text, or best_of_n"
        )


def require_chunks(model: Model, search: str) -> ChunkModel:
    """The model, if it makes clips chunk by chunk; raises ValueError for any other."""
    if "chunks" not in model.verbs:
        raise ValueError(
            f"{search} branches between the chunks of a clip, and {model.name} has none; "
            "take a model of chunks such as an AnyFlow FAR, or best_of_n"
        )
    return model  # type: ignore[return-value]


def require_gradients(model: Model, search: str) -> None:
    """Raise ValueError if gradients do not get through a model."""
    if "gradient" not in model.verbs:
        raise ValueError(
            f"{search} needs gradients, and none pass through {model.name} ({type(model).__name__} adapter); "
            "take a native model, or zero_order"
        )


def require_differentiable(verifier: Verifier, search: str) -> None:
    """Raise ValueError if a verifier gives no gradients."""
    if not verifier.differentiable:
        raise ValueError(
            f"{search} needs gradients, and {verifier.name} gives none; take a CLIP score, dno or zero_order"
        )
