"""The index follows the journal and nothing else; exports hold what the journal holds."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gensearch.evaluate.index import INDEX, export_parquet, flat, index
from gensearch.evaluate.journal import JOURNAL, records
from gensearch.evaluate.runner import run_plan
from gensearch.evaluate.running import Running
from tests.builders.dice import DICE, plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("whole")
    for _ in run_plan(plan(), DICE, found):
        pass
    return found


def query(path: Path, text: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(text).fetchall()


def test_the_index_has_every_record_once(folder):
    found = records(folder)
    told = query(index(folder), "SELECT method, prompt, seed, judge, base, score, nfe, seconds, sha256 FROM trials")
    assert sorted(told) == sorted(
        (r["method"], r["prompt"], r["seed"], r["judge"], r["base"]["judge"], r["score"])
        + (r["spent"]["nfe"], r["seconds"], r["sha256"])
        for r in found
    )
    mean = query(index(folder), "SELECT AVG(judge) FROM trials WHERE method = 'best6'")[0][0]
    assert mean == pytest.approx(sum(r["judge"] for r in found if r["method"] == "best6") / 12)


@pytest.mark.parametrize("spoil", ["delete", "damage", "empty", "more"])
def test_a_missing_damaged_or_stale_index_is_built_anew(folder, tmp_path, spoil):
    (tmp_path / JOURNAL).write_bytes((folder / JOURNAL).read_bytes())
    path = index(tmp_path)
    before = path.stat().st_ino
    assert index(tmp_path).stat().st_ino == before  # one that fits is kept
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    if spoil == "delete":
        path.unlink()
    elif spoil == "more":
        (tmp_path / JOURNAL).write_bytes(b"".join(lines[:20]))
    else:
        path.write_bytes(b"not a database" * 100 if spoil == "damage" else b"")
    assert query(index(tmp_path), "SELECT COUNT(*) FROM trials") == [(20 if spoil == "more" else len(lines),)]
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []
    assert (tmp_path / INDEX).exists()


def test_parquet_holds_the_same(folder):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(export_parquet(folder)).to_pylist() == flat(records(folder))


def test_without_pyarrow_one_line_says_what_to_do(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="Parquet needs pyarrow; pip install pyarrow, or read index.sqlite instead"):
        export_parquet(folder)


def test_flat_rows_have_all_columns(folder):
    first, *rest = records(folder)
    rows = flat([{**first, "parts": {"left": 0.5}}, *rest])
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert rows[0]["parts.left"] == 0.5
    assert rows[1]["parts.left"] is None
    assert rows[1]["holdout.second"] == rest[0]["holdout"]["second"]


def test_the_running_score_says_what_is_right_so_far_and_its_cost(folder):
    found = records(folder)
    shown = str(Running(found))
    for name in ("base", "best4", "best6"):
        own = [r["judge"] for r in found if r["method"] == name]
        assert f"{name} {sum(own) / len(own):.2f} (12)" in shown
    assert f"{sum(r['spent']['nfe'] for r in found):,} NFE" in shown
