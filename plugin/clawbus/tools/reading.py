"""`nats_inbox`: an agent reads, acknowledges and answers its mail."""

from __future__ import annotations

from typing import Any

from clawbus import frames
from clawbus.envelope import Envelope
from clawbus.errors import InvalidInput
from clawbus.ledger import Ledger, Mail
from clawbus.mailbox import Outbox, Reader
from clawbus.subjects import Subjects, new_message_id
from clawbus.tools.calls import Answer, Caller
from clawbus.tools.models import NatsInbox

_MAX_CHARS = 600_000


class InboxTool:
    """The inbox of whoever calls."""

    def __init__(self, subjects: Subjects, ledger: Ledger, outbox: Outbox, reader: Reader) -> None:
        self._subjects = subjects
        self._ledger = ledger
        self._outbox = outbox
        self._reader = reader

    async def inbox(self, caller: Caller, asked: NatsInbox) -> Answer:
        if asked.action == "read":
            return self._read(caller, asked.limit)
        mail = self._find(caller, asked.message_id or "")
        if asked.action == "answer":
            to, me = mail.envelope.sender, caller.agent
            reply = Envelope(
                id=new_message_id(me),
                type="message",
                sender=me,
                to=to,
                task_id=mail.envelope.task_id,
                parent=mail.envelope.id,
                subject=f"Re: {mail.envelope.subject}"[:200],
                body=asked.message or "",
            )
            await self._outbox.send(self._subjects.dm(to, me), reply)
        await self._reader.acknowledge(mail)
        done = f"answered {mail.envelope.sender}, and" if asked.action == "answer" else ""
        return Answer(True, f"{done} message {mail.seq} is done.".strip(), {"messageId": str(mail.seq)})

    def _read(self, caller: Caller, limit: int) -> Answer:
        mails = self._ledger.mail.waiting(caller.agent, limit + 1)
        if not mails:
            return Answer(True, "Your inbox is empty.", {"messages": []})
        shown = _fitting(mails[:limit])
        more = "\n\nThere are more: acknowledge these, then read again." if len(mails) > len(shown) else ""
        for mail in shown:
            if mail.state == "unread":
                self._ledger.mail.mark(mail, "read")
        text = "\n\n".join(frames.message(mail.envelope, str(mail.seq)) for mail in shown)
        return Answer(
            True,
            f"{text}{more}\n\nWhen one is dealt with, acknowledge it (action ack) or answer it.",
            {"messages": [_mail_json(mail) for mail in shown]},
        )

    def _find(self, caller: Caller, number: str) -> Mail:
        mail = self._ledger.mail.find(caller.agent, int(number)) if number.isdigit() and len(number) < 18 else None
        if mail is None or mail.state == "acked":
            raise InvalidInput(
                "messageId", number, "no such message in your inbox", "Read the inbox: each has its number."
            )
        return mail


def _fitting(mails: list[Mail]) -> list[Mail]:
    """As many of the oldest as one answer can hold; the first one always."""
    size, count = 0, 0
    for mail in mails:
        size += len(mail.envelope.body)
        if count and size > _MAX_CHARS:
            break
        count += 1
    return mails[:count]


def _mail_json(mail: Mail) -> dict[str, Any]:
    return {
        "messageId": str(mail.seq),
        "from": mail.envelope.sender,
        "type": mail.envelope.type,
        "taskId": mail.envelope.task_id,
    }
