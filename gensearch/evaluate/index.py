"""The index of an evaluation, a SQLite file that is rebuilt from its journal, and its export as Parquet."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gensearch.core.ledger import Cost
from gensearch.evaluate.journal import JOURNAL, Record, records
from gensearch.files.atomic import write_atomic

INDEX, PARQUET = "index.sqlite", "results.parquet"
COLUMNS = {  # of a row -> its type
    "id": "TEXT",
    "method": "TEXT NOT NULL",
    "prompt": "INTEGER NOT NULL",
    "seed": "INTEGER NOT NULL",
    "tag": "TEXT",
    "text": "TEXT",
    "judge": "REAL",
    "base": "REAL",
    "score": "REAL",
    "holdout": "TEXT",
    "parts": "TEXT",
    "nfe": "INTEGER",
    "work": "INTEGER",
    "scored": "INTEGER",
    "seconds": "REAL",
    "kl": "REAL",
    "kl_first_order": "REAL",
    "oracle": "INTEGER",
    "picture": "TEXT",
    "sha256": "TEXT",
}


def index(folder: Path) -> Path:
    """The index of a folder, built anew unless it is that of the journal as it stands.

    It holds a table `trials` with one row per trial and the columns `COLUMNS`, of which `holdout` and `parts` are JSON.
    It is never the truth: whoever deletes it loses nothing.

    Args:
        folder: Of an evaluation.

    Raises:
        ValueError: The journal is damaged.
    """
    path = folder / INDEX
    stamp = digest(folder)
    if stamp_of(path) != stamp:
        part = folder / f".{INDEX}.part"
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part)) as database, database:
            database.execute(f"CREATE TABLE trials ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
            marks = ", ".join("?" * len(COLUMNS))
            rows = [tuple(row(record).values()) for record in records(folder)]
            database.executemany(f"INSERT INTO trials VALUES ({marks})", rows)
            database.execute("CREATE UNIQUE INDEX trial ON trials (method, prompt, seed)")
            database.execute("CREATE TABLE journal (sha256 TEXT)")
            database.execute("INSERT INTO journal VALUES (?)", (stamp,))
        part.replace(path)
    return path


def digest(folder: Path) -> str:
    """SHA-256 of a journal; of nothing where there is none."""
    path = folder / JOURNAL
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


def stamp_of(path: Path) -> str | None:
    """The digest of the journal that an index was built from; None for a missing or damaged one."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT sha256 FROM journal").fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


def row(record: Record) -> dict[str, Any]:
    """One record as a row of the index.

    Args:
        record: Of the journal.
    """
    spent = Cost(**record["spent"])
    counted = {"nfe": spent.nfe, "work": spent.work, "scored": spent.scored, "oracle": int(record["oracle"])}
    told = {name: json.dumps(record.get(name) or {}, sort_keys=True) for name in ("holdout", "parts")}
    base = (record.get("base") or {}).get("judge")
    found = {**record, **counted, **told, "base": base}
    return {name: found.get(name) for name in COLUMNS}


def export_parquet(folder: Path) -> Path:
    """Write `results.parquet`: the rows of the index, with a column for each hold-out and part.

    Args:
        folder: Of an evaluation.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: The journal is damaged.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError("Parquet needs pyarrow; pip install pyarrow, or read index.sqlite instead") from None
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist(flat(records(folder))), sink)
    write_atomic(folder / PARQUET, sink.getvalue().to_pybytes())
    return folder / PARQUET


def flat(found: Sequence[Record]) -> list[dict[str, Any]]:
    """Records as rows of plain numbers and texts, all with the same columns.

    Args:
        found: Records of the journal.
    """
    rows = []
    for record in found:
        named = {f"{of}.{name}": value for of in ("holdout", "parts") for name, value in (record.get(of) or {}).items()}
        rows.append({**{k: v for k, v in row(record).items() if k not in ("holdout", "parts")}, **named})
    columns = dict.fromkeys(name for one in rows for name in one)
    return [{name: one.get(name) for name in columns} for one in rows]
