"""The model card of a noise hypernetwork."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypernoise.manifest import Manifest

CARD = """---
library_name: gensearch
tags: [noise-hypernetwork, test-time-scaling]
base_model: {base}
---
# Noise hypernetwork for {base}

A residual network f(x0, prompt) of the form `{form}` with {size:,} trained weights: the unchanged generator
starts from x0 + f(x0, prompt) instead of plain noise x0 (HyperNoise, arXiv:2508.09968).

```python
from gensearch import SearchPipeline

pipe = SearchPipeline.from_pretrained("{base}", propose="PATH OR REPOSITORY OF THIS FOLDER", compute=2)
```

| trained for | |
|---|---|
| rewards | {rewards} |
| temperature, reward per nat | {temperature:.3g} |
| noise | {noise_shape}, timestep {timestep:g}, guidance {guidance:g} |
| text condition | `{template}` |

These are not adapter weights for the generator: in the form `low_rank` the base weights of the last layer are zero.
Loading refuses a generator with other weights or settings.

Training: `{training}`
"""


def card(manifest: Manifest, size: int) -> str:
    """Return the README of an artefact.

    Args:
        manifest: of the network.
        size: number of trained weights.
    """
    about = manifest.model_dump()
    about |= {"form": json.dumps(about["form"]), "training": json.dumps(about["training"]), "size": size}
    return CARD.format(**about)
