"""One thread for every test: laws about single bits hold for a fixed number of threads."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    # Two threads split a batch of three in the middle of a row, and then a row's last bits depend on its place.
    torch.set_num_threads(1)
