"""`nats_inbox`: an agent reads, acknowledges and answers its mail."""

from __future__ import annotations

from typing import Any

from clawbus.errors import InvalidInput
from clawbus.node.ledger import Ledger, Mail
from clawbus.node.mailbox import Inbox, Outbox
from clawbus.node.prompts import frames
from clawbus.node.tools.answer import Answer, Caller, where
from clawbus.node.tools.file_tools import FileTools
from clawbus.node.tools.params import NatsInbox
from clawbus.org import Org
from clawbus.org.addressing import subject_of
from clawbus.tasks.new_message import make_answer
from clawbus.wire.envelope import Envelope

_MAX_CHARS = 600_000


class InboxTool:
    """The inbox of whoever calls."""

    def __init__(self, org: Org, ledger: Ledger, outbox: Outbox, inbox: Inbox, file_tools: FileTools) -> None:
        self._org = org
        self._ledger = ledger
        self._outbox = outbox
        self._inbox = inbox
        self._file_tools = file_tools

    async def inbox(self, caller: Caller, asked: NatsInbox) -> Answer:
        if asked.action == "read":
            return await self._read(caller, asked.limit)
        mail = self._find(caller, asked.message_id or "")
        if asked.action == "ack":
            await self._inbox.acknowledge(mail)
            return Answer(True, f"message {mail.number} is done.", {"messageId": str(mail.number)})
        cause = self._ledger.cause(caller.session_key)
        reply = make_answer(self._org, caller.agent, mail.envelope, asked.message or "", cause)
        on_bus = await self._outbox.send(subject_of(self._org, reply), reply)
        self._resolved(mail.envelope, caller.agent)
        await self._inbox.acknowledge(mail)
        done = where(on_bus, f"answered {mail.envelope.sender}", self._outbox.away)
        return Answer(True, f"{done}, and message {mail.number} is done.", {"messageId": str(mail.number)})

    def _resolved(self, mail: Envelope, by: str) -> None:
        """An answer resolves a blocker: whoever follows it (its escalation) hears so under its thread."""
        if mail.type == "blocker" and mail.task_id:
            self._outbox.event("resolved", mail.task_id, by, to=mail.sender)

    async def _read(self, caller: Caller, limit: int) -> Answer:
        mails = [mail for mail in self._ledger.mail.waiting(caller.agent, limit + 1) if not self._awaited(mail)]
        if not mails:
            return Answer(True, "Your inbox is empty.", {"messages": []})
        shown = _fitting(mails[:limit])
        more = "\n\nThere are more: acknowledge these, then read again." if len(mails) > len(shown) else ""
        self._inbox.read(shown)
        files = await self._file_tools.received(caller, *(mail.envelope for mail in shown))
        text = "\n\n".join(frames.message(mail.envelope, str(mail.number), mail.channel) for mail in shown)
        return Answer(
            True,
            f"{text}{files}{more}\n\nWhen one is dealt with, acknowledge it (action ack) or answer it.",
            {"messages": [_mail_json(mail) for mail in shown]},
        )

    def _awaited(self, mail: Mail) -> bool:
        """True if it is the answer that a session waits for: read elsewhere it would never get there."""
        asked_for = mail.channel == "dm" and mail.asks == "now" and mail.envelope.type == "message"
        return asked_for and self._ledger.raised.awaited(mail.envelope.task_id or "", mail.agent)

    def _find(self, caller: Caller, number: str) -> Mail:
        """A message by its number. One that a turn was begun with can still be answered."""
        mail = self._ledger.mail.find(caller.agent, int(number)) if number.isdigit() and len(number) < 18 else None
        if mail is not None and self._awaited(mail):
            raise InvalidInput(
                "messageId", number, "a task of yours waits for it", "It is brought into the session of that task."
            )
        if mail is None or mail.state == "acked":
            raise InvalidInput(
                "messageId", number, "no such message in your inbox", "Read the inbox: each has its number."
            )
        return mail


def _fitting(mails: list[Mail]) -> list[Mail]:
    """As many of the first as one answer can hold; the first one always."""
    size, count = 0, 0
    for mail in mails:
        size += len(mail.envelope.body)
        if count and size > _MAX_CHARS:
            break
        count += 1
    return mails[:count]


def _mail_json(mail: Mail) -> dict[str, Any]:
    return {
        "messageId": str(mail.number),
        "from": mail.envelope.sender,
        "to": mail.envelope.to,
        "channel": mail.channel,
        "type": mail.envelope.type,
        "priority": mail.envelope.priority,
        "subject": mail.envelope.subject,
        "taskId": mail.envelope.task_id,
    }
