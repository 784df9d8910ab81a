"""Guide a search with your own verifier: here, how close an image is to its mirror image."""

import torch

from gensearch import SearchPipeline
from verifiers import Scores


class Symmetry:
    """Minus the mean squared difference between an image and its mirror image; 0 is perfect."""

    name = "symmetry"
    differentiable = True

    def __call__(self, media, prompts, *, progress=1.0):
        """Score images [b, 3, h, w]; NaN means that an image cannot be scored."""
        total = -(media - media.flip(-1)).square().flatten(1).mean(1)
        total = total.masked_fill(~media.isfinite().flatten(1).all(1), torch.nan)
        return Scores(total, {self.name: total.detach()})


pipe = SearchPipeline.from_pretrained("shapes/turbo", verifier=Symmetry(), holdout=["shapes/clip"], compute=16)
out = pipe("a photo of two red stars")
print(f"symmetry: {out.result.base.score:.4f} for the first sample, {out.result.best.score:.4f} for the best of 16")
print(f"shapes/clip, which the search did not see: {out.holdout['shapes/clip']}")
