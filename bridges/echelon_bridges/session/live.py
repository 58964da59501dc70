"""A session that the running engine plays again: its script, fed to the callback a second ahead."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from echelon_bridges.session.playback import check_weights, differences
from echelon_bridges.session.reader import Session
from echelon_engine import rings
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_engine.replay import script

AHEAD = 60  # control frames: a performer who takes over waits a second at most


class Script:
    """Feeds `ring` (the shared `script`) with what the first life of a session took."""

    def __init__(self, items: NDArray[Any], ring: Any) -> None:
        self._items, self._ring = items, ring
        self._fed = 0

    @classmethod
    def open(cls, config: Config, shared: Any) -> tuple[Script, list[str]]:
        """Return the script of `config.motion.file`, and what people should know.

        Raises `UserError` when it cannot be played byte for byte, with the reason.
        """
        session = Session.open(config.motion.file)
        if session.rate_hz != config.audio.rate_hz:
            rule = f"was played at {session.rate_hz} Hz"
            raise UserError(session.name, rule, f"play it with --set audio.rate_hz={session.rate_hz}")
        notes = []
        try:
            check_weights(session, config.models)
        except UserError as error:
            notes.append(f"the sound will differ: {error}")
        if found := differences(session):
            notes.append(f"the sound may differ: {found}")
        life = next(iter(session.lives()), None)
        if life is None:
            raise UserError(session.name, "holds no control frame", "there is nothing to play")
        if len(session.epochs) > 1:
            notes.append("the audio process was replaced during this session: what came before that is played")
        if life.missing:
            notes.append("; ".join(life.missing))
        controls, inputs, _ = life.playable()
        return cls(script(controls, inputs, session.rate_hz), shared["script"]), notes

    def feed(self) -> NDArray[Any]:
        """Push what the callback will soon take and return it: memory.INPUT (n,)."""
        first = self._fed
        taken = first - (int(self._ring["written"][0]) - int(self._ring["read"][0]))
        frames = self._items["frame"]
        while self._fed < len(self._items) and frames[self._fed] - frames[taken] < AHEAD:
            if not rings.push(self._ring, self._items[self._fed : self._fed + 1]):
                break
            self._fed += 1
        return self._items[first : self._fed]

    @property
    def ended(self) -> bool:
        """Whether the callback has taken all of it."""
        return self._fed == len(self._items) and int(self._ring["written"][0]) == int(self._ring["read"][0])
