"""Requests that end as soon as it is known that no answer will come; nats-py waits until the timeout.

A request dies with its connection. A publish that the server forbids is reported as an error of the connection, and
not as an answer. Both end the request at once: an outbox must not sleep through a restart of the server, and must not
take a forbidden message for a bus that is away.
"""

from __future__ import annotations

import asyncio

import nats.errors
from nats.aio.msg import Msg

from clawbus.bus.connection import Connection
from clawbus.errors import BusAway, ClawbusError, Forbidden, Refused


class Unanswered(BusAway):
    """No answer came in time, over a connection that was not lost. The caller may find out why."""


class Requests:
    """The requests over one connection, with the key `name`."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._asking: dict[asyncio.Task[Msg], str] = {}
        self._forbidden: set[asyncio.Task[Msg]] = set()

    async def ask(self, subject: str, data: bytes, headers: dict[str, str] | None, timeout_s: float) -> Msg:
        """Send one request; return its answer.

        Raises BusAway (Unanswered: no answer within `timeout_s`; else the connection is lost) or Refused.
        """
        asking = asyncio.create_task(self._connection.client.request(subject, data, timeout=timeout_s, headers=headers))
        self._asking[asking] = subject
        before = _cancellations()
        try:
            answer = await asking
        except asyncio.CancelledError:
            if (asyncio.current_task() or asking).cancelling():
                raise
            raise self._reason(asking, subject) from None
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise self._translate(error, subject, len(data), timeout_s) from None
        else:
            if _cancellations() > before:  # nats-py's wait_for got its answer at that moment, and swallowed it
                raise asyncio.CancelledError
            return answer
        finally:
            self._asking.pop(asking, None)
            self._forbidden.discard(asking)

    def _translate(self, error: Exception, subject: str, size_bytes: int, timeout_s: float) -> ClawbusError:
        """Our error for one of nats-py."""
        if isinstance(error, nats.errors.MaxPayloadError):
            most = self._connection.client.max_payload
            problem = f"{size_bytes} bytes are more than the nats-server takes in one message: {most}"
            remedy = "Send it as a file, which travels in parts; max_payload of that server has to be 2MB or more."
            return Refused(problem, remedy)
        if isinstance(error, nats.errors.NoRespondersError):
            problem = f"nobody on the nats-server answers {subject}: its streams are missing, or not ready yet"
            return BusAway(problem, "It is tried again. If it stays so, run `clawbus doctor`.")
        if isinstance(error, TimeoutError):
            return Unanswered(f"the bus did not answer within {timeout_s:g} s", "It will be tried again.")
        return BusAway(f"the bus did not answer: {type(error).__name__}", "It will be tried again.")

    def _reason(self, asking: asyncio.Task[Msg], subject: str) -> BusAway | Refused:
        if asking in self._forbidden:
            remedy = "If org.toml was changed, run `clawbus up` again."
            return Forbidden(f"the key of {self._name} may not publish {subject}", remedy)
        return BusAway("the bus was lost before it answered", "It will be tried again.")

    def forbid(self, subject: str) -> None:
        """End the requests of a subject: the server has said that it may not be published."""
        for asking, asked in list(self._asking.items()):
            if asked.lower() == subject.lower():  # nats-py gives errors in lower case
                self._forbidden.add(asking)
                asking.cancel()

    def drop(self) -> None:
        """End all requests: the connection is lost, and each answer with it."""
        for asking in list(self._asking):
            asking.cancel()


def _cancellations() -> int:
    """The number of times that the running task has been cancelled."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
