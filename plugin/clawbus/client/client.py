"""A person's connection, for programs: tasks given without a model in the middle, and their results."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from clawbus.bus import Bus, Received, fetch_now, person_reader
from clawbus.client.company import Company, who_is_online
from clawbus.client.person import Person
from clawbus.client.result_cleanup import ResultCleanup
from clawbus.client.validation import check_member, mail_envelope, task_envelope
from clawbus.client.values import Message, Result, Task, message_of, result_of, task_of, unreadable
from clawbus.errors import Away, BacklogFull, BusAway, InvalidInput, NotFound, WireError
from clawbus.retry import pause, retry
from clawbus.tasks import NewTask, TaskView
from clawbus.tasks.artifacts import Placed, Shelf, Store
from clawbus.tasks.budget import read_budget, within
from clawbus.tasks.new_message import NewMessage
from clawbus.wire.channels import EVENTS, INBOX
from clawbus.wire.envelope import Envelope, Priority, Type
from clawbus.wire.subjects import given_id, task_id_of

_SOON_S = 0.01
_LOOK_S = 1.0
_AWAY_S = 0.25
T = TypeVar("T")


@contextlib.asynccontextmanager
async def connect(
    org_file: str | Path = "org.toml", person: str | None = None, patience_s: float = 30.0
) -> AsyncIterator[Client]:
    """Connect to a company's bus as one of its people: the first of org.toml, unless `person` says who.

    The key is read from `.clawbus/keys` beside the file. `patience_s`: how long what is given or sent waits for a bus
    that is away before it raises Away; to wait for a result has no bound but its own. Raises NotFound, InvalidInput,
    Away (no server answers), Refused (the server does not know the key).
    """
    company = Company.open(Path(org_file))
    async with company.connect_person(person) as (bus, me):
        client = Client(company, bus, me, patience_s)
        result_cleanup = asyncio.create_task(client.result_cleanup.run())
        try:
            yield client
        finally:
            result_cleanup.cancel()
            await asyncio.gather(result_cleanup, return_exceptions=True)
            await client.result_cleanup.finish()


class Client:
    """A person's connection. Get one from `connect`. Its methods may run side by side."""

    def __init__(self, company: Company, bus: Bus, me: str, patience_s: float) -> None:
        self._company = company
        self._bus = bus
        self._person = Person(company, bus, me)
        self._queues: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self.result_cleanup = ResultCleanup(self._person)
        self._patience_s = patience_s
        self.me = me

    async def start(  # noqa: PLR0913 - each is a word of the task
        self,
        to: str,
        text: str,
        *,
        label: str = "",
        priority: Priority = "medium",
        run_timeout_s: int | None = None,
        then: str | None = None,
        budget: str = "",
        key: str | None = None,
        room_s: float | None = 0.0,
    ) -> Task:
        """Give a task to an agent, a pool or a team. When this returns, the server has it on disk.

        `then`: the agent that takes over when it is done, along an edge of org.toml; its result comes into the inbox.
        `budget`: what it and all that is given because of it may use, such as "turns=20"; at most what org.toml allows.
        `key`: any text of yours that names this piece of work. The same key is the same task, however often it is
        started, also by a program that was killed and begins again. `room_s`: how long to wait while the receiver has
        as many tasks of this person as policies.quota allows; None waits without end.
        Raises InvalidInput, NotFound, BacklogFull, Refused, Away.
        """
        allowed = within(self._company.org, read_budget("budget", budget))
        new = NewTask(to, text, label, priority, run_timeout_s, budget=allowed)
        return await self.give(task_envelope(self._company.org, self.me, new, then), key, room_s)

    async def give(self, envelope: Envelope, key: str | None = None, room_s: float | None = 0.0) -> Task:
        """As `start`, for a task of `make_task`."""
        if key is not None:
            envelope = self._named(envelope, key)
            if await self._patiently(lambda: self._given_before(envelope)):
                return task_of(envelope)
        async with self._queues[envelope.to, envelope.priority]:
            await self._give(envelope, room_s)
        return task_of(envelope)

    def _named(self, envelope: Envelope, key: str) -> Envelope:
        """The envelope with the ids of a key: the same for this person each time. Nobody else can guess them."""
        secret = self._bus.identity.seed_file.read_bytes()
        digest = hmac.digest(secret, f"{self.me}\n{key}".encode(), hashlib.sha256)
        task_id = given_id(self.me, seed := task_id_of(digest))
        ids = {"task_id": task_id, "seed": seed, "trace_id": task_id, "id": f"{self.me}-{digest[16:].hex()}"}
        return envelope.model_copy(update=ids)

    async def _given_before(self, envelope: Envelope) -> bool:
        """True if the bus has that task. Its streams remember longer than the server knows a message by its id."""
        task_id = envelope.task_id or ""
        said = await self._bus.next_message(EVENTS, self._company.subjects.event(task_id, self.me))
        with contextlib.suppress(WireError):
            if said is not None and await self._bus.verifier.event(self._company.subjects, said):
                return True
        return await self._company.ends(self._bus).read(task_id, self.me, envelope.to) is not None

    async def _give(self, envelope: Envelope, room_s: float | None) -> None:
        deadline, heard = time.monotonic() + (room_s or 0.0), self._person.following.any_end
        pause_s = _LOOK_S
        while True:
            try:
                await self._patiently(lambda: self._person.give(envelope))
                break
            except BacklogFull:
                if room_s is not None and time.monotonic() >= deadline:
                    raise
            await self._patiently(self._person.following.listen)
            heard.clear()
            await pause(heard, pause_s)  # an end is heard a moment before it makes room
            pause_s = _SOON_S if heard.is_set() else min(2 * pause_s, _LOOK_S)

    async def wait(self, task: Task, timeout_s: float | None = None) -> Result:
        """Wait for a task's end, whatever it is. Raises Away after `timeout_s`: the task goes on."""
        try:
            async with asyncio.timeout(timeout_s):
                end = await self._person.wait(task.id, task.requester, task.to)
        except TimeoutError:
            later = f"It goes on. Its result: clawbus task result {task.id}"
            raise Away(f"task {task.id} at {task.to} has not ended within {timeout_s:g} s", later) from None
        if task.requester == self.me:
            self.result_cleanup.handed_over(task.id)
        return result_of(end)

    async def wait_all(self, tasks: Iterable[Task], timeout_s: float | None = None) -> list[Result]:
        """Wait for several; the results stand in the order of the tasks. Raises Away after `timeout_s`."""
        return list(await asyncio.gather(*(self.wait(task, timeout_s) for task in tasks)))

    async def ask(self, to: str, text: str, *, priority: Priority = "medium", timeout_s: float | None = None) -> Result:
        """Give a task and wait for its result."""
        return await self.wait(await self.start(to, text, priority=priority), timeout_s)

    async def cancel(self, task_id: str) -> tuple[bool, Result]:
        """End a task as cancelled, unless it has ended. Returns True if this call ended it, and its one end."""
        won, end = await self._person.cancel(await self.look(task_id))
        return won, result_of(end)

    async def steer(self, task_id: str, text: str) -> str | None:
        """Say something to a task that waits or runs. Returns None if it was sent, else the reason why not."""
        return await self._person.steer(await self.look(task_id), text)

    async def result(self, task_id: str) -> Result | None:
        """The end of a task, or None while it has none. Raises NotFound."""
        view = await self.look(task_id)
        end = await self._company.ends(self._bus).read(view.task_id, view.requester, view.to)
        if end is not None and view.requester == self.me:
            self.result_cleanup.handed_over(view.task_id)
        return None if end is None else result_of(end)

    async def files(self, task_id: str, folder: str | Path) -> list[Placed]:
        """Copy the files of a task's result into `folder`/bus/<task>, each checked by its hash; none while it runs."""
        view = await self.look(task_id)
        end = await self._company.ends(self._bus).read(view.task_id, view.requester, view.to)
        (target := Path(folder)).mkdir(parents=True, exist_ok=True)

        async def there(_reader: str) -> Path:
            return target

        shelf = Shelf(Store(self._bus, self._company.subjects), there, target)
        return await shelf.place(self.me, view.task_id, end.envelope.artifacts if end is not None else ())

    async def tasks(self) -> list[TaskView]:
        """All tasks of the company that are remembered, the oldest first."""
        return await self._company.history(self._bus).tasks()

    async def offline(self) -> frozenset[str]:
        """The agents that cannot do tasks now: their gateway or program is away."""
        roster = await who_is_online(self._bus, self._company, self.me)
        return frozenset(agent.id for agent in self._company.org.agents if not roster.online(agent.id))

    async def look(self, task_id: str) -> TaskView:
        """The view of a task, by its id or the beginning of it. Raises NotFound, InvalidInput if several fit."""
        if len(task_id) == 26:
            return await self._company.history(self._bus).task(task_id)
        fitting = [view for view in await self.tasks() if view.task_id.startswith(task_id)]
        if len(fitting) > 1:
            raise InvalidInput("ID", task_id, f"{len(fitting)} tasks begin so", "Write more of it.")
        if not fitting:
            raise NotFound(f"no task begins with {task_id}", "List them with `clawbus tasks`.")
        return fitting[0]

    async def send(
        self,
        to: str,
        text: str,
        *,
        type: Type = "message",  # noqa: A002 - the word of the envelope
        subject: str = "",
        priority: Priority = "medium",
        about: str | None = None,
    ) -> str:
        """Send a message to an agent, a person, a team, "all" or a topic such as "topic:status.deploy"; returns its id.

        `about`: the task, the thread or the insight that it belongs to. Raises InvalidInput, NotFound, Refused, Away.
        """
        mail = mail_envelope(self._company.org, self.me, NewMessage(to, text, type, subject, priority, about))
        await self.post(mail)
        return mail.id

    async def post(self, mail: Envelope) -> None:
        """As `send`, for a message of `make_message`."""
        await self._patiently(lambda: self._person.send(mail))

    async def inbox(self, who: str | None = None, limit: int = 50) -> list[Message]:
        """The messages that wait for `who`: this person, unless said. They stay in the inbox. Raises NotFound."""
        owned = self._company.subjects.dm_for(check_member(self._company.org, who or self.me))
        return [await self._message(stored.seq, stored) for stored in (await self._bus.stored(INBOX, owned))[:limit]]

    async def read(self, limit: int = 50) -> list[Message]:
        """Take messages out of this person's inbox, the oldest first: they are gone from it then."""
        found = []
        for delivery in await fetch_now(self._bus, INBOX, person_reader(self.me), limit):
            found.append(await self._message(delivery.stream_seq, delivery))
            await self._bus.ack(delivery.ack_subject)
        return found

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try it again while the bus is away: each message keeps its id, so that the server stores it once."""
        return await retry(call, BusAway, _AWAY_S, within_s=self._patience_s)

    async def _message(self, number: int, received: Received) -> Message:
        try:
            return message_of(number, await self._bus.verifier.envelope(self._company.subjects, received))
        except WireError as error:
            return unreadable(number, str(error))
