"""The command line: plans, progress, Ctrl-C, presets, and one clear line for each of many mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from safetensors.torch import load_file, save_file

from gensearch import registry
from gensearch.cli import main as cli
from gensearch.config.make import make_config
from gensearch.config.run import RunConfig
from gensearch.config.yaml import presets, read_preset
from gensearch.runs.format import read_journal
from verifiers.catalogue import Entry
from verifiers.controls.random import RandomScore

ROOT = Path(__file__).parents[2]
PROMPT = "a photo of a red star"
TOY = ["--model", "toy/turbo", "--verifier", "random"]


def gensearch(*words: str | float | Path) -> str | int | None:
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return left.value.code


class Interrupting(RandomScore):
    """The control, with Ctrl-C at its n-th call."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def __call__(self, media, prompts, *, progress=1.0):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__call__(media, prompts, progress=progress)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every command starts in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


# --- what works


def test_generate_says_where_everything_is(capsys):
    assert gensearch("generate", PROMPT, *TOY, "--compute", 6, "--holdout", "shapes/judge", "--seed", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    picture, report = (Path(line.split(": ")[1].strip()) for line in lines[-2:])
    assert picture.is_file()
    assert report.is_file()
    assert picture.parent.parent == Path("runs")
    assert lines[0].endswith(", 6 nfe")
    assert lines[1].startswith("hold-out shapes/judge: ")


def test_options_win_over_the_config_and_set_wins_over_all(tmp_path):
    (tmp_path / "c.yaml").write_text("model: toy/flow\ncompute: 3\nseed: 1\nknobs: {n: 9}\noptions: {steps: 2}\n")
    made = make_config(
        str(tmp_path / "c.yaml"), ["seed=7", "knobs.n=2"], prompt=PROMPT, compute=5, options={"batch_size": 2}
    )
    assert made == RunConfig(
        prompt=PROMPT, model="toy/flow", compute=5, seed=7, knobs={"n": 2}, options={"steps": 2, "batch_size": 2}
    )


def test_the_config_reaches_the_search_from_the_command_line(capsys):
    words = ["--model", "toy/flow", "--verifier", "random", "--search", "zero_order", "--knob", "neighbours=2"]
    words += ["--compute", "5", "--steps", "3", "--batch-size", "2", "--out", "out"]
    assert gensearch("generate", PROMPT, *words) == 0
    assert [len(line["ids"]) for line in read_journal(Path("out"))] == [3, 2]
    result = json.loads(Path("out/result.json").read_bytes())
    assert result["ledger"]["spent"]["nfe"] == 15
    assert result["provenance"]["batch_size"] == 2


@pytest.mark.parametrize(
    ("search", "knobs"),
    [("best_of_n", ["n=7"]), ("unguided", ["n=3"]), ("zero_order", ["rounds=4", "neighbours=3"])],
)
def test_a_dry_run_knows_the_cost_and_makes_nothing(search, knobs, capsys):
    words = [PROMPT, "--model", "toy/flow", "--verifier", "random", "--search", search]
    words += [word for knob in knobs for word in ("--knob", knob)]
    assert gensearch("generate", *words, "--dry-run") == 0
    cost = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("cost:"))
    assert list(Path().iterdir()) == []
    assert gensearch("generate", *words, "--out", "out") == 0
    spent = json.loads(Path("out/result.json").read_bytes())["ledger"]["spent"]
    assert cost.split(":")[1].strip() == f"{spent['nfe']} nfe, {spent['decoded']} decoded, {spent['scored']} scored"


def test_a_dry_run_estimates_time_only_from_finished_runs_of_the_same_kind(capsys):
    def time(*words):
        assert gensearch("generate", PROMPT, *words, "--dry-run", "--out", "runs/new") == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("time:"))

    assert "not measured" in time(*TOY)
    assert gensearch("generate", PROMPT, *TOY, "--out", "runs/old") == 0
    capsys.readouterr()
    assert "about" in time(*TOY)
    assert "not measured" in time("--model", "toy/flow", "--verifier", "random")


