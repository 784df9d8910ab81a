"""Train a noise hypernetwork on a tiny budget, then generate with it.

The reward is how red an image is, and 12 updates are only enough to see that it rises. The recipe `redness` makes 200.
"""

import sys
from pathlib import Path

from gensearch import SearchPipeline
from hypernoise.command import train

out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tiny_hypernetwork")
tiny = ["steps=12", "batch=8", "validation=4", "watch_every=6", "form.rank=4", "lr=0.001"]
train("redness", tiny, out, "none")  # as in `gensearch train hypernoise --config redness --set steps=12 ...`

for propose in (None, str(out / "hypernoise")):
    pipe = SearchPipeline.from_pretrained("shapes/turbo", verifier="redness", propose=propose, n=16)
    result = pipe("a photo of two blue stars").result
    scores = [node.score for node in result.lineage]
    noise = "hypernetwork" if propose else "plain noise"
    print(f"{noise}: mean redness {sum(scores) / len(scores):+.4f} of {len(scores)} samples, {result.ledger.spent}")
