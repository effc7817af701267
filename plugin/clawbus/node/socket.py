"""The Unix socket (mode 600) on which the shim forwards tool calls: a line of JSON in, lines of JSON out.

    {"v":1,"tool":…,"params":{…},"agentId":…,"sessionKey":…,"workspace":…}  ->  {"ok":true,"text":…,"data":{…}}
    {"v":1,"hook":"before_tool_call","tool":…,"sessionKey":…}  ->  the same; ok says whether that tool may be called

One connection per call; when it closes early, the call is aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from clawbus.errors import Missing, WireError
from clawbus.node.tools.answer import Answer, Caller
from clawbus.wire.strict_json import read_object

log = logging.getLogger(__name__)
MAX_LINE_BYTES = 2 * 1024 * 1024

Handler = Callable[[Caller, str, object], Awaitable[Answer]]
Gate = Callable[[str, str], Awaitable[Answer]]
"""Called with a session and a tool."""
_HOOK = "before_tool_call"
_BACKLOG = 1024
"""Connections that wait to be accepted: one agent's burst of calls must not turn the others' away (asyncio: 100)."""


@contextlib.asynccontextmanager
async def listening(path: Path, agents: frozenset[str], handler: Handler, gate: Gate) -> AsyncIterator[None]:
    """Serve calls of `agents` on `path`. Raises Missing if another node lives there."""
    await _clear(path)
    old = os.umask(0o177)  # the socket is born with mode 600: no moment in which others may connect
    try:
        serve = _serve(agents, handler, gate)
        server = await asyncio.start_unix_server(serve, path, limit=MAX_LINE_BYTES, backlog=_BACKLOG)
    finally:
        os.umask(old)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _clear(path: Path) -> None:
    """Remove the socket that a killed node left; refuse if somebody answers on it."""
    if not path.exists():
        return
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        path.unlink(missing_ok=True)
        return
    writer.close()
    raise Missing(f"a node listens on {path} already", "One gateway has one node: stop the other one first.")


def _serve(
    agents: frozenset[str], handler: Handler, gate: Gate
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if not line.strip():
                return
            call = asyncio.create_task(_call(line, agents, handler, gate))
            hangup = asyncio.create_task(reader.read(1))
            await asyncio.wait({call, hangup}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                call.cancel()
                return
            hangup.cancel()
            await _hand_over(writer, call.result(), gone=hangup.done())
        except (OSError, ValueError) as error:
            log.info("socket: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return serve


async def _hand_over(writer: asyncio.StreamWriter, answer: Answer, gone: bool) -> None:
    """Write an answer, and say to whom it matters whether the gateway has taken it."""
    said = {"ok": answer.ok, "text": answer.text, "data": answer.data}
    arrived = False
    try:
        line = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if len(line) > MAX_LINE_BYTES:
            line = (
                json.dumps({"ok": False, "text": "the answer is too long for one call: ask for less at once"}).encode()
                + b"\n"
            )
        else:
            arrived = True
        writer.write(line)
        await writer.drain()
        arrived = arrived and not gone
    except OSError:
        arrived = False
    finally:
        if answer.handed_over is not None:
            await answer.handed_over(arrived)


def _is_of(caller: Caller) -> bool:
    """True if a session can be the caller's: `agent:<id>:…` names its agent, in whatever case OpenClaw reads it.

    What else OpenClaw calls a session, such as `global`, names none.
    """
    first, _, rest = caller.session_key.strip().casefold().partition(":")
    agent, colon, _ = rest.partition(":")
    return first.strip() != "agent" or bool(colon and agent == caller.agent)


async def _call(line: bytes, agents: frozenset[str], handler: Handler, gate: Gate) -> Answer:
    try:
        said = read_object(line)
        if said.get("hook") == _HOOK:  # of any session of the gateway: a sub-agent may run as another of its agents
            return await gate(str(said["sessionKey"]), str(said["tool"]))
        caller = Caller(str(said["agentId"]), str(said["sessionKey"]), str(said.get("workspace") or ""))
        tool, params = str(said["tool"]), said.get("params")
    except (WireError, KeyError) as error:
        return Answer(False, f"clawbus could not read the call ({error}). Nothing was sent.")
    if not _is_of(caller):
        return Answer(False, "that session is another agent's. Nothing was sent.")
    if caller.agent not in agents:
        return Answer(
            False,
            f"the agent {caller.agent[:80]!r} of this gateway is not in org.toml. Nothing was sent. "
            f"Ask the operator to add it; there are: {', '.join(sorted(agents))}.",
        )
    try:
        return await handler(caller, tool, params)
    except Exception:
        log.exception("tool %s failed", tool)
        return Answer(
            False,
            "clawbus has failed inside; the node's log has the reason. Look with nats_tasks before you try again.",
        )
