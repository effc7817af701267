"""Turns for mail while people have paused some of a gateway's agents: what waits for these keeps nobody else's place."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clawbus.client.halt import order
from clawbus.gateway import GatewayRpc
from clawbus.node import Node
from clawbus.node.ledger import Ledger
from clawbus.tasks.halt import Halt
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import new_message_id
from tests.company import free_ports, live, until

TOML = """
company = "acme"
bus.port = {}
[[gateways]]
id = "hq"
port = {}
[[agents]]
id = "ceo"
gateway = "hq"
[[agents]]
id = "dev"
gateway = "hq"
[[agents]]
id = "ops"
gateway = "hq"
[[humans]]
id = "owner"
"""


async def test_n7_mail_that_waits_for_paused_agents_keeps_no_place_from_others(tmp_path: Path) -> None:
    """Two were about to be shown their mail when the gateway was lost, and are paused before it is back."""
    async with live(tmp_path, None, toml=TOML.format(*free_ports(2))) as company, company.owner() as owner:
        with Ledger(company.home.ledger("hq")) as ledger:
            async with company.company.connect("gw-hq") as bus:
                halt = Halt(bus, company.org)
                rpc = GatewayRpc(company.org.gateway("hq").port, tmp_path / "none", halt.check)
                rpc.ready.set()  # no gateway is there: each call ends as one that was lost in that moment
                node = Node(company.org, "hq", bus, rpc, ledger, halt)

                def comes(agent: str, seq: int) -> None:
                    said = {"id": new_message_id("owner"), "type": "message", "from": "owner", "to": agent, "body": "x"}
                    ledger.mail.add(Envelope.model_validate(said), agent, seq, asks="now")
                    node.mail_turns.look()

                def due() -> set[str]:
                    return {wake.agent for wake in ledger.wakes.unfinished()}

                async def in_hand() -> bool:
                    return due() == {"dev", "ops"}

                async def barred() -> bool:
                    return node.halt.barred(node.agents) == {"dev", "ops"}

                async def its_turn() -> bool:
                    return "ceo" in due()

                running = [asyncio.create_task(part) for part in (node.halt.run(), node.mail_turns.run())]
                comes("dev", 1)
                comes("ops", 2)
                await until(in_hand, "both to have a place", 10)
                for agent in ("dev", "ops"):
                    await order(owner, company.company, "owner", agent, "paused")
                await until(barred, "both to be paused", 10)
                comes("ceo", 3)
                await until(its_turn, "a place for the third", 20)
                assert due() == {"ceo", "dev", "ops"}
                for part in running:
                    part.cancel()
                await asyncio.gather(*running, return_exceptions=True)
