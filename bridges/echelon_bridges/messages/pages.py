"""The page of all messages, from the tables: `python -m echelon_bridges.messages.pages > bridges/MESSAGES.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from echelon_bridges.messages import fields
from echelon_bridges.messages.commands import COMMANDS, REQUEST_BYTES, Reply
from echelon_bridges.messages.table import SUBJECTS, Message, subject

DELIVERY = {
    "continuous": "newest wins, the gap shows in the sequence",
    "once": "once, not repeated",
    "stored": "once and in order, in JetStream",
    "request": "request-reply",
}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]


def _type(kind: inspect.Type) -> str:
    """Return the type as JSON's readers call it."""
    match kind:
        case inspect.Metadata():
            return _type(kind.type)
        case inspect.UnionType():
            return " or ".join(_type(one) for one in kind.types)
        case inspect.ListType() | inspect.CollectionType():
            count = f" of {kind.min_length}" if kind.min_length is not None else ""
            return f"list{count}: {_type(kind.item_type)}"
        case inspect.DictType():
            return f"object: {_type(kind.value_type)}" if not isinstance(kind.value_type, inspect.AnyType) else "object"
        case inspect.StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
        case inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
    words = {
        "StrType": "string",
        "IntType": "integer",
        "FloatType": "number",
        "BoolType": "boolean",
        "NoneType": "null",
    }
    return words.get(type(kind).__name__, type(kind).__name__)


def _described(kind: inspect.Type) -> tuple[str, str]:
    """Return (unit, explanation) of a field's type, wherever in it they are said."""
    unit, text = "", ""
    while isinstance(kind, inspect.Metadata):
        schema = kind.extra_json_schema or {}
        unit, text = (kind.extra or {}).get("unit", unit), schema.get("description", text)
        kind = kind.type
    return unit, text


def _fields(struct: type[msgspec.Struct], without: frozenset[str] = frozenset()) -> list[str]:
    shown = inspect.type_info(struct)
    assert isinstance(shown, inspect.StructType)
    rows = [
        (f"`{field.encode_name}`", _type(field.type), *_described(field.type))
        for field in shown.fields
        if field.encode_name not in without
    ]
    if not rows:
        return ["No fields."]
    if len({row[1:] for row in rows}) == 1 and len(rows) > 2:
        return [f"Each a {rows[0][1]}: {', '.join(row[0] for row in rows)}."]
    return _table(("field", "type", "unit", "meaning"), rows)


def _section(struct: type[Any], without: frozenset[str] = frozenset()) -> list[str]:
    return [f"### {struct.__name__}", "", (struct.__doc__ or "").strip(), "", *_fields(struct, without), ""]


def messages_page() -> str:
    """Return the page as Markdown: subjects, commands, every message and its fields."""
    header = frozenset(field.encode_name for field in msgspec.structs.fields(Message))
    subjects = [
        (
            f"`{subject('<engine>', row.name)}`",
            row.direction,
            f"[{row.message.__name__}](#{row.message.__name__.lower()})",
            DELIVERY[row.delivery] if row.direction != "in" else "",
            row.rate,
            row.about,
        )
        for row in SUBJECTS.values()
    ]
    commands = [
        (
            f"`{subject('<engine>', 'command.' + row.name)}`",
            f"[{row.request.__name__}](#{row.request.__name__.lower()})",
            f"[{row.reply.__name__}](#{row.reply.__name__.lower()})",
        )
        for row in COMMANDS.values()
    ]
    sent: list[type[Any]] = list(dict.fromkeys(row.message for row in SUBJECTS.values()))
    sent.append(Reply)
    parts: tuple[Any, ...] = (
        fields.Note,
        fields.Dynamics,
        fields.Statistic,
        fields.Latent,
        fields.Positions,
        fields.Values,
        fields.BandState,
        fields.BandPositions,
    )
    return "\n".join(
        [
            "# Messages",
            "",
            "From the tables in `messages/`, by `python -m echelon_bridges.messages.pages`; a test compares.",
            "JSON, or MessagePack with `nats.encoding`; requests in either are answered as they came.",
            "",
            "## Subjects",
            "",
            *_table(("subject", "direction", "message", "delivery", "rate", "what it is"), subjects),
            "",
            "## Commands",
            "",
            f"Request-reply, {REQUEST_BYTES} bytes at most, unknown fields refused.",
            "",
            *_table(("subject", "request", "reply"), commands),
            "",
            "## What every message begins with",
            "",
            *_fields(Message),
            "",
            "## Messages",
            "",
            *(line for struct in sent for line in _section(struct, header)),
            "## Requests",
            "",
            *(line for row in COMMANDS.values() for line in _section(row.request)),
            "## Parts of messages",
            "",
            *(line for struct in parts for line in _section(struct)),
        ]
    )


if __name__ == "__main__":
    print(messages_page(), end="")