def test_ctrl_c_keeps_the_best_and_the_same_command_finishes(monkeypatch, capsys):
    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(lambda: Interrupting(3), ""))
    words = ["generate", PROMPT, *TOY, "--out", "out"]
    assert gensearch(*words) == 130
    said = capsys.readouterr()
    assert "best so far" in said.err
    assert "picture: out/best.png" in said.out
    assert json.loads(Path("out/result.json").read_bytes())["stopped"] == "closed"
    assert Path("out/report.html").is_file()
    assert not Path("out/DONE").exists()
    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(RandomScore, ""))
    assert gensearch(*words) == 0
    assert Path("out/DONE").exists()
    assert len(read_journal(Path("out"))) == 4


def test_ctrl_c_before_anything_was_finished_is_130_and_one_line(monkeypatch, capsys):
    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(lambda: Interrupting(1), ""))
    assert gensearch("generate", PROMPT, *TOY, "--out", "out") == 130
    assert capsys.readouterr().err.strip() == "error: interrupted before a sample was finished and scored"
    assert not Path("out/best.png").exists()


def test_ctrl_c_while_loading_is_130_and_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(interrupted, ""))
    assert gensearch("generate", PROMPT, *TOY, "--out", "out") == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_without_a_command_there_is_help_and_no_empty_error(capsys):
    assert gensearch() == 2
    said = capsys.readouterr()
    assert "generate" in said.out
    assert said.err == ""


def test_a_replay_that_cannot_be_written_is_refused_before_anything_is_computed(capsys, monkeypatch):
    assert gensearch("generate", PROMPT, *TOY, "--compute", 1, "--out", "run") == 0
    Path("folder").mkdir()
    Path("file").write_text("precious")
    capsys.readouterr()
    monkeypatch.setattr("gensearch.runs.replay.load", lambda *_: pytest.fail("it loaded a model"))
    for out, message in {
        "folder": "folder is a folder; give a file with --out",
        "file/again.png": "cannot write to file (Not a directory); take another --out",
        "/proc/none/again.png": "cannot write to /proc/none (No such file or directory); take another --out",
    }.items():
        assert gensearch("replay", "run", "--out", out) == 2
        assert capsys.readouterr().err == f"error: {message}\n"
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder", "run"]


def test_sums_of_verifiers_have_names():
    assert gensearch("generate", PROMPT, "--model", "toy/turbo", "--verifier", "0.5*random", "--out", "out") == 0
    total = json.loads(Path("out/result.json").read_bytes())["best"]
    assert total["score"] == pytest.approx(0.5 * total["parts"]["random"], rel=1e-6)


def test_list_shows_every_name_and_preset(capsys):
    assert gensearch("list") == 0
    said = " ".join(capsys.readouterr().out.split())
    for name in ("toy/mixture", "shapes/judge", "best_of_n", "zero_order", "cosine=0.95"):
        assert name in said
    assert gensearch("list", "presets") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in presets())
    assert "shapes/judge" not in said


@pytest.mark.parametrize("name", presets())
def test_presets_are_short_valid_and_say_what_to_expect(name):
    made = make_config(name, prompt=PROMPT)
    registry.search(made.search)
    for judge in filter(None, [made.verifier, made.select, *made.holdout]):
        registry.parse_verifier(judge)
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    labels = [line.split(":")[0] for line in header if line.startswith(("# Cost:", "# Expected:"))]
    assert labels == ["# Cost", "# Expected"]
    assert len(text.splitlines()) <= 25
    assert yaml.safe_load(text) == read_preset(name)


@pytest.mark.parametrize("command", ["generate", "evaluate", "list", "replay"])
def test_help_shows_an_example_and_swallows_no_word(command, capsys):
    assert gensearch(command, "--help") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"Example: gensearch {command}" in shown
    group: Any = typer.main.get_command(cli.app)
    for option in group.commands[command].params:
        assert (option.help or "") in shown, "square brackets are markup"


def test_only_commands_that_work_are_listed(capsys):
    assert gensearch("--help") == 0
    listed = capsys.readouterr().out
    assert sorted(str(c.name) for c in cli.app.registered_commands) == [
        "compare",
        "convert",
        "evaluate",
        "generate",
        "judge",
        "list",
        "replay",
    ]
    assert [group.name for group in cli.app.registered_groups] == ["verifiers", "train"]
    assert "demo" not in listed


def test_version(capsys):
    assert gensearch("--version") == 0
    assert capsys.readouterr().out == "gensearch 0.1.0\n"


# --- mistakes

