"""Compare two methods on the same held-out prompts and seeds, with a paired 95 % interval."""

import sys
from pathlib import Path

from gensearch.evaluate.benchmarks.shapes import SHAPES
from gensearch.evaluate.plan import make_plan
from gensearch.evaluate.runner import records, run_plan
from gensearch.evaluate.table import summarise

out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/two_methods")
methods = ["base=compute:1", "best4=compute:4"]  # as in `gensearch evaluate shapes --method base=compute:1 ...`
plan = make_plan(None, methods, prompts=4, holdout=["shapes/clip-holdout"])

for record in run_plan(plan, SHAPES, out):  # resumable: finished jobs are read from the folder
    print(f"{record['method']:>6} {'correct' if record['judge'] else 'wrong':>8}  {record['text']}")

summary = summarise(plan, SHAPES.judge().name, records(out))
for name, method in summary["methods"].items():
    for score in ("shapes/judge", "shapes/clip-holdout"):
        mean, gain = method["scores"][score]["overall"], method["scores"][score]["gain"]
        print(f"{name}: {score} {mean:.3f}, gain {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
