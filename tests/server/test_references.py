"""Credentials are named by the file that holds them, and are in no message."""

from __future__ import annotations

import json
from pathlib import Path

from clawbus.bus.jwt import read_creds
from clawbus.gateway.setup import managed_gateway as own
from clawbus.org import Gateway, Human, Org
from clawbus.provision.streams import stream_configs
from clawbus.tasks import NewTask
from tests.company import Live
from tests.server.office import events_of, give, office, steward, work

_SECRET = ("token", "secret", "password", "seed", "key", "credential", "webhook")


async def test_k8_what_a_gateway_is_started_with_names_its_token_and_does_not_hold_it(bus_only: Live) -> None:
    """OpenClaw reads the token in its file (a SecretRef); neither its settings nor its environment have it."""
    live = bus_only
    mine = own.write_settings(live.home, live.org, "hq", live.home.dir("plugin"), "http://127.0.0.1:1")
    token, text = mine.token_file.read_text().strip(), mine.config.read_text()
    settings = json.loads(text)
    reference = settings["gateway"]["auth"]["token"]
    assert settings["secrets"]["providers"][reference["provider"]]["path"] == str(mine.token_file)
    assert token not in text
    assert token not in str(own.environment(mine))


def test_k8_the_org_file_has_no_place_for_a_secret() -> None:
    """What is one is named by its file; so org.toml can be shown, kept in git, and sent to a machine that joins."""
    for part in (Org, Gateway, Human):
        for name in part.model_fields:
            assert name.endswith("_file") or not any(word in name for word in _SECRET), name


async def test_k8_no_credential_is_in_a_message(tmp_path: Path) -> None:
    """Of all that the streams hold after a task's life: no seed, no JWT, no token."""
    async with office(tmp_path) as company:
        async with steward(company):
            task = await give(company, NewTask("cto", "count"))
            await work(company)
            await events_of(company, task.task_id or "", "accepted")
        keys = company.home.dir("keys")
        secrets = [path.read_text().strip() for path in keys.glob("*.nk")]
        secrets += [read_creds(path) for path in keys.glob("*.creds")]
        secrets += [path.read_text().strip() for path in company.home.dir("authority").glob("*.nk")]
        assert len(secrets) > 15
        count = 0
        async with company.owner() as bus:
            for stream in stream_configs(company.org):
                for one in await bus.stored(stream["name"], ">"):
                    said = f"{one.subject} {one.headers} {one.data.decode('utf-8', 'replace')}"
                    assert not [secret for secret in secrets if secret in said], one.subject
                    count += 1
        assert count > 5
