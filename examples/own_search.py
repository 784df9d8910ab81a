"""Write your own search: a greedy walk over the noise sphere, compared with best-of-N at equal cost."""

from torch import Tensor

from gensearch import SearchPipeline
from gensearch.core.noise import nearby, randn
from gensearch.core.price import price
from gensearch.core.sampling import attempt
from gensearch.core.types import Recipe


def greedy_walk(model, verifier, prompt, *, rng, ledger, children: int = 4, cosine: float = 0.9):
    """Score `children` neighbours of the best noise so far, move to the best one, and repeat."""
    drawn, best, home = 0, float("-inf"), None
    pivot: Tensor | None = None  # the best noise so far
    recipe: Recipe = ()
    while size := int(min(children, ledger.affords(price(model, verifier)))):
        seeds = rng.seeds(size)
        noise = randn(seeds, model.noise_shape)
        recipes = [(*recipe, ("nearby", seed, cosine) if recipe else ("gaussian", seed)) for seed in seeds]
        if pivot is not None:
            noise = nearby(pivot, noise, cosine)
        round = attempt(model, verifier, prompt, noise, recipes, range(drawn, drawn + size), [home] * size)
        yield round
        top = int(round.scores.total.argmax())
        score = float(round.scores.total[top])
        if pivot is None or score > best:
            best, pivot, recipe, home = score, noise[[top]], recipes[top], drawn + top
        drawn += size


for search in (greedy_walk, "best_of_n"):
    pipe = SearchPipeline.from_pretrained("shapes/turbo", search=search, compute=32, holdout=["shapes/clip-holdout"])
    out = pipe("a photo of a blue ring and a pink star")
    name = search if isinstance(search, str) else search.__name__
    print(f"{name}: guide {out.result.base.score:.3f} -> {out.result.best.score:.3f}, hold-out {out.holdout}")
