"""Checks that a model or verifier has the capability that a search needs, with one error for each capability."""

from __future__ import annotations

from typing import cast

from gensearch.core.types import Model
from gensearch.core.verbs import ChunkModel, TokenModel
from verifiers.types import Verifier


def require_tokens(model: Model, search: str, words: bool = False) -> None:
    """Refuse a model that is no autoregressive image model.

    Args:
        model: The generator.
        search: The name of the search, for the message.
        words: Whether text tokens are enough.

    Raises:
        ValueError: The model has no tokens, or no image tokens and `words` are not enough.
    """
    if "tokens" not in model.verbs:
        raise ValueError(
            f"{search} moves the tokens of a picture, and {model.name} has none; take a Janus, or best_of_n"
        )
    if not words and not cast(TokenModel, model).image_length:
        raise ValueError(
            f"{search} moves the tokens of a picture, and {model.name} has words only; "
            "take milr with strategy=text, or best_of_n"
        )


def require_chunks(model: Model, search: str) -> ChunkModel:
    """The model as a chunk-autoregressive video model.

    Args:
        model: The generator.
        search: The name of the search, for the message.

    Raises:
        ValueError: The model is no chunk-autoregressive video model.
    """
    if "chunks" not in model.verbs:
        raise ValueError(
            f"{search} branches between the chunks of a clip, and {model.name} has none; "
            "take a chunk-autoregressive video model such as an AnyFlow FAR, or best_of_n"
        )
    return cast(ChunkModel, model)  # its verb says so


def require_gradients(model: Model, search: str) -> None:
    """Refuse a model through which no gradients flow.

    Args:
        model: The generator.
        search: The name of the search, for the message.

    Raises:
        ValueError: The model lacks the verb "gradient".
    """
    if "gradient" not in model.verbs:
        raise ValueError(
            f"{search} needs gradients, and none pass through {model.name} ({type(model).__name__} adapter); "
            "take a native model, or zero_order"
        )


def require_differentiable(verifier: Verifier, search: str) -> None:
    """Refuse a verifier whose scores have no gradients.

    Args:
        verifier: The guide.
        search: The name of the search, for the message.

    Raises:
        ValueError: The verifier is not differentiable.
    """
    if not verifier.differentiable:
        raise ValueError(
            f"{search} needs gradients, and {verifier.name} gives none; take a CLIP score, dno or zero_order, or, if "
            "your own verifier has gradients, say so by differentiable = True"
        )
