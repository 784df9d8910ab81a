"""The searches by name: one algorithm, one file, one paper."""

from __future__ import annotations

from gensearch.search.best_of_n import best_of_n
from gensearch.search.dno import dno
from gensearch.search.reno import reno
from gensearch.search.unguided import unguided
from gensearch.search.zero_order import zero_order
from gensearch.types import Search

SEARCHES: dict[str, Search] = {
    "best_of_n": best_of_n,
    "dno": dno,
    "reno": reno,
    "unguided": unguided,
    "zero_order": zero_order,
}
