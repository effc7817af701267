"""The checks of `clawbus doctor`: programs, bus, gateways, plugin, nodes. Each is tried, and none is guessed.

The doctor changes nothing, installs nothing and starts nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from clawbus.disk import FULL_BYTES, free_bytes, in_words, low_bytes
from clawbus.errors import ClawbusError
from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.setup.health import status_of
from clawbus.gateway.setup.installation import find
from clawbus.gateway.setup.nodejs import find_node
from clawbus.org import Gateway, Org
from clawbus.provision.server import find_server, greets
from clawbus.settings import Home
from clawbus.tasks.roster import Unwell, remedy
from clawbus.wire.sanitize import inert

_PLUGIN = "clawbus"
_RPC_S = 15.0
_SOCKET_S = 2.0
_NATS_PORT = 4222
_FILES, _DISK = "files", "disk"
_SECRET = ("keys/*", "authority/*", "tls/*", "nats/nats.conf", "gateways/*/token")
_FORBIDDEN, _NOT_TRIED = "forbidden calls", "not tried, since the bus does not answer"

ProbeBus = Callable[[], Awaitable[str]]
TryForbidden = Callable[[], Awaitable[dict[str, list[str]]]]
"""Returns key -> the forbidden calls that the server did not refuse."""
More = Callable[[], Awaitable[list["Check"]]]
TokenFile = Callable[[str], Path]
FindUnwell = Callable[[], Awaitable[dict[str, Unwell]]]
Place = tuple[str, Sequence[Gateway]]
"""The address of the bus for a machine, and the gateways on it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `ok` None: it could not be tried, such as when another check has failed."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


async def examine(
    org: Org | None,
    home: Home | None,
    token_file: TokenFile | None = None,
    probe_bus: ProbeBus | None = None,
    here: Place | None = None,
    try_forbidden: TryForbidden | None = None,
    more: More | None = None,
    find_unwell: FindUnwell | None = None,
) -> list[Check]:
    """Run all checks. Returns them in the order in which things build on each other.

    Without a company (`org` and `home` None) only this machine's programs are checked. `token_file`: the path of a
    gateway's token. `probe_bus`: asks JetStream; returns a line, or raises a ClawbusError. `here`: the part of the
    company on this machine, if that is not all of it. `try_forbidden`: makes calls that must be refused. `more`: more
    checks over a bus that is well. `find_unwell`: the agents whose turns fail before a model is asked.
    """
    checks = [_node(), await _openclaw(), _server(org)]
    if org is None or home is None:
        return checks
    url, gateways = here or (org.url, org.gateways)
    named = [human.webhook_file for human in org.humans] + [gateway.token_file for gateway in gateways]
    checks.append(_disk(home))
    checks += [_files(home, {home.root.parent / path for path in named if path})] if home.root.exists() else []
    checks.append(await _bus(org, url, probe_bus))
    well = checks[-1].ok
    if try_forbidden is not None:
        checks.append(await _forbidden(try_forbidden) if well else Check(_FORBIDDEN, None, _NOT_TRIED))
    if more is not None and well:
        checks += await more()
    tokens = token_file or (lambda gateway: home.root / "gateways" / gateway / "token")
    unwell = await _unwell(find_unwell) if well and find_unwell is not None else {}
    parts = await asyncio.gather(*(_gateway(org, home, gateway, tokens, unwell) for gateway in gateways))
    return checks + [check for part in parts for check in part]


def render(checks: list[Check], console: Console) -> None:
    """Print one line for each check: verdict, name, detail; and its remedy below. Lines wrap in any width."""
    for check in checks:
        mark, style = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("?", "yellow")}[check.ok]
        line = Text.assemble((mark, style), "  ", (inert(check.name), "bold"), "  ", inert(check.detail))
        console.print(line, soft_wrap=False)
        if check.remedy:
            console.print(Padding(Text(inert(check.remedy)), (0, 0, 0, 4)))


def _node() -> Check:
    try:
        node = find_node()
    except ClawbusError as error:
        return failed("Node.js", error)
    return Check("Node.js", True, f"{node.version}, {node.path}")


async def _openclaw() -> Check:
    notes: list[str] = []
    try:
        found = await find(False, notes.append)
    except ClawbusError as error:
        return failed("OpenClaw", error)
    return Check("OpenClaw", True, " ".join([f"{found.version}, {found.script}", *notes]))