WRONG = {
    "no prompt": ([], "there is no prompt"),
    "empty prompt": ([""], "prompt: it is empty"),
    "blank prompt": (["  "], "prompt: it is empty"),
    "long prompt": (["x" * 10_000], "(10000 characters)"),
    "escape in the prompt": (["a \x1b[31m star"], "control character '\\x1b' at position 2"),
    "newline in the prompt": (["a star\nSteps: 5"], "control character '\\n'"),
    "unknown model": ([PROMPT, "--model", "toy/flw"], "did you mean 'toy/flow'"),
    "unknown embedded model": ([PROMPT, "--verifier", "random", "--model", "shapes/tubro"], "'shapes/tubro'"),
    "missing model folder": ([PROMPT, "--verifier", "random", "--model", "./nowhere"], "no folder and no model"),
    "unknown verifier": ([PROMPT, "--verifier", "shapes/judg"], "did you mean 'shapes/judge'"),
    "unknown holdout": ([PROMPT, "--holdout", "randm"], "did you mean 'random'"),
    "weight of a sum": ([PROMPT, "--verifier", "x*random"], "'x' is no weight"),
    "holdout that guides": ([PROMPT, *TOY, "--holdout", "random"], "also guides or selects"),
    "holdout that guides by another name": (
        [PROMPT, "--model", "toy/turbo", "--holdout", f"clip:{ROOT / 'gensearch/shapes/weights/clip'}"],
        "also guides or selects",
    ),
    "unknown search": ([PROMPT, "--search", "best_of_m"], "did you mean 'best_of_n'"),
    "unknown knob": ([PROMPT, "--search", "zero_order", "--knob", "neighbors=3"], "did you mean 'neighbours'"),
    "negative knob": ([PROMPT, *TOY, "--knob", "n=-1"], "knob n of best_of_n is -1: it should be above 0"),
    "truth as a number": ([PROMPT, *TOY, "--knob", "n=true"], "knob n of best_of_n is True: input should be a valid"),
    "budget below a proposal": (
        [PROMPT, "--verifier", "random", "--propose", "shapes/hypernoise", "--compute", "1"],
        "--compute 1 pays for no sample with its proposed noise; use --compute 2",
    ),
    "NaN guidance": ([PROMPT, *TOY, "--guidance", "nan"], "error: --guidance: Input should be a finite number"),
    "knob of a wrong type": ([PROMPT, *TOY, "--knob", "n=many"], "knob n of best_of_n is 'many'"),
    "entry of a schedule": (
        [PROMPT, *TOY, "--search", "tree_of_frames", "--knob", "branch=[2, 0]"],
        "knob branch of tree_of_frames is [2, 0]: entry 1: input should be greater than 0",
    ),
    "knob without a value": ([PROMPT, *TOY, "--knob", "n"], "cannot read --knob 'n'"),
    "negative budget": ([PROMPT, *TOY, "--compute", "-4"], "error: --compute: "),
    "zero budget": (
        [PROMPT, *TOY, "--compute", "0"],
        "--compute: it should be at least 1 and at most 1000000 (got 0.0)",
    ),
    "zero budget in a config": ([PROMPT, *TOY, "--config", "low.yaml"], "error: compute: it should be at least 1"),
    "zero budget that wins": ([PROMPT, *TOY, "--compute", "4", "--set", "compute=0"], "error: compute: it should be"),
    "NaN budget": ([PROMPT, *TOY, "--compute", "nan"], "finite number"),
    "huge budget": (
        [PROMPT, *TOY, "--compute", "1e12"],
        "error: --compute: it should be at least 1 and",
    ),
    "budget in words": ([PROMPT, *TOY, "--compute", "lots"], "--compute"),
    "negative seed": (
        [PROMPT, *TOY, "--seed", "-1"],
        "--seed: it should be at least 0 and at most 9007199254740991",
    ),
    "seed out of range": ([PROMPT, *TOY, "--seed", str(2**53)], "error: --seed: "),
    "seed of a wrong type": ([PROMPT, *TOY, "--set", "seed=1.5"], "seed: "),
    "unknown option": ([PROMPT, *TOY, "--sed", "1"], "--sed"),
    "unknown command": (None, "No such command"),
    "unknown field": ([PROMPT, *TOY, "--set", "sede=1"], "did you mean 'seed'"),
    "field with entries": ([PROMPT, *TOY, "--set", "seed.x=1"], "only knobs and options"),
    "misspelt steps": ([PROMPT, "--verifier", "random", "--model", "toy/flow", "--set", "options.step=3"], "'steps'"),
    "zero steps": (
        [PROMPT, "--verifier", "random", "--model", "toy/flow", "--steps", "0"],
        "error: --steps of toy/flow is 0: it should be at least 1",
    ),
    "zero batch": (
        [PROMPT, "--verifier", "random", "--model", "toy/flow", "--batch-size", "0"],
        "error: --batch-size of toy/flow is 0: it should be at least 1",
    ),
    "CLIP without files": ([PROMPT, "--verifier", "clip:empty"], "empty has no open_clip_config.json"),
    "remote code": ([PROMPT, *TOY, "--set", "options.trust_remote_code=true"], "never passed on"),
    "out is a file": ([PROMPT, *TOY, "--out", "file"], "is a file"),
    "out below a file": (
        [PROMPT, *TOY, "--out", "file/run"],
        "cannot write to file/run (Not a directory); take",
    ),
    "out cannot be written": (
        [PROMPT, *TOY, "--out", "/proc/run"],
        "cannot write to /proc/run (No such file",
    ),
    "out of a dry run cannot be written": ([PROMPT, *TOY, "--out", "/proc/run", "--dry-run"], "cannot write to /proc"),
    "config is missing": ([PROMPT, "--config", "nowhere.yaml"], "no file and no preset"),
    "misspelt preset": ([PROMPT, "--config", "sd_turbo__best_of_m"], "did you mean 'sd_turbo__best_of_n'"),
    "config with bad YAML": ([PROMPT, "--config", "bad.yaml"], "bad YAML in bad.yaml at line 2"),
    "config with an unknown key": ([PROMPT, "--config", "key.yaml"], "did you mean 'compute'"),
    "config of a wrong type": ([PROMPT, "--config", "type.yaml"], "knobs: "),
    "config that is a list": ([PROMPT, "--config", "list.yaml"], "holds no mapping"),
    "config that is binary": ([PROMPT, "--config", "binary.yaml"], "not a text file"),
    "config that is huge": ([PROMPT, "--config", "huge.yaml"], "at most 100000"),
    "config that runs code": ([PROMPT, "--config", "code.yaml"], "bad YAML"),
    "key that is there twice": ([PROMPT, *TOY, "--set", "knobs={n: 3, n: 4}"], "'n' is there twice"),
    "config without a name": ([PROMPT, *TOY, "--config", ""], "no file and no preset is called ''"),
    "config with a name too long": ([PROMPT, "--config", "x" * 5000], "(File name too long); give a YAML file"),
    "out too long": ([PROMPT, *TOY, "--out", "x" * 300], "(File name too long); take another --out"),
    "impossible date": ([PROMPT, *TOY, "--knob", "n=2024-13-45"], "bad YAML in --knob 'n=2024-13-45': month must be"),
    "number of 5000 digits": ([PROMPT, *TOY, "--knob", f"n={'9' * 5000}"], "bad YAML in --knob 'n=99"),
    "mapping for a number": ([PROMPT, *TOY, "--knob", "n={a: 1}"], "knobs.n: it should be a number, a text, true"),
    "option with a parameter's name": ([PROMPT, *TOY, "--set", "options.name=x"], "has no option 'name'"),
    "option that is the source": ([PROMPT, "--set", "options.source=x"], "unknown option 'source'"),
    "sum without its second term": ([PROMPT, "--verifier", "random+"], "'' names no verifier"),
    "device without memory": ([PROMPT, "--set", "options.device=meta"], "device 'meta' cannot be used"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_clear_line_and_leaves_nothing(case, capsys):
    words, message = WRONG[case]
    Path("file").write_text("precious")
    Path("empty").mkdir()
    Path("low.yaml").write_text("compute: 0\n")
    Path("bad.yaml").write_text("model: a\n  compute: [\n")
    Path("key.yaml").write_text("comptue: 3\n")
    Path("type.yaml").write_text("knobs: 3\n")
    Path("list.yaml").write_text("- 3\n")
    Path("binary.yaml").write_bytes(b"\xff\xfe\0")
    Path("huge.yaml").write_text("# " + "x" * 100_000)
    Path("code.yaml").write_text("model: !!python/object/apply:os.system ['touch owned']\n")
    before = sorted(Path().iterdir())
    code = gensearch("generaet") if words is None else gensearch("generate", *words)
    said = capsys.readouterr()
    assert code == 2
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert "Traceback" not in said.out + said.err
    assert sorted(Path().iterdir()) == before
    assert Path("file").read_text() == "precious"


def test_unexpected_errors_are_one_line_too_and_debug_shows_where(monkeypatch, capsys):
    def broken():
        raise KeyError("weights\nof the judge")

    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(broken, ""))
    assert gensearch("generate", PROMPT, *TOY) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "KeyError" in said
    assert "--debug" in said
    with pytest.raises(KeyError):
        cli.main(["--debug", "generate", PROMPT, *TOY])


def test_weights_that_are_cut_off_are_one_line(capsys):
    unet = {"_class_name": "AutoencoderKL", "block_out_channels": [4], "norm_num_groups": 2, "latent_channels": 2}
    folder = Path("cut")
    (folder / "vae").mkdir(parents=True)
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", "vae": ["diffusers", "AutoencoderKL"]})
    )
    (folder / "vae" / "config.json").write_text(json.dumps(unet))
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x80\0\0\0\0\0\0\0{")
    assert gensearch("generate", PROMPT, "--model", "./cut", "--verifier", "random") != 0
    said = capsys.readouterr().err
    assert said.startswith("error: cannot load './cut': ")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_weights_that_are_missing_are_one_line_whatever_libraries_log():
    shutil.copytree(ROOT / "gensearch/shapes/weights/turbo", "lacking")
    path = Path("lacking/text_encoder/model.safetensors")
    tensors = load_file(path)
    lost = sorted(tensors)[3]
    del tensors[lost]
    save_file(tensors, path, metadata={"format": "pt"})
    words = ["generate", PROMPT, "--model", "./lacking", "--verifier", "random"]
    done = subprocess.run([sys.executable, "-m", "gensearch", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot load './lacking': ")
    assert done.stderr.count("\n") == 1
    assert lost in done.stderr


def test_a_foreign_verifiers_is_one_line_of_the_command(tmp_path):
    (tmp_path / "verifiers").mkdir()
    (tmp_path / "verifiers" / "__init__.py").write_text("")
    code = f"import sys; sys.argv = ['/bin/gensearch']; sys.path.insert(0, {str(tmp_path)!r}); import gensearch"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "pip uninstall verifiers" in done.stderr


MISFITS = {
    "a model without chunks": (
        [PROMPT, *TOY, "--search", "tree_of_frames"],
        "error: tree_of_frames branches between the chunks of a clip, and toy/turbo has none; "
        "take a chunk-autoregressive video model",
    ),
    "a judge of pictures": (
        [PROMPT, "--model", "toy/chunks", "--verifier", "shapes/clip"],
        "error: shapes/clip takes pictures [b, 3, h, w]",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_parts_that_do_not_fit_are_one_line_too_and_leave_no_folder(case, capsys):
    words, message = MISFITS[case]
    assert gensearch("generate", *words, "--out", "run") == 2
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1
    assert not Path("run").exists()
    Path("run").mkdir()
    assert gensearch("generate", *words, "--out", "run") == 2
    assert Path("run").exists(), "a folder that was there before is gone"


def test_ctrl_c_in_the_middle_of_an_import_is_an_interruption(monkeypatch, capsys):
    """scipy's extensions say ImportError where Ctrl-C strikes them."""

    def interrupted():
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(interrupted, ""))
    assert gensearch("generate", PROMPT, *TOY) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize(
    ("model", "verifier", "unit"),
    [
        ("shapes/turbo", "shapes/clip", "nfe"),
        ("shapes/janus", "shapes/clip", "tokens"),
        ("shapes/video", "motion", "nfe"),
    ],
)
def test_every_kind_of_embedded_model_leaves_a_whole_run(tmp_path, model, verifier, unit, capsys):
    out = tmp_path / "run"
    assert gensearch("generate", PROMPT, "--model", model, "--verifier", verifier, "--compute", 2, "--out", out) == 0
    assert (out / "DONE").exists()
    said = capsys.readouterr().out
    spent = json.loads((out / "result.json").read_bytes())["ledger"]["spent"][unit]
    assert f", {spent} {unit}" in said
    assert ("token steps" in (out / "report.html").read_text()) is (unit == "tokens")
    assert gensearch("replay", out) == 0
