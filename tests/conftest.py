"""One thread for every test, since laws about single bits hold for a fixed number; no garbage looked for in imports."""

import gc

import pytest
import torch

gc.disable()  # while tests are collected: all that is imported lives to the end


def pytest_collection_finish() -> None:
    # A tenth of the tests' time went into searching half a million of such objects for garbage, again and again.
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    # Two threads split a batch of three in the middle of a row, and then a row's last bits depend on its place.
    torch.set_num_threads(1)