def _server(org: Org | None) -> Check:
    try:
        found = find_server()
    except ClawbusError as error:
        if org is not None and org.bus.url:
            return Check("nats-server", None, f"{error.message}; not needed, since bus.url is set")
        return failed("nats-server", error)
    return Check("nats-server", True, f"{found.version}, {found.path}")


def _files(home: Home, named: set[Path]) -> Check:
    """Check that only their owner can read keys, tokens, the home, and the files that org.toml has `named`."""
    secret = [path for pattern in _SECRET for path in home.root.glob(pattern) if path.is_file()]
    loose: list[Path] = []
    for path in (home.root, *sorted(secret), *sorted(named.difference(secret))):
        with contextlib.suppress(OSError):  # the file does not exist, or not even its owner can read it
            loose += [path] if path.stat().st_mode & 0o077 else []
    if not loose:
        return Check(_FILES, True, f"only you can read {home.root}, and the secrets that org.toml names")
    names = ", ".join(str(path) for path in loose[:3]) + (f" and {len(loose) - 3} more" if loose[3:] else "")
    beside = [str(path) for path in loose if not path.is_relative_to(home.root)]
    remedies = [f"chmod -R go= {home.root}"] if len(beside) < len(loose) else []
    remedies += [f"chmod 600 {shlex.join(beside)}"] if beside else []
    return Check(_FILES, False, f"others than you can read {names}", " && ".join(remedies))


def _disk(home: Home) -> Check:
    free, low = free_bytes(home.root), low_bytes(home.root)
    if free is None:
        return Check(_DISK, None, f"the system does not tell how much is free for {home.root}")
    detail = f"{in_words(free)} free for {home.root}"
    if free >= low:
        return Check(_DISK, True, detail)
    what = "it is full, and nothing more is kept" if free < FULL_BYTES else "when it is full, nothing more is kept"
    remedy = "Free space there (`df -h` and `du` say what takes it). Nothing has to be started anew."
    return Check(_DISK, False, f"{detail}: {what}", remedy)


async def _bus(org: Org, address: str, probe_bus: ProbeBus | None) -> Check:
    name = f"bus {address}"
    try:
        url = urlsplit(address if "//" in address else f"//{address}")
        host, port = url.hostname or "127.0.0.1", url.port or _NATS_PORT
    except ValueError as error:
        return Check(name, False, f"not an URL: {error}", "Correct bus.url in org.toml.")
    if not await greets(host, port):
        remedy = "Start that server, or correct bus.url in org.toml." if org.bus.url else "Run `clawbus up`."
        return Check(name, False, "no nats-server greets there", remedy)
    if probe_bus is None:
        return Check(name, True, "nats-server greets")
    try:
        return Check(name, True, await probe_bus())
    except ClawbusError as error:
        return failed(name, error)


async def _forbidden(try_them: TryForbidden) -> Check:
    try:
        found = await try_them()
    except ClawbusError as error:
        return failed(_FORBIDDEN, error)
    if wrong := [f"{key} could {what}" for key, allowed in found.items() for what in allowed]:
        remedy = "Run `clawbus up`, which tells the server who may do what; one of yours has to include account.conf."
        return Check(_FORBIDDEN, False, f"not refused: {'; '.join(wrong)}", remedy)
    tried = "to speak as another, to read his mail, to throw tasks away"
    return Check(_FORBIDDEN, True, f"{', '.join(found)} tried {tried}: refused")


async def _unwell(find: FindUnwell) -> dict[str, Unwell]:
    with contextlib.suppress(ClawbusError):  # the bus has its own line
        return await find()
    return {}


async def _gateway(
    org: Org, home: Home, gateway: Gateway, token_file: TokenFile, unwell: dict[str, Unwell]
) -> list[Check]:
    if gateway.is_program:
        return [Check(f"program {gateway.id}", None, "a program of yours does its agents' tasks (docs/python.md)")]
    status = await status_of(gateway.port)
    token = token_file(gateway.id)
    sick = {agent.id: unwell[agent.id] for agent in org.agents_of(gateway.id) if agent.id in unwell}
    checks = [_failing(gateway, sick) if status == 200 and sick else _readiness(home, gateway, status)]
    if status is None:
        checks.append(Check(f"plugin in {gateway.id}", None, "not known while its gateway is down"))
    elif not token.exists():
        checks.append(_without_token(gateway, token))
    else:
        checks.append(await _plugin(org, gateway, token))
    return [*checks, await _socket(home, gateway)]


