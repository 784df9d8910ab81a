"""What the verifiers of the Shapes worlds are; text only."""

from __future__ import annotations

from verifiers.card import Card

CLIP = Card(
    checkpoint="embedded",
    licence="Apache-2.0",
    input="pictures",
    range="-1 to 1",
    size="3.8M parameters",
    price="1 pass of a small ResNet",
    differentiable=True,
)
HOLDOUT = CLIP._replace(size="1.9M parameters", price="1 pass of a small ViT")
FRAMES = CLIP._replace(input="pictures and clips", price="1 pass of a small ResNet for each frame")
MOTION = CLIP._replace(input="clips", size="1.7M parameters", price="1 pass of a small ViT")
JUDGE = Card(
    checkpoint="none",
    licence="Apache-2.0",
    input="pictures",
    range="0 or 1",
    price="classical detection, no network",
)
PARTIAL = JUDGE._replace(range="0 to 1, share of clauses")
TRACKER = JUDGE._replace(input="clips", price="classical detection of each frame, no network")
TRACKER_PARTIAL = TRACKER._replace(range="0 to 1, share of aspects")
CRITIC = Card(
    checkpoint="embedded",
    licence="Apache-2.0",
    input="pictures",
    range="at most 0, a log probability",
    size="1.2M parameters",
    price="1 pass of a small network, for all questions",
    differentiable=True,
)
