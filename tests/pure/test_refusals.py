"""The server's log, read on: what was refused and to whom, whatever words others have put into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawbus.provision.server_log import STRANGER, Refusal, ServerLog
from clawbus.settings import Home

HEAD = "[1] 2026/11/21 09:01:36.287656 [ERR] 127.0.0.1:36014 - cid:110 - "
USER = f'"ACKTB/AGENTS/jwt:U{"A" * 55}"'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / ".clawbus")
    home.log("nats-server").write_text(f'{HEAD}"x" - {USER} - Publish Violation - Subject "before"\n')
    home.key("gw-lab").with_suffix(".pub").write_text("U" + "A" * 55)
    return home


def add(home: Home, text: str) -> None:
    with home.log("nats-server").open("a") as file:
        file.write(text)


def test_only_what_is_new_is_told_and_once(home: Home) -> None:
    """Also where a line is written in two pieces, and where the server begins a new file."""
    log = ServerLog(home)
    assert log.fresh() == []
    line = f'{HEAD}"v2.16.0:python3:clawbus node" - {USER} - Publish Violation - Subject "acme.x"\n'
    add(home, line[:60])
    assert log.fresh() == []
    add(home, line[60:])
    assert log.fresh() == [Refusal("gw-lab", "clawbus node", "publish", "acme.x")]
    assert log.fresh() == []
    home.log("nats-server").write_text(f'{HEAD}"x" - {USER} - Subscription Violation - Subject "acme.>", SID 1\n')
    assert log.fresh() == [Refusal("gw-lab", "x", "subscribe to", "acme.>")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"{HEAD}authentication error\n", [Refusal(STRANGER, "", "connect")]),
        (f'{HEAD}authentication error - Nkey "UX"\n', [Refusal(STRANGER, "", "connect")]),
        (f'{HEAD}"a:b:c \\" - Publish Violation - Subject \\"y" - {USER} - Publish Violation - Subject "a\\"b"\n',
         [Refusal("gw-lab", 'c \\" - Publish Violation - Subject \\"y', "publish", 'a\\"b')]),
        (f'{HEAD}"x" - "ACK/AGENTS/jwt:U{"B" * 55}" - Publish Violation - Reply "_R_.x"\n',
         [Refusal(STRANGER, "x", "publish", "_R_.x")]),
        (f'{HEAD}"authentication error" - {USER} - Slow Consumer Detected\n', []),
        ("Publish Violation - Subject \"x\"\n\x00\xff\n", []),
    ],
)  # fmt: skip
def test_each_kind_of_line_is_read_and_no_other(home: Home, line: str, found: list[Refusal]) -> None:
    """A client's name is between quotes, escaped: it cannot put another line there, nor another key."""
    log = ServerLog(home)
    add(home, line)
    assert log.fresh() == found


def test_where_there_is_no_server_of_ours_there_is_no_log(tmp_path: Path) -> None:
    assert ServerLog(Home(tmp_path / ".clawbus")).fresh() == []
    assert not (tmp_path / ".clawbus").exists()
