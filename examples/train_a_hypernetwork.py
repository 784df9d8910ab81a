"""Train a noise hypernetwork on a tiny budget, then generate with it.

The reward is how red an image is. 24 updates are enough to see it rise; the recipe `redness` makes 200.
"""

import sys
from pathlib import Path

import torch

from gensearch import SearchPipeline
from hypernoise.command import train

torch.set_num_threads(1)  # on a small CPU one thread is faster than several that wait for each other
out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tiny_hypernetwork")
tiny = ["steps=24", "batch=8", "options.batch_size=8", "validation=4", "watch_every=12", "form.rank=4", "lr=0.001"]
train("redness", tiny, out, "none")  # as in `gensearch train hypernoise --config redness --set steps=24 ...`

for propose in (None, str(out / "hypernoise")):
    pipe = SearchPipeline.from_pretrained("shapes/turbo", verifier="redness", propose=propose, n=16)
    result = pipe("a photo of two blue stars").result
    scores = [node.score for node in result.lineage]
    mean, cost = sum(scores) / len(scores), result.ledger.spent.work / len(scores)
    print(f"{'hypernetwork' if propose else 'plain noise'}: mean redness {mean:+.4f} at {cost:g} NFE per image")
