"""A node that kills itself (SIGKILL) at one named step, the first time that a task comes to it. For tests only.

python -m tests.dying_node STEP --org FILE --gateway ID
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from clawbus.client.company import Company
from clawbus.gateway import GatewayRpc
from clawbus.node import Node
from clawbus.node.ledger import Ledger
from clawbus.tasks.halt import Halt


async def main(step: str, org_file: str, gateway: str) -> None:
    company = Company.open(Path(org_file))

    async def at(_task_id: str, name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    with Ledger(company.home.ledger(gateway)) as ledger:
        async with company.connect(f"gw-{gateway}", "dying", wait_s=None) as bus:
            halt = Halt(bus, company.org)
            rpc = GatewayRpc(company.org.gateway(gateway).port, company.token_file(gateway), halt.check)
            node = Node(company.org, gateway, bus, rpc, ledger, halt, probe=at)
            await node.run(company.home.socket(gateway))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[3], sys.argv[5]))
