"""The health of a gateway: GET /readyz, which needs no token (OpenClaw docs/gateway/health)."""

from __future__ import annotations

import asyncio
import contextlib

from clawbus.errors import GatewayAway

_POLL_S = 0.25
_ANSWER_S = 5.0


async def status_of(port: int, path: str = "/readyz") -> int | None:
    """The HTTP status of GET on the loopback: 200 ready, 503 starting or draining; None if nobody answers."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await _get(port, path)
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


async def wait_ready(port: int, timeout_s: float) -> None:
    """Wait until the gateway on that port is ready. Raises GatewayAway after `timeout_s`."""
    status: int | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while (status := await status_of(port)) != 200:  # noqa: ASYNC110 - another process: no event to wait for
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        did = "did not answer" if status is None else f"answered {status}"
        raise GatewayAway(f"the gateway on port {port} was not ready within {timeout_s:g} s: it {did}") from None


async def _get(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        return int(line.split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