def _readiness(home: Home, gateway: Gateway, status: int | None) -> Check:
    name = f"gateway {gateway.id}"
    if status == 200:
        return Check(name, True, f"ready on port {gateway.port}")
    log = f"Its log: {home.root / 'gateways' / gateway.id / 'openclaw.log'}"
    mine = "Run `clawbus up`; if it runs, it is starting it again: look once more."
    start = mine if gateway.own else "Start it: `openclaw gateway run`, or its service."
    if status is None:
        return Check(name, False, f"nothing answers on port {gateway.port}", start)
    detail = f"answers {status} on port {gateway.port}: starting, draining or not well"
    return Check(name, False, detail, f"Wait a minute. {log if gateway.own else 'Run `openclaw status`.'}")


def _failing(gateway: Gateway, unwell: dict[str, Unwell]) -> Check:
    """The check of a gateway that answers, but fails each turn before a model is asked."""
    first = next(iter(unwell.values()))
    why = f": {inert(first.why, lines=False)}" if first.why else ""
    detail = f"it fails every turn of {', '.join(unwell)} before a model is asked{why}; their tasks wait"
    being_mended = "`clawbus up` is restarting it: look once more in a minute."
    return Check(f"gateway {gateway.id}", False, detail, remedy(gateway, first) if first.needs_person else being_mended)


def _without_token(gateway: Gateway, token: Path) -> Check:
    detail = f"there is no {token}: what answers on port {gateway.port} is not known to be this gateway"
    mine = (
        "Run `clawbus up` (anew, if it runs); if another company is there, give this gateway another port in org.toml."
    )
    theirs = f"Set token_file of this gateway in org.toml, or run `clawbus join --gateway {gateway.id}`."
    return Check(f"plugin in {gateway.id}", False, detail, mine if gateway.own else theirs)


async def _plugin(org: Org, gateway: Gateway, token_file: Path) -> Check:
    """Ask the running gateway for the tools of our plugin: its settings may name more than it has loaded."""
    name = f"plugin in {gateway.id}"
    agents = org.agents_of(gateway.id)
    if not agents:
        return Check(name, None, "it has no agent in org.toml")
    remedy = "Run `clawbus up`." if gateway.own else f"Run `clawbus join --gateway {gateway.id}`."
    try:
        catalog = await _ask(GatewayRpc(gateway.port, token_file), agents[0].id)
    except TimeoutError:
        again = "End `clawbus up`, start it again" if gateway.own else "Look at token_file, or start that gateway again"
        detail = f"what answers on port {gateway.port} lets nobody in with the token of {token_file}"
        return Check(name, False, detail, f"{again}: it reads its token when it starts.")
    except ClawbusError as error:
        return failed(name, error)
    groups = [group for group in catalog.get("groups", []) if group.get("pluginId") == _PLUGIN]
    tools = [str(tool.get("id")) for group in groups for tool in group.get("tools", [])]
    if not tools:
        return Check(name, False, "the gateway has no tool of it", remedy)
    return Check(name, True, f"{len(tools)} tools: {', '.join(sorted(tools))}")


async def _ask(rpc: GatewayRpc, agent: str) -> dict[str, Any]:
    """The tool catalogue of an agent. Raises TimeoutError, or a ClawbusError of the call."""
    async with asyncio.timeout(_RPC_S), rpc.running():
        await rpc.ready.wait()
        return await rpc.call("tools.catalog", {"agentId": agent})


async def _socket(home: Home, gateway: Gateway) -> Check:
    name = f"node of {gateway.id}"
    if not home.root.exists():
        return Check(name, False, f"there is no {home.root}: it has never run", "Run `clawbus up`.")
    path = home.socket(gateway.id)
    try:
        async with asyncio.timeout(_SOCKET_S):
            _, writer = await asyncio.open_unix_connection(str(path))
    except (OSError, TimeoutError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        remedy = f"Run `clawbus up`{'' if gateway.own else f', or `clawbus node --gateway {gateway.id}`'}."
        return Check(name, False, f"{path}: {why}", remedy)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Check(name, True, f"listens on {path}")


def failed(name: str, error: ClawbusError) -> Check:
    """The failed check that an error makes, with the error's remedy."""
    return Check(name, False, error.message, error.remedy)
