from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.S)


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "stars.png").stat().st_size > 500
    assert "nfe=16" in capsys.readouterr().out


def test_the_two_commands_stand_at_the_top_and_exist():
    first = blocks("sh")[0]
    targets = re.findall(r"^make (\w+)", first, flags=re.M)
    makefile = (README.parent / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in targets)


def test_recipes_expect_what_the_readme_reports():
    text = README.read_text()
    base, best = (
        re.search(rf"^\| {name} \| ([\d.]+) \|.*\| ([\d.]+) \|$", text, flags=re.M) for name in ("base", "best of 16")
    )
    expected = (README.parent / "configs" / "shapes_turbo__best_of_16.yaml").read_text()
    for column in (1, 2):
        assert f"{base[column]} -> {best[column]} by" in expected
    minutes = re.search(r"this table in (about \w+ minutes on two CPU cores)", text)[1]
    assert minutes in (README.parent / "configs" / "evaluate" / "shapes_turbo.yaml").read_text()


def test_the_map_names_folders_that_exist():
    tree = re.search(r"```\n(verifiers/.*?)```", README.read_text(), flags=re.S)
    assert tree
    names = re.findall(r"^( *)(\w+)/ ", tree[1], flags=re.M)
    paths = [("gensearch/" if indent else "") + name for indent, name in names]
    assert len(paths) >= 12
    assert [path for path in paths if not (README.parent / path).is_dir()] == []
