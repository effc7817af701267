"""Bytes that are no message: one error whatever they are, on the bus and on the node's socket; nothing is guessed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.bus import SignedCopy
from clawbus.errors import WireError
from clawbus.node.socket import MAX_LINE_BYTES, listening
from clawbus.node.tools.answer import Answer, Caller
from clawbus.org import load
from clawbus.tasks.guests import Words, read
from clawbus.tasks.roster import Roster
from clawbus.wire.envelope import Envelope, decode
from clawbus.wire.events import decode_event
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Subjects, given_id, new_task_id
from tests.company import duo_toml
from tests.corpus import CASES

ACME, SEED, CTO = Subjects("acme"), new_task_id(), "cto-athena"
TASK = given_id("ceo", SEED)
GOOD = {
    "v": 1,
    "id": "ceo-1",
    "type": "task",
    "from": "ceo",
    "to": "cto",
    "task_id": TASK,
    "seed": SEED,
    "body": "x",
}
EVENT = {
    "v": 1,
    "id": "ceo-1",
    "kind": "progress",
    "task_id": TASK,
    "from": "ceo",
    "at": "2026-04-07T00:00:00Z",
    "detail": {"what": "x"},
}
TEXT = json.dumps(GOOD)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


BYTES: dict[str, bytes] = {
    "nothing": b"", "a space": b" ", "cut short": TEXT[:-1].encode(), "twice": f"{TEXT}{TEXT}".encode(), "more behind": f"{TEXT} x".encode(),
    "UTF-16": TEXT.encode("utf-16"), "UTF-16 without a mark": TEXT.encode("utf-16-le"), "UTF-32": TEXT.encode("utf-32"), "a byte order mark": TEXT.encode("utf-8-sig"),
    "Latin 1": TEXT.replace('"x"', '"\xe9"').encode("latin-1"), "overlong": b'{"v":1,"body":"\xc0\xaf"}', "a half character": b'{"v":1,"body":"\xed\xa0\x80"}',
    "an escaped half character": TEXT.replace('"x"', '"\\ud800"').encode(), "halves the wrong way round": TEXT.replace('"x"', '"\\udc00\\ud800"').encode(),
    "a half character as key": TEXT.replace('"v"', '"\\ud800"').encode(), "half in a list": TEXT.replace("{", '{"z":["\\ud800"],', 1).encode(),
    "NUL": b"\x00", "a NUL in a text": TEXT.replace("x", "\x00").encode(), "a new line in a text": TEXT.replace('"x"', '"a\nb"').encode(),
    "NaN": TEXT.replace("1", "NaN", 1).encode(), "Infinity": TEXT.replace("1", "-Infinity", 1).encode(), "1e999": TEXT.replace("1", "1e999", 1).encode(),
    "an unknown NaN": TEXT.replace("{", '{"z":NaN,', 1).encode(), "an unknown 1e999": TEXT.replace("{", '{"z":{"y":[-1e999]},', 1).encode(),
    "5,000 digits": TEXT.replace("1", "9" * 5000, 1).encode(), "4,000 digits": TEXT.replace("{", '{"z":' + "9" * 4000 + ",", 1).encode(), "2**63": TEXT.replace("{", '{"z":9223372036854775808,', 1).encode(),
    "deep lists": nested(100_000).encode(), "deep within": TEXT.replace("{", '{"z":' + nested(100) + ",", 1).encode(), "deeper within": TEXT.replace("{", '{"z":' + nested(50_000) + ",", 1).encode(),
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "a key twice": TEXT.replace("{", '{"from":"owner",', 1).encode(), "a key twice within": TEXT.replace("{", '{"z":{"a":1,"a":2},', 1).encode(),
    "the same key twice": TEXT.replace("{", '{"v":1,', 1).encode(), "escaped key twice": TEXT.replace("{", '{"fr\\u006fm":"owner",', 1).encode(),
    "a list": b"[1]", "a text": b'"x"', "a number": b"1", "null": b"null", "true": b"true", "single quotes": TEXT.replace('"', "'").encode(), "a comment": f"/**/{TEXT}".encode(),
    "a comma too many": TEXT.replace("}", ",}").encode(), "YAML": b"v: 1\nfrom: ceo\n", "a pickle": b"\x80\x04\x95", "gzip": b"\x1f\x8b\x08\x00", "MessagePack": b"\x81\xa1v\x01",
}  # fmt: skip

FIELDS: dict[str, list[Any]] = {
    "v": [0, 2, -1, "x", None, [1], 1.5, 2**62], "id": ["", "a b", "a\n", "a" * 129, 7, None, "ü", "a.b", "a\x1b"], "type": ["", "TASK", "x", None, 7, ["task"]],
    "from": ["owner", "CEO", "", None, ["ceo"], "ceo\n", "c\u0435o"], "to": ["", "*", "a.b.c", "a.", ".a", "all.>", None, "x" * 80, "a b"],
    "task_id": ["", "x", "A" * 26, "a" * 26, "a" * 27, "a" * 25 + "\n", 7, None], "seed": ["", "x", "a" * 26, 7, None], "trace_id": ["", "a b", "a" * 129, "a\n", 7], "parent": ["", "a b", "\u202e"],
    "path": ["ceo", [7], ["a"] * 65, {"a": 1}, [None]], "hops": [-1, 65, 1.5, "x", 2**62], "subject": ["x" * 201, None, 7, ["x"]], "body": [None, 7, ["x"], {"x": 1}],
    "priority": ["urgent", "", None, 1], "created_at": ["x", "", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-01T00:00:00", None, "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"],
    "expires_at": ["x", "9999-12-31T23:59:59-23:59", "2026-01-01"], "run_timeout_s": [0, -1, 86_401, 1.5, "x"], "status": ["ok", "", 1],
    "sla": [7, {"ack_within_seconds": 0}, {"ack_within_seconds": 2**62}, []], "on_complete": [{"to": "*"}, {"to": ""}, {}, "cto"], "budget": [{"turns": -1}, 7, {"minutes": 1.5}],
    "artifacts": [[{"name": "x" * 256}], [{"name": "x", "sha256": "x"}], [{"name": "x", "size_bytes": -1}], [{}], [{"name": "x", "from": "*"}], "x", [{"name": "x"}] * 21, [{"name": "x", "uri": "x" * 2001}]],
}  # fmt: skip


@pytest.mark.parametrize("what", BYTES)
def test_bytes_that_are_no_message_are_one_error(what: str) -> None:
    """A WireError for each reader, and nothing that its sender has written in its words: it goes into logs and letters."""
    data = BYTES[what]
    with pytest.raises(WireError) as caught:
        decode(data, "ceo")
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    with pytest.raises(WireError):
        decode_event(data, ACME.parse(ACME.event(TASK, "ceo")))
    assert not Roster(ACME).on_presence(SignedCopy(ACME.presence("ceo"), "", {}, data))


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_another_kind_is_one_error(field: str) -> None:
    """Of each field of a message: too long, too large, of another type, with what a prompt must not show."""
    decode(TEXT.encode(), "ceo")
    for value in FIELDS[field]:
        with pytest.raises(WireError) as caught:
            decode(json.dumps(GOOD | {field: value}).encode(), "ceo")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "x"), ("kind", None), ("id", "x" * 257), ("id", 7), ("at", "0001-01-01T00:00:00+23:59"), ("at", "9999-12-31T23:59:59-23:59"), ("at", "x"), ("from", "cto"),
        ("task_id", "b" * 26), ("detail", {"a": [1]}), ("detail", {"a": {"b": 1}}), ("detail", []), ("detail", {str(n): n for n in range(65)}),
        ("detail", {"x\n2026 INFO forged": ["x"]}), ("from", "x" * 300_000), ("task_id", "\x1b[2J"), ("detail", {"x" * 300_000: []}),
    ],
)  # fmt: skip
def test_an_event_of_another_kind_is_one_error(field: str, value: object) -> None:
    parsed = ACME.parse(ACME.event(TASK, "ceo"))
    decode_event(json.dumps(EVENT).encode(), parsed)
    with pytest.raises(WireError) as caught:
        decode_event(json.dumps(EVENT | {field: value}).encode(), parsed)
    assert len(str(caught.value)) < 400  # it goes into a log, for each message
    assert str(caught.value).isprintable()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([case.text for case in CASES]),
    lambda more: st.lists(more, max_size=4) | st.dictionaries(st.text(max_size=8) | st.sampled_from([*GOOD, *EVENT]), more, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*FIELDS, "z"]), _VALUES), st.booleans())
def test_any_object_is_a_message_or_one_error(more: dict[str, Any], escaped: bool) -> None:
    """What is taken can be written again, and read again as the same."""
    try:
        data = json.dumps(GOOD | more, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:
        return
    with contextlib.suppress(WireError):
        envelope = decode(data, "ceo")
        assert decode(envelope.encode(), "ceo") == envelope
        assert -1 < envelope.hops < 65
    with contextlib.suppress(WireError):
        parsed = ACME.parse(ACME.event(TASK, "ceo"))
        event = decode_event(json.dumps(EVENT | more, ensure_ascii=escaped).encode(), parsed)
        assert decode_event(event.encode(), parsed) == event
        assert all(not isinstance(one, float) or math.isfinite(one) for one in event.detail.values())


@given(st.binary())
def test_any_bytes_are_an_object_or_one_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        found = read_object(data)
        assert json.loads(json.dumps(found, allow_nan=False).encode().decode()) == found


@given(_VALUES)
def test_a_reader_and_a_writer_agree(value: object) -> None:
    try:
        text = json.dumps({"x": value}, allow_nan=False, ensure_ascii=False)
        data = text.encode()
    except (ValueError, UnicodeEncodeError):
        return
    with contextlib.suppress(WireError):
        assert read_object(data) == {"x": value}


@given(_VALUES, _VALUES)
def test_presence_is_data(busy: object, version: object) -> None:
    """What a node says of its agents: a number that can be shown, a version that is one."""
    roster = Roster(ACME)
    with contextlib.suppress(UnicodeEncodeError):
        said = json.dumps({"v": 1, "ready": True, "busy": busy, "version": version}).encode()
        roster.on_presence(SignedCopy(ACME.presence("ceo"), "", {}, said))
    assert 0 <= roster.busy("ceo") <= 9999
    assert roster.version("ceo").isascii()
    assert len(roster.version("ceo")) <= 64


@pytest.mark.parametrize("what", BYTES)
def test_a_guests_bytes_become_a_text(what: str, tmp_path: Path) -> None:
    """Lenient, as it must be there: what is no object is a text, and fits into a message."""
    path = tmp_path / "org.toml"
    path.write_text(duo_toml([2001, 2101, 2201]))
    words = read(load(path), BYTES[what], "dm")
    _travels(words)


def test_a_guest_nests_as_deep_as_he_likes(tmp_path: Path) -> None:
    """Around every limit of recursion: what can be read but not written again is a text like what cannot be read."""
    path = tmp_path / "org.toml"
    path.write_text(duo_toml([2001, 2101, 2201]))
    org = load(path)
    for depth in (1, 30, 31, 32, 33, 100, 300, 400, *range(900, 1010)):
        for begin, end in (("[", "]"), ('{"a":', "}")):
            for field in ("title", "type", "priority", "payload", "sla", "on_complete", "artifacts", "x"):
                deep = begin * depth + ("1" if begin != "[" else "") + end * depth
                words = read(org, f'{{"message":"do it","{field}":{deep}}}'.encode(), "dm")
                assert "do it" in words.text
                _travels(words)


def _travels(words: Words) -> None:
    fields = {"id": "external-1", "type": words.kind, "sender": "external", "to": CTO, "body": words.text}
    ids = {"task_id": given_id("external", SEED), "seed": SEED}
    mail = Envelope.model_validate({**fields, **ids, "subject": words.title})
    assert decode(mail.encode(), "external") == mail


async def _heard(caller: Caller, tool: str, params: object) -> Answer:
    return Answer(True, f"{caller.agent} {tool} {type(params).__name__}")


async def _shut(session: str, tool: str) -> Answer:
    return Answer(False, f"{session} may not call {tool}. Nothing was sent.")


async def test_the_nodes_socket_answers_whatever_is_said_there(tmp_path: Path) -> None:
    """Every line gets one answer of one line, or the connection is closed; the next call is served."""
    path = tmp_path / "s"
    call = {"v": 1, "tool": "nats_org", "params": {}, "agentId": CTO, "sessionKey": f"agent:{CTO}:main"}
    lines = [line for line in BYTES.values() if b"\n" not in line and line.strip()]
    lines += [json.dumps(call | {"agentId": case.text}).encode() for case in CASES]
    lines += [json.dumps(call | {"agentId": value}).encode() for value in (None, 7, [], {}, True, [CTO], {CTO: CTO})]
    lines += [
        json.dumps({name: value for name, value in call.items() if name != gone}).encode()
        for gone in ("tool", "agentId", "sessionKey")
    ]
    async with listening(path, frozenset({CTO}), _heard, _shut):
        for line in lines:
            answer = await _call(path, line)
            assert answer is not None
            assert answer["ok"] is False
            assert "Nothing was sent." in answer["text"]
        assert await _call(path, b"x" * (MAX_LINE_BYTES + 10)) is None
        good = await _call(path, json.dumps(call).encode())
        assert good is not None
        assert good["text"] == f"{CTO} nats_org dict"


async def _call(path: Path, line: bytes) -> dict[str, Any] | None:
    reader, writer = await asyncio.open_unix_connection(path, limit=4 << 20)
    with contextlib.suppress(ConnectionError):
        writer.write(line + b"\n")
        await writer.drain()
    found = b""
    with contextlib.suppress(ConnectionError):
        found = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert found.count(b"\n") <= 1
    answer: dict[str, Any] | None = json.loads(found) if found else None
    return answer
