"""Search with a diffusers pipeline that is already loaded.

Any pipeline works the same way; this one is embedded in the package, so that the example runs offline.
"""

from importlib.resources import files

import torch
from diffusers import StableDiffusionPipeline

from gensearch import SearchPipeline, load

folder = files("gensearch") / "shapes" / "weights" / "turbo"
pipeline = StableDiffusionPipeline.from_pretrained(str(folder), dtype=torch.float32)

model = load(pipeline)  # chooses the adapter
print(f"adapter {type(model).__name__}, {model.num_steps} step, noise {model.noise_shape}, verbs {sorted(model.verbs)}")

pipe = SearchPipeline(model, verifier="shapes/clip", search="best_of_n", holdout=["shapes/clip-holdout"])
out = pipe("a photo of a ring and a heart", compute=8)  # eight samples' worth of compute

best, base = out.result.best, out.result.base
print(f"guide: {base.score:.3f} for the first sample, {best.score:.3f} for the best of {len(out.result.lineage)}")
for name, (winner, first) in out.holdout.items():
    print(f"hold-out {name}: {first:.3f} for the first sample, {winner:.3f} for the winner")
out.images[0].save("ring_and_heart.png")
print(f"spent {out.result.ledger.spent.nfe} NFE, saved ring_and_heart.png")
