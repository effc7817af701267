"""`clawbus node`: the process that `clawbus up` starts for each gateway."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import org_option, run_async, until_stopped

if TYPE_CHECKING:
    from clawbus.client.company import Company


@click.command()
@org_option
@click.option("--gateway", required=True, help="The gateway of org.toml that this node serves.")
@run_async
async def node_command(org_file: Path, gateway: str) -> int:
    """Serve one gateway on the bus, until stopped."""
    from clawbus.client.company import Company

    await until_stopped(_serve(Company.open(org_file), gateway))
    return 0


async def _serve(company: Company, gateway: str) -> None:
    from clawbus.gateway import GatewayRpc
    from clawbus.node import Node
    from clawbus.node.ledger import Ledger
    from clawbus.ops.up import GATEWAY
    from clawbus.ops.up.control_file import ask_restart
    from clawbus.tasks.halt import Halt

    entry = company.org.gateway(gateway)
    with Ledger(company.home.ledger(gateway)) as ledger:
        ledger.prune()
        async with company.connect(f"gw-{gateway}", f"node {gateway}", wait_s=None) as bus:
            halt = Halt(bus, company.org)
            rpc = GatewayRpc(entry.port, company.token_file(gateway), halt.check)
            restart = functools.partial(ask_restart, company.home, f"{GATEWAY}{gateway}") if entry.is_ours else None
            node = Node(company.org, gateway, bus, rpc, ledger, halt, restart)
            await node.run(company.home.socket(gateway))
