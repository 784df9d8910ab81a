"""A fixed number of threads, since laws about single bits hold for a fixed number; no garbage looked for in imports."""

import gc
import os

import pytest
import torch

gc.disable()  # while tests are collected: all that is imported lives to the end


def pytest_collection_finish() -> None:
    # A tenth of the tests' time went into searching half a million of such objects for garbage, again and again.
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def threads() -> None:
    """One thread, or as many as TEST_THREADS says (`make bits`)."""
    torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))
