"""One connection to nats-server: connect, publish with an ack, ask the JetStream API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from clawbus.bus.connection import Connection
from clawbus.bus.credential_renewal import Renew, keep_fresh
from clawbus.bus.identity import Identity
from clawbus.bus.messages import ANSWER_S, NO_MESSAGE, NOT_WRITTEN, Ack, Stored, one_batch, stored_of, translate
from clawbus.bus.requests import Requests, Unanswered
from clawbus.bus.server_words import forbidden_subject
from clawbus.bus.signing import HEADER, Signer
from clawbus.bus.verifier import Verifier
from clawbus.disk import full
from clawbus.errors import BusAway, ClawbusError, NotKept, Refused
from clawbus.retry import retry
from clawbus.wire.channels import ART
from clawbus.wire.redaction import Leak, without_keys

log = logging.getLogger(__name__)

_BATCH = 500
_ALIVE_S = 1.0
_AGAIN_S = 0.3


class Bus:
    """A connection with a name and a key, which reconnects by itself. Use `Bus.connect` as a context manager."""

    def __init__(self, url: str, identity: Identity, label: str, ca_file: Path | None = None) -> None:
        self._connection = Connection(
            url, identity, label, ca_file, self._on_error, self._on_lost, self._on_reconnected
        )
        self._requests = Requests(self._connection, identity.name)
        self.identity = identity
        self.on_reconnect: list[Callable[[], None]] = []
        self.verifier = Verifier(self.last_message)
        self.signers: dict[str, Signer] = {}
        """By member: what is published under its name is signed with its key."""
        self.store: Path | None = None
        """The folder of the streams, if the server is the company's own, on this machine."""
        self.on_leak: Callable[[str, list[Leak]], Awaitable[None]] | None = None
        """Called with the subject and the keys that were found, before the message goes out."""

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        url: str,
        identity: Identity,
        label: str,
        wait_s: float | None = 5.0,
        renew: Renew | None = None,
        ca_file: Path | None = None,
    ) -> AsyncIterator[Bus]:
        """Connect as `identity`; the server's monitoring shows `label`.

        `wait_s` bounds the first connect; None: without end, since a node may start before its server.
        `renew` is called for new credentials before those of `identity` end.
        `ca_file`: the authority that must have issued the server's certificate; TLS comes first then. With a
        `tls://` address nothing is sent unencrypted in any case.
        Raises BusAway if nobody answers, Refused if the server does not know the key.
        """

        async def open_one() -> Bus:
            bus = cls(url, identity, label, ca_file)
            await bus._open(wait_s or 5.0)
            return bus

        bus: Bus = await retry(open_one, BusAway, _AGAIN_S, tries=None if wait_s is None else 1)
        renewing = asyncio.create_task(keep_fresh(bus, renew)) if renew is not None else None
        try:
            yield bus
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
            await bus._connection.close()

    async def _open(self, wait_s: float) -> None:
        connecting = asyncio.create_task(self._connection.open())
        refused = asyncio.create_task(self._connection.refused.wait())  # nats-py would go on trying
        try:
            await asyncio.wait({connecting, refused}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                return
        except (OSError, nats.errors.Error) as error:
            log.debug("bus: %s", error)
        finally:
            connecting.cancel()
            refused.cancel()
            await asyncio.gather(connecting, refused, return_exceptions=True)
        await self._connection.close()
        raise await self._connection.refusal()

    async def reconnect(self) -> None:
        """Reconnect with the credentials that lie in their file now. What is under way is tried again."""
        await self._connection.renew()

    @property
    def up(self) -> bool:
        """True while it is connected."""
        return self._connection.client.is_connected

    @property
    def refused(self) -> bool:
        """True while the server does not take our key or credentials; it is tried again every few seconds."""
        return self._connection.refused.is_set()

    @property
    def server_version(self) -> str:
        """Such as `2.15.1`."""
        text = str(self._connection.client.connected_server_version)  # nats-py gives it as a repr only
        return text.removeprefix("<nats server v").removesuffix(">")

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        msg_id: str,
        last_seq: tuple[str, int] | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Ack:
        """Publish into a stream and wait for its ack.

        `msg_id` becomes `Nats-Msg-Id`: within the stream's window the same id is stored once.
        `last_seq` is (filter, number): the message is stored only while the filter's last sequence is that number
        (0: there is none).
        Raises BusAway (no ack in time; it may be stored, so try again with the same id; DiskFull and NotKept say why),
        BacklogFull, EndConflict (the last sequence is another) or Refused.
        """
        if self.store is not None and (error := full(self.store, "nothing was sent")) is not None:
            raise error
        # Secret keys are taken out, but not of artifacts: their hash is their address (`artifacts.read_inside`).
        if subject.split(".")[1:2] != [ART.lower()]:
            data = await self._without_keys(subject, data)
        headers = {**(headers or {}), "Nats-Msg-Id": msg_id}
        if (signer := self.signers.get(subject.rpartition(".")[2])) is not None:
            headers[HEADER] = signer.header(subject, data, msg_id)
        if last_seq is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(last_seq[1])
            headers["Nats-Expected-Last-Subject-Sequence-Subject"] = last_seq[0]
        try:
            answer = await self._request(subject, data, headers, timeout_s)
        except Unanswered as error:
            raise await self._why_unanswered(error) from None
        if "error" in answer:
            raise self._error(answer["error"], subject)
        return Ack(int(answer["seq"]), bool(answer.get("duplicate")))

    async def _why_unanswered(self, error: BusAway) -> BusAway:
        """The error for a publish without an ack; `error` if nothing more is known."""
        # A server that cannot write a message to its disk does not answer that publish, but all other requests.
        unknown = "what was sent is not acknowledged"
        if self.store is not None and (disk := full(self.store, unknown)) is not None:
            return disk
        try:
            await self.flush(_ALIVE_S)
        except BusAway:
            return error
        if self.store is not None:
            remedy = "`clawbus up` starts it again as soon as it can write; `clawbus doctor` says which stream it is."
        else:
            remedy = "Look at the disk of its machine; a stream that it could not write is shut until it is restarted."
        return NotKept(f"{NotKept.why}: {unknown}", remedy)

    def _error(self, error: dict[str, Any], subject: str) -> ClawbusError:
        """Our error for one of the server. Where it could not write: that its disk is full."""
        if self.store is not None and int(error.get("err_code", 0)) in NOT_WRITTEN:
            return full(self.store, f"{subject} was not done") or translate(error, subject, own=True)
        return translate(error, subject, own=self.store is not None)

    async def _without_keys(self, subject: str, data: bytes) -> bytes:
        """The bytes that may go out. A key is replaced: a task's end that is refused would be tried for ever."""
        data, found = without_keys(data)
        for leak in found:
            what = "was taken out of" if leak.taken_out else "stands in"
            log.warning("a secret key (%s) %s what %s says on %s", leak.kind, what, subject.rpartition(".")[2], subject)
        if found and self.on_leak is not None:
            await self.on_leak(subject, found)
        return data

    async def api(self, method: str, body: dict[str, Any] | None = None, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Ask JetStream's API for `method`. Raises BusAway, or Refused with the server's `code` and words."""
        data = json.dumps(body).encode() if body is not None else b""
        answer = await self._request(f"{self.identity.api}.{method}", data, None, timeout_s)
        if "error" in answer:
            raise self._error(answer["error"], method)
        return answer

    async def ask(self, subject: str, data: bytes, timeout_s: float = ANSWER_S) -> bytes:
        """Send one request; return the bytes of its answer. Raises BusAway or Refused."""
        return (await self._requests.ask(subject, data, None, timeout_s)).data

    async def stored_singly(self, stream: str, pattern: str) -> list[Stored]:
        """As `stored`, but one request a message: for few messages, or for a key without the right to direct get."""
        found: list[Stored] = []
        while (stored := await self.next_message(stream, pattern, found[-1].seq + 1 if found else 1)) is not None:
            found.append(stored)
        return found

    async def next_message(self, stream: str, pattern: str, start_seq: int = 1) -> Stored | None:
        """The first stored message at or after `start_seq` that fits `pattern`; None if there is none.

        Raises BusAway, or Refused if there is no such stream.
        """
        return await self._stored_message(stream, {"seq": start_seq, "next_by_subj": pattern})

    async def last_message(self, stream: str, subject: str) -> Stored | None:
        """The newest stored message of a subject; None if there is none. Raises as `next_message`."""
        return await self._stored_message(stream, {"last_by_subj": subject})

    async def _stored_message(self, stream: str, request: dict[str, Any]) -> Stored | None:
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", request)
        except Refused as refusal:
            if refusal.code == NO_MESSAGE:
                return None
            raise
        return stored_of(answer["message"])

    async def stored(self, stream: str, pattern: str, start_seq: int = 1) -> list[Stored]:
        """All stored messages at or after `start_seq` that fit `pattern`. Raises BusAway.

        By batched direct get (nats-server ADR-31); the stream needs `allow_direct`.
        """
        found: list[Stored] = []
        answers: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = self.new_inbox()
        stop = await self.listen(inbox, answers.put_nowait)
        try:
            more = True
            while more:
                request = {"seq": start_seq, "next_by_subj": pattern, "batch": _BATCH}
                await self.tell(f"{self.identity.api}.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox)
                batch, more = await one_batch(answers)
                found += batch
                start_seq = found[-1].seq + 1 if found else start_seq
        finally:
            await stop()
        return found

    async def tell(self, subject: str, data: bytes = b"", reply: str = "") -> None:
        """Publish without an ack: presence, acks, pull requests. Raises BusAway while disconnected."""
        try:
            await self._connection.client.publish(subject, data, reply=reply)
        except (nats.errors.Error, OSError) as error:
            raise BusAway(f"the bus is away: {error}", "") from None

    async def listen(self, subject: str, callback: Callable[[Msg], None], lasting: bool = True) -> Callable[[], Any]:
        """Call `callback` for each message of a subject, in order. Returns the function that ends it.

        `lasting`: across all connections; else it ends when this one is lost. Raises BusAway.
        """

        async def deliver(message: Msg) -> None:
            callback(message)

        return await self._connection.listen(subject, deliver, lasting)

    def new_inbox(self) -> str:
        """A subject for answers that nobody else may hear."""
        return str(self._connection.client.new_inbox())

    async def flush(self, timeout_s: float = ANSWER_S) -> None:
        """Wait until the server has read all that was sent. Raises BusAway."""
        try:
            await self._connection.client.flush(max(1, round(timeout_s)))
        except (TimeoutError, nats.errors.Error, OSError):
            raise BusAway("the nats-server does not answer", "Look at `clawbus doctor`.") from None

    async def ack(self, ack_subject: str) -> None:
        """Say that a message is done with: it leaves a work queue. Raises BusAway unless the server confirms it."""
        await self._request(ack_subject, b"+ACK", None, ANSWER_S, parse=False)

    async def nak(self, ack_subject: str, delay_s: float = 0.0) -> None:
        """Give a message back: it is handed out again after `delay_s`."""
        nak = b"-NAK" + (json.dumps({"delay": round(delay_s * 1e9)}).encode() if delay_s else b"")
        await self.tell(ack_subject, nak)

    async def renew(self, ack_subject: str) -> None:
        """Renew the lease of a message that is being worked on."""
        await self.tell(ack_subject, b"+WPI")

    async def term(self, ack_subject: str, reason: str) -> None:
        """Have a message never handed out again. Its advisory has the reason (nats-server ADR-15, since 2.11)."""
        await self.tell(ack_subject, f"+TERM {reason}".encode())

    async def _request(
        self, subject: str, data: bytes, headers: dict[str, str] | None, timeout_s: float, parse: bool = True
    ) -> dict[str, Any]:
        answer = await self._requests.ask(subject, data, headers, timeout_s)
        return json.loads(answer.data) if parse else {}

    def _on_error(self, text: str) -> None:
        if (subject := forbidden_subject(text)) is not None:
            self._requests.forbid(subject)
        else:
            log.info("bus: %s", text)

    def _on_lost(self) -> None:
        self._requests.drop()

    def _on_reconnected(self) -> None:
        for wake in list(self.on_reconnect):
            wake()
