"""What SQLite keeps unique in a table, as conditions for a trigger."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handleref_sync.capture.sqlite import SQLite

INDEXES = (
    "SELECT t.value, l.name, x.name, x.coll, m.sql, l.partial FROM json_each(%s) t JOIN pragma_index_list(t.value) l "
    "JOIN pragma_index_xinfo(l.name) x LEFT JOIN sqlite_master m ON m.type = 'index' AND m.name = l.name "
    "WHERE l.\"unique\" AND l.origin <> 'pk' AND x.key ORDER BY t.key, l.name, x.seqno"
)
Unique = tuple[str, list[str]]
"""SQL that is true of a row `t` that has the values which NEW has there, and the columns on which that depends."""
Part = tuple[str | None, str, str | None, int]
"""Of a column of an index: name (None: an expression), collation, the index's text, whether it is a partial one."""
TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|.""", re.DOTALL)


def unique_values(vendor: SQLite, tables: Sequence[str]) -> dict[str, list[Unique]]:
    """Those of each unique index, but for the primary key's, of each of `tables` that has some."""
    indexes: dict[tuple[str, str], list[Part]] = {}
    for table, index, name, coll, sql, partial in vendor.rows(INDEXES, [json.dumps(list(tables))]):
        indexes.setdefault((table, index), []).append((name, coll, sql, partial))
    found: dict[str, list[Unique]] = {}
    for (table, _), parts in indexes.items():
        found.setdefault(table, []).append(_values(vendor, table, parts))
    return found


def _values(vendor: SQLite, table: str, parts: list[Part]) -> Unique:
    q = vendor.quote
    names = [name for name, *_ in parts]
    terms = [f"t.{q(name)} = NEW.{q(name)} COLLATE {q(coll)}" for name, coll, *_ in parts if name is not None]
    _, _, sql, partial = parts[0]
    if sql is None or (None not in names and not partial):
        return " AND ".join(terms), [name for name in names if name is not None]
    # Expressions, and what follows WHERE, stand in the text of the index alone. Without a qualifier, as they have to
    # be there, names mean the one table that is in sight: the row that is here, or the new one dressed up as a table.
    every = sorted(vendor.columns(table))
    new = ", ".join(f"NEW.{q(c)} AS {q(c)}" for c in every)
    expressions, condition = index_text(sql)
    for (name, coll, *_), text in zip(parts, expressions, strict=True):
        if name is None:
            bare = re.sub(r"\s+(ASC|DESC)\s*$", "", text, flags=re.IGNORECASE)
            terms.append(f"({bare}) = (SELECT {bare} FROM (SELECT {new})) COLLATE {q(coll)}")
    if condition:
        terms += [f"({condition})", f"(SELECT {condition} FROM (SELECT {new}))"]
    return " AND ".join(terms), every


def index_text(sql: str) -> tuple[list[str], str]:
    """What CREATE INDEX says between its parentheses, one text a column, and behind WHERE."""
    parts, depth, rest = [""], 0, iter(TOKEN.findall(sql))
    for token in rest:
        depth += (token == "(") - (token == ")")
        if token == ")" and depth == 0:
            break
        if token == "," and depth == 1:
            parts.append("")
        elif depth and not (token == "(" and depth == 1):
            parts[-1] += token
    behind = "".join(rest).strip()
    return [part.strip() for part in parts], re.sub(r"^WHERE\b\s*", "", behind, flags=re.IGNORECASE)
