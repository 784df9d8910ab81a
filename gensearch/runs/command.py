"""The command line that runs a config again."""

from __future__ import annotations

import json
import shlex

from gensearch.config.run import RunConfig


def command(config: RunConfig) -> str:
    """The command line that runs this config again; values are JSON, which the YAML of the options contains."""
    words = ["--model", config.model, "--search", config.search]
    words += ["--seed", str(config.seed)]
    words += ["--compute", json.dumps(config.compute)] if config.compute is not None else []
    words += ["--propose", config.propose] if config.propose is not None else []
    words += roles(config)
    words += [word for name, value in config.knobs.items() for word in ("--knob", f"{name}={json.dumps(value)}")]
    words += [word for name, v in config.options.items() for word in ("--set", f"options.{name}={json.dumps(v)}")]
    words += ["--allow-noncommercial"] if config.allow_noncommercial else []
    words += [] if config.guard else ["--no-guard"]
    words += [] if config.metadata else ["--no-metadata"]
    return shlex.join(["gensearch", "generate", *words, "--", config.prompt])


def roles(config: RunConfig) -> list[str]:
    """The options that name the verifiers of a config."""
    if config.verifiers:
        return ["--set", f"verifiers={json.dumps([entry.model_dump() for entry in config.verifiers])}"]
    words = ["--verifier", config.verifier]
    words += ["--select", config.select] if config.select is not None else []
    return words + [word for name in config.holdout for word in ("--holdout", name)]
