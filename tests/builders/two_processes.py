"""One of two gloo processes that train every case, in a folder; the first one prints how they ended."""

import sys
from pathlib import Path

import torch

from tests.builders.hypernoise import CASES, case, outcome

torch.set_num_threads(1)
for name in CASES:
    run = case(name, Path(sys.argv[1]))
    assert run.accelerator.num_processes == 2
    said = outcome(run)
    if run.accelerator.is_main_process:
        print(f"{name}: {said}", flush=True)
run.accelerator.end_training()
