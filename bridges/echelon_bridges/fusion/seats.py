"""Which body plays which performer: a port each, or first come where one port hears several bodies."""

from __future__ import annotations

from collections.abc import Callable, Hashable

HELD_NS = 1_000_000_000  # a body that plays keeps its place for so long without a frame


class Seats:
    """As many seats as performers. Two bodies in one seat would tear the performer apart, so each has one."""

    def __init__(self, performers: int) -> None:
        self.player: list[Hashable | None] = [None] * performers
        self._last_ns = [0] * performers

    def seat(
        self,
        body: Hashable,
        own: int,
        now_ns: int,
        shut_out: Callable[[Hashable], bool],
        assigned: int | None = None,
        reserved: Callable[[int], bool] = lambda seat: False,
    ) -> int | None:
        """Return the performer that a body's frame plays, or None where it has to wait.

        A body keeps its seat. Otherwise it gets the performer it is `assigned` to, whoever plays it; or its port's
        `own`; or, where several may play, the first other; of these the one that is free: never taken, silent for a
        second, or taken by a body that floods and is `shut_out`. Seats that are `reserved` for assigned bodies are not
        given away.
        """
        if assigned is not None and assigned < len(self.player):
            if self.player[assigned] != body:
                self.leave(body)
                self.player[assigned] = body
            self._last_ns[assigned] = now_ns
            return assigned
        if body in self.player:
            at = self.player.index(body)
            self._last_ns[at] = now_ns
            return at
        for at in (own, *(each for each in range(len(self.player)) if each != own)):
            if at >= len(self.player) or reserved(at):
                continue
            player = self.player[at]
            if player is None or now_ns - self._last_ns[at] >= HELD_NS or shut_out(player):
                self.player[at] = body
                self._last_ns[at] = now_ns
                return at
        return None

    def leave(self, body: Hashable) -> None:
        """Free the seat of a body."""
        for at, player in enumerate(self.player):
            if player == body:
                self.player[at] = None
