"""The files that came with a task, a result or a message: a reader is told where its copies lie."""

from __future__ import annotations

from clawbus.gateway import GatewayRpc
from clawbus.node.prompts import frames
from clawbus.tasks.artifacts import Placed, Shelf
from clawbus.wire.envelope import Envelope


class Attachments:
    """Puts files where the agents of one gateway find them, and says where."""

    def __init__(self, shelf: Shelf, rpc: GatewayRpc) -> None:
        self._shelf = shelf
        self._rpc = rpc

    async def of(self, agent: str, *mails: Envelope, key: str = "") -> str:
        """The lines to add to the text in which `agent` reads these, under `key`; empty where there are no files.

        Waits for the gateway, which knows where its agents read. Raises BusAway.
        """
        lines: list[str] = []
        if any(mail.artifacts for mail in mails):
            await self._rpc.ready.wait()
        for mail in mails:
            if mail.artifacts:
                placed = await self._shelf.place(agent, mail.task_id or mail.id, mail.artifacts)
                lines += [_line(file, mail.sender) for file in placed]
        return f"\n\n{frames.files(lines, key)}" if lines else ""


def _line(placed: Placed, sender: str) -> str:
    file = placed.artifact
    what = file.uri if file.uri is not None else f"{file.size_bytes} bytes, sha256 {file.sha256}"
    where = f"copy: {placed.path}" if placed.path is not None else f"no copy: {placed.note}"
    return f"{file.name} from {sender}: {what}; {where}"
