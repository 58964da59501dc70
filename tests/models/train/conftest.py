"""One thread for torch: the tests' products are small, and threads that wait for each other cost more than they win."""

import importlib.util

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Set torch to one thread where it is installed."""
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
