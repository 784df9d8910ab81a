"""What a chat model does with a prompt alone: splits it into questions, or rewrites it."""

from __future__ import annotations

from verifiers.vlm.chat import Chat
from verifiers.vlm.messages import MARKUP, conversation, quoted
from verifiers.vlm.strict import obj

MOST_QUESTIONS = 12
MOST_WORDS = 256  # tokens of a rewritten prompt
SPLIT = (
    "List questions that check, fact by fact, whether a picture shows this prompt: every object, number, colour, "
    f"action, relation and style, one short yes-or-no question each, at most {MOST_QUESTIONS}. A picture that "
    "shows the prompt has yes as the answer to all of them. Ask about nothing that the prompt does not say. The prompt:"
)
REWRITE = (
    "Rewrite this prompt for a picture generator. Keep its meaning and every fact in it. Write one plain sentence of "
    "at most 60 words. The prompt:"
)


def split(chat: Chat, prompt: str) -> tuple[str, ...]:
    """Return short yes-or-no questions about the single facts of a prompt in any words.

    TIFA (Hu et al. 2023, arXiv:2303.11897) splits prompts by a language model. The answer is cached with all others.

    Args:
        chat: the model.
        prompt: of the picture.

    Raises:
        ValueError: if no valid list came.
    """
    question = {"type": "string", "minLength": 4, "maxLength": 200}
    schema = obj(questions={"type": "array", "items": question, "minItems": 1, "maxItems": MOST_QUESTIONS})
    said = chat.complete(conversation(f"{SPLIT} {quoted(prompt)}"), schema, most=64 * MOST_QUESTIONS)
    asked = dict.fromkeys(" ".join(question.split()) for question in said["questions"])
    if wrong := [question for question in asked if not question.endswith("?")]:
        raise ValueError(
            f"{chat.model!r} listed {wrong[0]!r}, which is no question; take another model to split prompts"
        )
    return tuple(asked)


def rewrite(chat: Chat, prompt: str, advice: str = "", last: str = "") -> str:
    """Return another wording of a prompt, on one line and without characters of markup.

    Args:
        chat: the model.
        prompt: to rewrite.
        advice: what the last picture lacked, empty if nothing is known.
        last: the wording that it was generated from, empty for the prompt itself.

    Raises:
        ValueError: if no valid text came.
    """
    text = f"{REWRITE} {quoted(prompt)}" + (f"\nThe last wording was: {quoted(last)}" if last else "")
    text += f"\nThe last picture lacked: {quoted(advice)}" if advice else ""
    schema = obj(prompt={"type": "string", "minLength": 1, "maxLength": 600})
    said = str(chat.complete(conversation(text), schema, most=MOST_WORDS)["prompt"])
    return " ".join(said.split()).translate(MARKUP)
