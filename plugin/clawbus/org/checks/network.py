"""The bus's addresses: with TLS whenever others than this machine reach it, and by a name that these know."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from clawbus.org.bus_config import EVERYWHERE, is_loopback
from clawbus.org.checks.draft import Draft, Entry
from clawbus.org.mistakes import Wrong

_ENCRYPTED = ("tls", "wss")
_OF_OURS = ("listen", "hosts", "join_port", "leaf_port")


def network(draft: Draft) -> Iterator[Wrong]:
    """Somebody else's server by an encrypted address; our own with a way in for those who are elsewhere."""
    bus = draft.top.table("bus")
    yield from _theirs(bus) if bus.text("url") else _ours(bus)
    if bus.text("url"):
        problem = "other machines are let in to a server of our own, and bus.url names another"
        remedy = "Remove one of them."
    elif is_loopback(bus.text("listen") or "localhost"):
        problem = "the bus listens on this machine alone: nobody elsewhere reaches it"
        remedy = 'Write under [bus]: listen = "ADDRESS OF THIS MACHINE".'
    else:
        return
    for gateway in draft.entries("gateways"):
        if gateway.values.get("elsewhere") is True:
            yield Wrong(gateway.at("elsewhere"), problem, remedy)


def _theirs(bus: Entry) -> Iterator[Wrong]:
    url = bus.text("url") or ""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port
    except ValueError:
        return  # the field's own check has found that
    if not is_loopback(parts.hostname or "") and parts.scheme not in _ENCRYPTED:
        where = f"{parts.hostname}:{port}" if port else parts.hostname
        yield Wrong(bus.at("url"), "not encrypted, and not on this machine", f'Write url = "tls://{where}".')
    for key in _OF_OURS:
        if key in bus.values:
            yield Wrong(bus.at(key), "is for a server of our own, and bus.url names another", "Remove one of them.")


def _ours(bus: Entry) -> Iterator[Wrong]:
    listen = bus.text("listen") or "localhost"
    if listen == EVERYWHERE and not bus.values.get("hosts"):
        yield Wrong(bus.at("hosts"), "missing", 'Say by which name others dial this machine: hosts = ["hub.example"].')
    if is_loopback(listen) and bus.values.get("hosts"):
        problem = "the bus listens on this machine alone: nobody dials it by these names"
        yield Wrong(bus.at("hosts"), problem, f'Add listen = "{EVERYWHERE}", or remove them.')
