"""Errors a person can act on: the value, the rule it breaks, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_FAILURE = 1
EXIT_USAGE = 2


class UserError(Exception):
    """Something a person can put right; printed as one line `value: rule; remedy`, never with a stack trace.

    `exit_code` is what the command line returns for it.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, value: str, rule: str, remedy: str = "") -> None:
        self.value, self.rule, self.remedy = value, rule, remedy
        super().__init__(f"{value}: {rule}; {remedy}" if remedy else f"{value}: {rule}")


class UsageError(UserError):
    """A wrong key, value or option: the person asked for something that does not exist."""

    exit_code = EXIT_USAGE


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the sentence part "did you mean 'x'?", or "" when nothing known is near `word`."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else ""
