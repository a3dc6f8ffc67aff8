"""Messages with something wrong at a random place: sub-values replaced, deleted, duplicated, moved or renamed."""

import copy
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


NASTY = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**5000,
    0.5,
    math.inf,
    -math.inf,
    math.nan,
    1e308,
    Decimal("NaN"),
    Decimal("Infinity"),
    Decimal("0." + "0" * 400 + "1"),
    Decimal(10**400),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    date(1, 1, 1),
    time(23, 59, 59, 999999),
    timedelta(days=-999999999),
    timedelta(days=999999999),
    uuid.UUID(int=0),
    "",
    "a",
    "0",
    "nul\x00in it",
    "\x00",
    "lone \ud800 surrogate",
    "\udcff",
    "\U0010ffff" * 3,
    "x" * 61,
    "x" * 101,
    "x" * 201,
    "x" * 501,
    "x" * 5000,
    "a,b:1",
    "a~" + "z" * 99,
    "b~k3f9",
    "c",
    "a\nb",
    "'; DROP TABLE handleref_sync_stamp; --",
    '"\\%s%(x)s{}',
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "[" * 3000,
    "[" * 900 + "]" * 900,
    '{"a":' * 300 + "1" + "}" * 300,
    "1e999",
    "NaN",
    "9" * 5000,
    "testapp.tag",
    "testapp.item_tags",
    "auth.user",
    "handleref_sync.conflict",
    "handleref_sync.localnode",
    "no.such",
    "ключ",
    b"",
    b"\x00",
    b"\xff" * 40,
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
    [],
    [[]],
    [None],
    ["a", "b"],
    [1, 2, 3],
    [0, ""],
    {},
    {"": None},
    {"a": 1},
    {"a": -1},
    {"a": 2**63},
    {"a\x00": 1, "\ud800": 2},
    {"x" * 101: 1},
    nested(25),
)
"""Values that are no good in most places."""


def walk(random, value):
    """A place in `value`, by keys and positions from the outside in: as likely at the top as among many rows."""
    path = ()
    while isinstance(value, (dict, list)) and value:
        step = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        path, value = (*path, step), value[step]
        if random.random() < 0.3:
            break
    return path


def at(value, path):
    for step in path:
        value = value[step]
    return value


def mutate(random, message, times):
    """A copy of the map `message` with `times` things wrong. `random`: whoever chooses, as random.Random does."""
    message = copy.deepcopy(message)
    for _ in range(times):
        place = walk(random, message)
        if not place:
            return message
        *where, last = place
        holder = at(message, where)
        kind = random.choice(("replace", "replace", "replace", "move", "delete", "duplicate", "rename", "append"))
        if kind == "replace":
            holder[last] = copy.deepcopy(random.choice(NASTY))
        elif kind == "move":
            holder[last] = copy.deepcopy(at(message, walk(random, message)))
        elif kind == "delete":
            del holder[last]
        elif kind == "append" and isinstance(holder, list):
            holder.append(copy.deepcopy(random.choice(NASTY)))
        elif kind == "duplicate" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        elif kind in ("rename", "duplicate") and isinstance(holder, dict):
            text = random.choice([value for value in NASTY if isinstance(value, str)])
            holder[text] = holder.pop(last) if kind == "rename" else copy.deepcopy(holder[last])
        else:
            holder[last] = copy.deepcopy(random.choice(NASTY))
    return message


TEXTS = [value for value in NASTY if isinstance(value, str)]


def misfill(random, page, times):
    """A copy of `page` that has the protocol's shape, with content that its tables can't hold in `times` places."""
    page = copy.deepcopy(page)
    for _ in range(times):
        row = random.choice(page["rows"])
        header = page["models"][row[0]]
        values = row[6]
        kind = random.choice(("value", "value", "value", "value", "key", "time", "dot", "field", "label", "carried"))
        if kind == "key":
            row[1] = random.choice([*TEXTS, "hq:1", "b:1", '["b:1","a:1"]', random.choice(page["rows"])[1]])
        elif kind == "time":
            row[5] = random.choice((0, 1, row[5] + 1, row[5] - 1, 2**62, 2**63 - 1, row[5] + (1 << 40)))
        elif kind == "dot":
            row[2], row[3] = random.randrange(len(page["nodes"])), random.choice((1, row[3] + 1, 2**62))
            row[4] = random.choice((None, [[row[2], row[3]], [(row[2] + 1) % len(page["nodes"]), 3]]))
        elif kind == "label":
            header[0] = random.choice([*TEXTS, *(label for label, _ in page["models"])])
        elif kind == "field" and header[1]:
            header[1][random.randrange(len(header[1]))] = random.choice([*TEXTS, "id", "pk", "status"])
        elif kind == "carried" and values:
            entry = [random.choice([*TEXTS, "name"]), 0, row[2], row[3], random.choice(NASTY)]
            row[4] = [[row[2], row[3] + 1]]
            row[3] += 1
            row[7:] = [[[*entry[:3], row[3] - 1, entry[4]]]]
        elif values:
            values[random.randrange(len(values))] = copy.deepcopy(random.choice(NASTY))
        else:
            row[6] = None if values is None else []
    return page
