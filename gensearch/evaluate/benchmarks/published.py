"""Benchmarks of other authors by name, whose prompts are shipped or read from the user's files."""

from __future__ import annotations

from pathlib import Path

from gensearch.evaluate.bench import Benchmark

NAMES = {  # name -> the module that says where its prompts are; empty if they are shipped
    "t2i_compbench": "",
    "t2i_compbench_fixed": "",
    "wise": "wise",
    "wise_legacy": "wise",
    "geneval2": "geneval2",
    "geneval2_fixed": "geneval2",
    "dpg": "dpg",
    "dpg_fixed": "dpg",
    "vbench": "vbench_prompts",
}


def find(name: str, path: Path | None = None, judge: str | None = None) -> Benchmark:
    """Return a benchmark; names that end in "_fixed" mend the faults of the authors' code.

    Args:
        name: a key of `NAMES`.
        path: of the prompts; for t2i_compbench of another table of noun chunks, or None.
        judge: the model that judges instead of the default one; for t2i_compbench the detector.

    Raises:
        ValueError: for a missing path, and for a judge where there is no choice.
    """
    from importlib import import_module

    if NAMES[name] and path is None:
        where = import_module(f"gensearch.evaluate.benchmarks.{NAMES[name]}").WHERE
        raise ValueError(f"{name} is not shipped; {where}")
    kind, upstream = name.removesuffix("_fixed"), not name.endswith("_fixed")
    path = path.expanduser() if path else path
    if kind == "t2i_compbench":
        from gensearch.evaluate.benchmarks import t2i_compbench

        return t2i_compbench.benchmark(judge or t2i_compbench.DETECTOR, upstream, path)
    assert path is not None
    if kind == "vbench":
        from gensearch.evaluate.benchmarks import vbench_prompts

        if judge:
            raise ValueError("vbench is judged by VBench itself, on exported clips; leave out --judge")
        return vbench_prompts.benchmark(path)
    if kind in ("wise", "wise_legacy"):
        from gensearch.evaluate.benchmarks import wise_scores

        return wise_scores.benchmark(
            "legacy" if kind == "wise_legacy" else "verified", path, judge or wise_scores.JUDGE
        )
    if kind == "geneval2":
        from gensearch.evaluate.benchmarks import geneval2

        return geneval2.benchmark(path, judge or geneval2.JUDGE, upstream)
    from gensearch.evaluate.benchmarks import dpg

    return dpg.benchmark(path, judge or dpg.JUDGE, upstream)
