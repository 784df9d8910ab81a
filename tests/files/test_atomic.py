"""Files that survive a crash."""

from __future__ import annotations

import json

import pytest

from gensearch.files.atomic import append_line, read_lines, write_atomic


def test_a_journal_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path):
    path = tmp_path / "journal.jsonl"
    lines = [{"a": 1}, {"text": "ü\n\u2028"}, [None, 0.1]]
    for line in lines:
        append_line(path, line)
    content = path.read_bytes()
    assert read_lines(path) == lines
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        assert read_lines(path) == lines[:whole]
        append_line(path, "next")
        assert read_lines(path) == [*lines[:whole], "next"]


def test_no_journal_has_no_lines(tmp_path):
    assert read_lines(tmp_path / "none.jsonl") == []


def test_what_json_cannot_say_is_not_written(tmp_path):
    append_line(tmp_path / "j", 1)
    with pytest.raises(ValueError, match="JSON"):
        append_line(tmp_path / "j", float("nan"))
    assert read_lines(tmp_path / "j") == [1]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    write_atomic(path, json.dumps([1]).encode())
    assert path.read_bytes() == b"[1]"
