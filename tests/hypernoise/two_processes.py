"""One of two gloo processes of a training run: folder and batch as arguments; prints the last update's nats."""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from gensearch.noise import randn
from hypernoise.config import TrainConfig
from hypernoise.train import Trainer
from tests.hypernoise.identity import Identity, Linear

torch.set_num_threads(1)
FORM = {"kind": "tokens", "width": 8, "heads": 2}
config = TrainConfig(form=FORM, temperature=0.5, steps=4, batch=int(sys.argv[2]), lr=1e-2, optimizer="sgd")
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
model, verifier = Identity(batch_size=2), Linear(randn([1], (2, 2, 2))[0])
prompts = ["a red star", "a blue cat", "two green dogs"]
*_, last = Trainer(config, model, verifier, prompts, Path(sys.argv[1]), accelerator)
if accelerator.is_main_process:
    print(f"nats {last.nats:.6f}", flush=True)
accelerator.end_training()
