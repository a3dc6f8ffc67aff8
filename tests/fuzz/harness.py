"""Coverage-guided fuzzing of the decoder and of the responder: ``python -m tests.fuzz.harness TARGET``.

An input of the target "wire" is a body; one of "responder" is a letter for the action and a message behind it. Inputs
that break something are kept in ``tests/fuzz/regressions/TARGET/``, which the tests replay.
"""

import contextlib
import os
import random
import sys
from pathlib import Path

REGRESSIONS = Path(__file__).parent / "regressions"
LETTERS = {b"h": "hello", b"l": "pull", b"p": "push", b"r": "rows", b"s": "records"}


def wire_target(data):
    """Bytes to a value and back, and as each of the things that are read from bytes or from a message."""
    from handleref_sync import wire
    from handleref_sync.exceptions import SyncError
    from handleref_sync.replication.conflicts import lost_values
    from handleref_sync.replication.hello import Hello
    from handleref_sync.replication.page import from_message
    from handleref_sync.replication.values import Unfit
    from handleref_sync.transport import auth, pairing

    for encoding in wire.encodings():
        try:
            assert len(wire.decompress(data, encoding, 10_000)) <= 10_000
        except SyncError as error:
            assert error.status in (400, 413)
    with contextlib.suppress(Unfit):
        lost_values(data)
    try:
        value = wire.unpack(data)
    except SyncError as error:
        assert error.status in (400, 413)
        return
    packed = wire.pack(value)
    assert wire.pack(wire.unpack(packed)) == packed
    if not isinstance(value, dict):
        return
    head = auth.Request("POST", "http://node/sync/v1/pair/", {})
    for read in (Hello.from_message, lambda m: from_message(m, 100), lambda m: pairing.claim(head, data, m)):
        try:
            read(value)
        except SyncError as error:
            assert error.status in (400, 401, 413, 426)


def responder_target(data):
    """A message to a node in memory, on behalf of a paired peer. Needs the nodes of `make_nodes`."""
    from handleref_sync import wire
    from handleref_sync.exceptions import SyncError
    from handleref_sync.replication.ledger import now_ms
    from tests.fuzz import nodes

    try:
        message = wire.unpack_message(data[1:])
    except SyncError:
        return
    for hello in (message, message.get("hello")):
        if isinstance(hello, dict) and type(hello.get("clock")) is int and 0 < hello["clock"] < 1 << 42:
            hello["clock"] = now_ms()  # an input that was kept is older than any clock may be
    nodes.attempt(LETTERS.get(data[:1], "push"), message)


TARGETS = {"wire": wire_target, "responder": responder_target}


def make_nodes():
    """Two paired nodes in memory; what b would say to a, by action."""
    from django.core.management import call_command

    from tests.fuzz import nodes

    for alias in (nodes.A, nodes.B):
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    return nodes.meet()


def seeds_of(messages):
    """What the fuzzers begin with, by target: real messages."""
    from handleref_sync import wire
    from tests.fuzz.test_decoder import HELLO, PAGE, PAIR

    plain = [wire.pack(value) for value in (*messages.values(), HELLO, PAGE, PAIR)]
    letters = {action: letter for letter, action in LETTERS.items()}
    return {
        "wire": [*plain, *(wire.compress(data, name) for data in plain for name in wire.encodings())],
        "responder": [letters[action] + wire.pack(message) for action, message in messages.items()],
    }


def mutator(data, max_size, seed):
    """Spoil the message in the bytes where there is one, and else, or now and then, the bytes."""
    import atheris

    from handleref_sync import wire
    from handleref_sync.exceptions import SyncError
    from tests.fuzz.mutation import misfill, mutate

    chance = random.Random(seed)
    try:
        message = wire.unpack_message(data[1:])
    except SyncError:
        return atheris.Mutate(data, max_size)
    if chance.random() < 0.1:
        return data[:1] + atheris.Mutate(data[1:], max_size - 1)
    try:
        spoilt = misfill(chance, message, chance.randint(1, 3)) if chance.random() < 0.5 else None
    except (LookupError, TypeError, ValueError):
        spoilt = None  # it is no page, or none any more
    made = data[:1] + wire.pack(spoilt or mutate(chance, message, chance.randint(1, 3)))
    return made if len(made) <= max_size else data


def main(target, seconds, corpus):
    import atheris

    with atheris.instrument_imports(include=["handleref_sync", "msgpack", "http_message_signatures"]):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
        import django

        django.setup()
        for module in ("wire", "replication.responder", "replication.applier", "transport.pairing"):
            __import__(f"handleref_sync.{module}")
    folder, kept = Path(corpus) / target, REGRESSIONS / target
    folder.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds_of(make_nodes())[target]):
        (folder / f"seed-{number}").write_bytes(data)
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={kept}/",
        "-max_len=65536",
        "-timeout=20",
        "-rss_limit_mb=2048",
    ]
    mutation = {"custom_mutator": mutator} if target == "responder" else {}
    atheris.Setup([sys.argv[0], *options, str(folder), str(kept)], TARGETS[target], **mutation)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(os.environ.get("FUZZ_SECONDS") or 60), os.environ.get("FUZZ_CORPUS") or ".fuzz")
