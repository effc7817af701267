"""[bus] in org.toml: who can reach the server, and that nobody does without TLS by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clawbus.org import Org, OrgMistakes, parse
from clawbus.org.bus_config import EVERYWHERE
from clawbus.org.load import load


def org(bus: dict[str, Any], **gateway: Any) -> Org:
    return parse(
        {
            "company": "acme",
            "bus": bus,
            "gateways": [{"id": "hq", "port": 18789}, {"id": "lab", "port": 18909, **gateway}],
            "agents": [{"id": "ceo", "gateway": "hq"}, {"id": "cto", "gateway": "lab"}],
        }
    )


def test_where_the_bus_is() -> None:
    assert org({}).url == "nats://127.0.0.1:4222"
    assert not org({}).bus.shared
    everywhere = org({"listen": EVERYWHERE, "hosts": ["hub.example", "10.1.2.3"]}, elsewhere=True)
    assert everywhere.url == "tls://127.0.0.1:4222"
    assert everywhere.bus.dialled == ("hub.example", "10.1.2.3")
    one = org({"listen": "10.1.2.3", "port": 5000})
    assert (one.url, one.bus.dialled, one.bus.enrol_port) == ("tls://10.1.2.3:5000", ("10.1.2.3",), 5001)
    assert org({"url": "tls://nats.example:4222"}).url == "tls://nats.example:4222"
    assert org({"url": "nats://localhost:4222"}).url == "nats://localhost:4222"


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"listen": EVERYWHERE}, {}, "bus.hosts: missing"),
    ({"listen": "hub.example"}, {}, "bus.listen = 'hub.example': not an IPv4 address"),
    ({"listen": "::"}, {}, "bus.listen = '::': not an IPv4 address"),
    ({"listen": "224.0.0.1"}, {}, "bus.listen = '224.0.0.1': not an IPv4 address"),
    ({"listen": "255.255.255.255"}, {}, "bus.listen = '255.255.255.255': not an IPv4 address"),
    ({"listen": EVERYWHERE, "hosts": [EVERYWHERE]}, {}, "bus.hosts[1] = '0.0.0.0': not the name or address"),
    ({"hosts": ["hub.example"]}, {}, "bus.hosts = ['hub.example']: the bus listens on this machine alone"),
    ({"listen": EVERYWHERE, "hosts": ["hub.example:4222"]}, {}, "not the name or address of a machine"),
    ({"listen": EVERYWHERE, "hosts": ["a b"]}, {}, "not the name or address of a machine"),
    (
        {"listen": "10.1.2.3", "port": 4222, "join_port": 4222},
        {},
        "bus.join_port = 4222: the bus has that port already",
    ),
    ({"listen": "10.1.2.3", "leaf_port": 4223}, {}, "bus.leaf_port = 4223"),
    ({"listen": "10.1.2.3", "join_port": 18789}, {}, "gateways[hq].port = 18789"),
    ({}, {"elsewhere": True}, "gateways[lab].elsewhere = True: the bus listens on this machine alone"),
    ({"url": "nats://nats.example:4222"}, {}, "bus.url = 'nats://nats.example:4222': not encrypted"),
    ({"url": "tls://nats.example:4222"}, {"elsewhere": True}, "gateways[lab].elsewhere = True: other machines"),
    ({"url": "nats.example"}, {}, 'Write url = "tls://nats.example"'),
    ({"url": "ws://10.1.2.3:80"}, {}, 'Write url = "tls://10.1.2.3:80"'),
    (
        {"url": "tls://nats.example:4222", "listen": "10.1.2.3"},
        {},
        "bus.listen = '10.1.2.3': is for a server of our own",
    ),
]


@pytest.mark.parametrize(("bus", "gateway", "said"), WRONG)
def test_what_does_not_fit_is_named_with_the_remedy(bus: dict[str, Any], gateway: dict[str, Any], said: str) -> None:
    with pytest.raises(OrgMistakes) as caught:
        org(bus, **gateway)
    assert said in str(caught.value)


def test_an_unencrypted_bus_is_a_mistake_with_its_line(tmp_path: Path) -> None:
    """The second line of the file, as `clawbus check` prints it."""
    file = tmp_path / "org.toml"
    file.write_text(
        'company = "acme"\nbus.url = "nats://nats.example:4222"\n[[gateways]]\nid = "hq"\nkind = "program"\n'
        '[[agents]]\nid = "ceo"\ngateway = "hq"\n'
    )
    with pytest.raises(OrgMistakes) as caught:
        load(file)
    assert caught.value.problems == [
        "line 2: bus.url = 'nats://nats.example:4222': not encrypted, and not on this machine. Write url = \"tls://nats.example:4222\"."
    ]


@pytest.mark.parametrize(
    "url",
    [
        "nats://bob:CANARY@127.0.0.1:4999",
        "tls://CANARY@nats.example:4222",
        "bob:CANARY@localhost",
        "nats://bob:CAN ARY/CANARY@localhost:1",
        "nats://a:b@127.0.0.1:1,nats://bob:CANARY@127.0.0.1:2",
        ["nats://bob:CANARY@127.0.0.1:4999"],
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str | list[str]) -> None:
    """org.toml goes to every machine that joins, and the address stands in messages and logs."""
    with pytest.raises(OrgMistakes) as caught:
        org({"url": url})
    assert "CANARY" not in str(caught.value)
    assert "CANARY" not in str([one.as_json() for one in caught.value.mistakes])
    if isinstance(url, str):
        said = "bus.url: holds a name or a password; org.toml is no place for one. Write it without: the server's"
        assert caught.value.problems == [f"{said} configuration names our public keys."]
