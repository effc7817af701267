"""The registrar: the process that hands out credentials, on the bus to whom it knows, at its door to the invited."""

from __future__ import annotations

import asyncio
import logging

from clawbus.client.company import Company
from clawbus.ops.enrol.join_server import JoinServer
from clawbus.ops.enrol.registrar_answers import Answers
from clawbus.provision.account_push import push
from clawbus.provision.permissions import PROVISIONER
from clawbus.provision.plan import publish_keys
from clawbus.provision.server_reload import reread
from clawbus.provision.tls import certificate_file, prepare

log = logging.getLogger(__name__)
_CERTIFICATE_S = 3600.0


class Registrar:
    """One per company is enough; two do no harm."""

    def __init__(self, company: Company) -> None:
        self._company = company

    async def run(self) -> None:
        """Until cancelled. Raises Refused if the server does not know the provisioner's key."""
        company = self._company
        async with company.connect(PROVISIONER, "registrar", wait_s=None) as bus:

            async def learned() -> None:
                now = Company.open(company.org_file)
                await publish_keys(bus, now.org, now.home)

            async def entered() -> None:
                now = Company.open(company.org_file)
                await push(now.home, now.org)  # who was there before is shut out
                await learned()

            parts = [Answers(company, bus, learned).run()]
            if company.org.bus.shared:
                parts += [JoinServer(company, entered).run(), self._keep_certificate()]
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(part)

    async def _keep_certificate(self) -> None:
        """The server's certificate is made anew before it ends, here or by an `invite` or `apply` that looks earlier.

        nats-server reads it without losing a connection.
        """
        home, told = self._company.home, ""
        while True:
            prepare(home, self._company.org)
            if (present := certificate_file(home).read_text()) != told and reread(home):
                told = present
                log.info("nats-server was told to read its certificate")
            await asyncio.sleep(_CERTIFICATE_S)
