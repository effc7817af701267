"""Errors of nats-server: by code where there is one, by its words in one file where there is none."""

from __future__ import annotations

import ssl

import nats.errors
import pytest

from clawbus.bus.messages import translate
from clawbus.bus.server_words import Complaint, complaint_of, forbidden_subject, is_full, is_refusal
from clawbus.errors import BacklogFull, ClawbusError, EndConflict, Refused


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (10071, EndConflict, "x"),
        (10164, EndConflict, "x"),
        (10059, Refused, "clawbus apply"),
        (10014, Refused, "clawbus apply"),
        (10077, Refused, "holds as much as it may"),
        (10002, Refused, "no room: the account"),
        (10026, Refused, "no more consumers"),
        (10054, Refused, "larger than"),
        (10999, Refused, "clawbus doctor"),
    ],
)
def test_a_code_counts_whatever_the_words(code: int, kind: type[ClawbusError], said: str) -> None:
    for words in ("as it is today", "maximum messages exceeded", "no message found", ""):
        error = translate({"err_code": code, "description": words}, "acme.tasks.cto.high.ceo")
        assert type(error) is kind
        assert said in str(error) or kind is EndConflict
        assert getattr(error, "code", code) == code


def test_a_full_subject_is_told_by_words_alone() -> None:
    """One code stands for both bounds; words that are not known mean the bound of the stream."""
    full = {"err_code": 10077, "description": "maximum messages per subject exceeded"}
    assert isinstance(translate(full, "acme.tasks.cto.high.ceo"), BacklogFull)
    assert not isinstance(translate(full | {"description": "subject full"}, "acme.tasks.cto.high.ceo"), BacklogFull)


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (nats.errors.AuthorizationError(), Complaint.REFUSED),
        (nats.errors.Error("nats: 'Authorization Violation'"), Complaint.REFUSED),
        (nats.errors.Error("nats: user authentication expired"), Complaint.REFUSED),
        (nats.errors.Error("nats: user authentication revoked"), Complaint.REVOKED),
        (nats.errors.Error("nats: 'Authentication Timeout'"), Complaint.OTHER),
        (nats.errors.Error("nats: maximum connections exceeded"), Complaint.FULL),
        (nats.errors.Error("nats: maximum account active connections exceeded"), Complaint.FULL),
        (nats.errors.Error('nats: permissions violation for publish to "a.expired"'), Complaint.VIOLATION),
        (nats.errors.Error("nats: what nobody has said yet"), Complaint.OTHER),
        (ConnectionRefusedError(), Complaint.AWAY),
        (ssl.SSLError("handshake"), Complaint.AWAY),
    ],
)
def test_each_complaint_of_the_protocol_is_known(error: Exception, complaint: Complaint) -> None:
    """An `-ERR` has no code. nats-py's class counts before its text."""
    assert complaint_of(error) is complaint


def test_the_other_words_of_the_server() -> None:
    assert forbidden_subject('nats: permissions violation for publish to "acme.x"') == "acme.x"
    assert forbidden_subject('nats: permissions violation for subscription to "acme.x"') is None
    assert is_full("-ERR 'maximum connections exceeded'\r\n")
    assert not is_full("INFO {}\r\n")
    assert is_refusal("[ERR] 127.0.0.1:7422 - lid:5 - Leafnode Error 'Authorization Violation'")
    assert not is_refusal("[ERR] i/o timeout")
