"""A person's chat channel, on a real gateway: its RPC is called, and where it has no such channel the person hears why."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.org import STEWARD
from tests.company import duo_toml, free_ports, live
from tests.server.office import mail_of, steward

pytestmark = pytest.mark.gateway
CHANNEL = '[[humans]]\nid = "boss"\nchannel = {gateway = "lab", channel = "telegram", to = "@boss"}\n'


@pytest.mark.timeout(300)
async def test_a_channel_that_the_gateway_does_not_have_is_told_to_the_person(
    tmp_path: Path, claw: OpenClaw, model: ScriptedModel
) -> None:
    """No chat account can be tried here. The gateway's refusal is what shows that it was asked for this channel."""
    toml = duo_toml(free_ports(3)) + CHANNEL
    async with live(tmp_path, claw, model.url, toml) as company, steward(company) as one:
        await company.start("gateway-lab", "node-lab")
        await one.context.reach("boss", "the pipe has burst", cause=("test",), subject="water")
        first = await mail_of(company, "boss", sender=STEWARD)
        assert first.body == "the pipe has burst"
        why = await mail_of(company, "boss", sender="cto-athena")
        assert why.subject == "you could not be reached over your channel"
        assert "telegram: the gateway refused send" in why.body
        print(why.body)
