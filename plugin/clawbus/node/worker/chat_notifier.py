"""Reaching a person over a chat channel of this gateway, when the steward asks for it.

The steward says whom and what; where that person is found stands in the org file, so that nobody on the bus can have
this gateway write to anybody else.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from clawbus.errors import GatewayAway, Refused, WireError
from clawbus.gateway import ChatChannel, GatewayRpc
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.chat_portions import portions
from clawbus.org import STEWARD, Org
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.sanitize import inert
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Subjects

log = logging.getLogger(__name__)
_AGAIN_S = 5.0
_GIVE_UP = timedelta(hours=1)
"""While the gateway, or its channel, is away: what is said later than that was to be read in the inbox by then."""


class ChatNotifier:
    """Says things to the people whose `channel` is one of this gateway's."""

    def __init__(self, rpc: GatewayRpc, outbox: Outbox, org: Org, gateway: str) -> None:
        self._speaking = ChatChannel(rpc)
        self._outbox = outbox
        self._subjects = Subjects(org.company)
        self._channels = {
            human.id: human.channel for human in org.humans if human.channel and human.channel.gateway == gateway
        }

    async def take(self, note: Envelope, agent: str) -> float:
        """Say what a control message asks for. Returns 0, or after how many seconds it has to come again."""
        try:
            said = read_object(note.body)
            person, text = str(said["person"]), inert(str(said["text"]))
            whole = str(said.get("whole") or f"clawbus inbox {person}")
        except (WireError, KeyError):
            return 0
        channel = self._channels.get(person) if note.sender == STEWARD else None
        if channel is None:
            log.warning("asked by %s to reach %r, who has no channel here", note.sender, person)
            return 0
        try:
            for number, portion in enumerate(portions(text, whole), 1):
                key = note.id if number == 1 else f"{note.id}-{number}"
                await self._speaking.say(agent, channel.channel, channel.to, portion, key)
        except (GatewayAway, Refused) as error:
            if isinstance(error, GatewayAway) and now() - note.created_at < _GIVE_UP:
                return _AGAIN_S
            log.error("%s cannot be reached over %s: %s", person, channel.channel, error.message)
            self._could_not(note, agent, person, f"{channel.channel}: {error.message}")
        return 0

    def _could_not(self, note: Envelope, agent: str, person: str, why: str) -> None:
        """Tell the person in the inbox, where the note lies anyway, why it came over no channel."""
        mail = Envelope(
            id=f"{agent}-{note.id}"[:128],
            type="message",
            sender=agent,
            to=person,
            task_id=note.task_id,
            subject="you could not be reached over your channel",
            body=f"{why}\nCorrect humans[{person}].channel in org.toml, or the gateway's channel.",
        )
        self._outbox.later(self._subjects.dm(person, agent), mail.id, mail.encode())
