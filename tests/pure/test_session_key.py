"""Session keys, read and written."""

from __future__ import annotations

import pytest

from clawbus.gateway import SessionKey, bus_session, is_spawned


@pytest.mark.parametrize("text", ["agent:ceo:main", "agent:ceo:nats:x", "agent:ceo:nats:", "agent:ceo:chat:a:b"])
def test_a_key_is_written_as_it_was_read(text: str) -> None:
    assert str(SessionKey.parse(text)) == text


@pytest.mark.parametrize("text", ["", "global", "agent:ceo", "cron:ceo:main"])
def test_what_is_no_key_of_an_agent_is_none(text: str) -> None:
    assert SessionKey.parse(text) is None


def test_a_session_of_the_bus_is_known_by_its_key_to_the_letter() -> None:
    assert SessionKey.of_bus(bus_session("ceo", "digest")) == SessionKey("ceo", "nats", "digest")
    for text in ("agent:ceo:nats", "Agent:ceo:nats:digest", "agent:ceo:main", "agent:ceo:subagent:x"):
        assert SessionKey.of_bus(text) is None


def test_a_spawned_session_is_known_in_whatever_case_its_key_begins() -> None:
    assert is_spawned("agent:ceo:subagent:x")
    assert is_spawned("AGENT:ceo:subagent:x")
    assert not is_spawned("agent:ceo:subagent:incognito-x")
    assert not is_spawned("agent:ceo:main")
