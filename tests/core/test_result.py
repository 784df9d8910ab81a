"""Views of lists that only grow: they read as tuples, and nothing that is appended later shows in them."""

from __future__ import annotations

import copy
import pickle

import pytest

from gensearch.core.result import Prefix


def test_a_prefix_reads_as_a_tuple():
    entries = [1, 2, 3, 4]
    view = Prefix(entries)
    assert (len(view), view[0], view[-1], list(view), tuple(view)) == (4, 1, 4, entries, (1, 2, 3, 4))
    assert (view[1:3], view[::-1], view[5:]) == ((2, 3), (4, 3, 2, 1), ())
    assert view == (1, 2, 3, 4)
    assert tuple(entries) == view
    assert view != (1, 2, 3)
    assert view != [1, 2, 3, 4], "nor is a tuple"
    assert hash(view) == hash((1, 2, 3, 4))
    assert repr(view) == "(1, 2, 3, 4)"
    assert 3 in view
    assert view.index(3) == 2
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            view[beyond]


def test_what_is_appended_later_is_not_seen():
    entries: list[int] = []
    views = []
    for i in range(5):
        views.append(Prefix(entries))
        entries.append(i)
    assert views == [tuple(range(i)) for i in range(5)]
    reading = iter(views[3])
    entries.append(9)
    assert list(reading) == [0, 1, 2]
    assert (views[3][-1], views[3][1:], not views[0], 3 in views[3]) == (2, (1, 2), True, False)
    with pytest.raises(IndexError):
        views[3][3]


def test_a_copy_stands_alone():
    entries = [1, 2, 3]
    view = Prefix(entries)
    entries.append(4)
    assert copy.deepcopy(view) == pickle.loads(pickle.dumps(view)) == (1, 2, 3)  # noqa: S301  # our own bytes
