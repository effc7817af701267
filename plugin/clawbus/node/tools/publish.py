"""`nats_pub`: messages to one, to a team, to everyone, on a topic, and insights."""

from __future__ import annotations

from clawbus.errors import Refused
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Outbox, RateLimits
from clawbus.node.tools.answer import Answer, Caller, where
from clawbus.node.tools.file_tools import FileTools
from clawbus.node.tools.params import NatsPub
from clawbus.org import Org
from clawbus.org.addressing import LEARNING, channel_of, hearers, subject_of
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import raised_detail


class PubTool:
    """The words of an agent that waits for no answer."""

    def __init__(self, org: Org, ledger: Ledger, outbox: Outbox, file_tools: FileTools) -> None:
        self._org = org
        self._ledger = ledger
        self._outbox = outbox
        self._file_tools = file_tools
        self._pace = RateLimits(org.policies.mail_quota)

    async def pub(self, caller: Caller, asked: NatsPub) -> Answer:
        """Check it, send it, and say where it went. Raises InvalidInput, NotFound or Refused: then nothing was sent."""
        if (noted := await self._file_tools.of_own_task(caller, asked, self._pace)) is not None:
            return noted
        new = NewMessage(
            asked.to,
            asked.message,
            asked.type,
            asked.subject or "",
            asked.priority,
            asked.task_id,
            asked.deadline_minutes,
        )
        mail = make_message(self._org, caller.agent, new, self._ledger.cause(caller.session_key))
        is_topic = channel_of(self._org, mail.to) == "topics"  # their names are free, so they count together
        self._pace.check("messages", mail.sender, "topics" if is_topic else mail.to)
        if asked.artifacts:
            mail = mail.model_copy(update={"artifacts": await self._file_tools.put(caller, asked.artifacts)})
        on_bus = await self._send(mail, caller)
        text = f"{where(on_bus, 'sent', self._outbox.away)}: message {mail.id} to {self._named(mail)}."
        data = {"messageId": mail.id, "to": mail.to}
        if mail.type == "blocker":
            text += (
                f" reports_to is enforced: a blocker of yours goes to {mail.to}. Its answer comes to you as a message."
            )
        if mail.task_id and mail.task_id != asked.task_id:
            text += f" Its own id: {mail.task_id}."
            data["taskId"] = mail.task_id
        return Answer(True, text, data)

    async def _send(self, mail: Envelope, caller: Caller) -> bool:
        if mail.type == "blocker":
            with self._ledger.together():
                self._ledger.raised.add(mail.task_id or "", caller.agent, caller.session_key)
                out = self._outbox.keep(subject_of(self._org, mail), mail)
                self._outbox.event(
                    "raised", mail.task_id or "", caller.agent, **raised_detail(mail)
                )  # it may climb by this
            try:
                return await self._outbox.send_kept(out)
            except Refused:
                self._ledger.raised.give_up(mail.task_id or "", caller.agent)
                raise
        return await self._outbox.send(subject_of(self._org, mail), mail)

    def _named(self, mail: Envelope) -> str:
        """The recipient, and who of the company hears it now."""
        channel = channel_of(self._org, mail.to)
        if channel == "dm":
            return mail.to
        if channel == LEARNING:
            return "the company's learning"
        heard = [agent for agent in hearers(self._org, mail.to) if agent != mail.sender]
        name = {"all": "everyone", "team": f"the team {mail.to}", "topics": f"the topic {mail.to}"}[channel]
        return f"{name} (heard by {', '.join(heard) or 'nobody of the company now'})"
