"""A stage for the bridges' loop."""

from collections.abc import Iterator
from typing import Any

import pytest
from bridges_stage import Stage

from echelon_bridges import bridges_process


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage; all of its sockets are closed at the end."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(bridges_process, "say", lambda event, **fields: said.append({"event": event, **fields}))
    made = Stage(said)
    yield made
    for bridges in made.running:
        if bridges._recorder is not None:
            bridges._recorder.close()
        bridges._selector.close()
        for sensor in bridges.sensors:
            sensor.port.close()
