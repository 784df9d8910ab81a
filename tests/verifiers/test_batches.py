"""Physical batches: few sizes, little padding, every row once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verifiers.batches import cut, padding, physical_batches, sizes


@given(st.integers(0, 500), st.integers(1, 100))
def test_every_row_once_in_sizes_that_are_powers_of_two_with_an_eighth_of_padding_at_most(rows, most):
    pieces = cut(rows, most)
    assert sum(count for count, _ in pieces) == rows
    for count, size in pieces:
        assert 1 <= count <= size <= most
        assert size & (size - 1) == 0
        assert cut(count, most) == [(count, size)]  # a piece is cut no further
    assert 8 * padding(rows, most) <= sum(size for _, size in pieces)
    assert sizes(rows, most) == [size for count, size in pieces for _ in range(count)]
    assert all(count == size for count, size in pieces[:-1])


@pytest.mark.parametrize(
    ("rows", "most", "pieces"),
    [
        (1, 16, [(1, 1)]),
        (5, 16, [(4, 4), (1, 1)]),
        (7, 16, [(7, 8)]),
        (13, 16, [(8, 8), (4, 4), (1, 1)]),
        (15, 16, [(15, 16)]),
        (40, 16, [(16, 16), (16, 16), (8, 8)]),
        (5, 3, [(2, 2), (2, 2), (1, 1)]),
        (0, 4, []),
    ],
)
def test_examples(rows, most, pieces):
    assert cut(rows, most) == pieces


@given(st.integers(1, 60), st.integers(1, 20))
def test_batches_index_their_rows_and_fill_up_with_the_last(rows, most):
    values = torch.arange(rows)
    taken = [values[batch] for batch in physical_batches(rows, most)]
    assert torch.cat(taken)[:rows].tolist() == values.tolist()
    assert [len(batch) for batch in taken] == [size for _, size in cut(rows, most)]
    assert set(torch.cat(taken)[rows:].tolist()) <= {rows - 1}
