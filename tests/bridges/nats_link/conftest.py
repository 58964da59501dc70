"""A NATS server for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nats_rig import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it is; each uses an engine name of its own."""
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()
