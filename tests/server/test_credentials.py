"""Credentials on a real nats-server: short-lived, renewed before they end, revoked while in use, asked for in peace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.identity import Identity, load_or_create
from clawbus.bus.jwt import claims_of, encode, read_creds, write_creds
from clawbus.client.company import Company
from clawbus.errors import BusAway, Refused
from clawbus.ops.apply.apply import apply_bus, write_server_config
from clawbus.provision import server
from clawbus.provision.account_push import push
from clawbus.provision.accounts import credentials_subject
from clawbus.provision.authority import Authority
from clawbus.provision.credential_service import answer, renew
from clawbus.provision.credentials import credentials, mint
from clawbus.settings import Home
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.company import Live, duo_toml, until


def shorten(live: Live, key: str, life_s: int) -> None:
    """Give a key credentials that end soon."""
    me = live.company.identity(key)
    assert me.creds_file is not None
    write_creds(me.creds_file, mint(live.home, live.org, key, me.public_key, life_s), me.seed_file)


async def speak(live: Live, bus: Bus) -> None:
    """Publish something that only gw-lab may, and have it acknowledged."""
    subject = live.company.subjects.event(new_task_id(), "cto-athena")
    await bus.publish(subject, b"{}", msg_id=new_message_id("cto-athena"), timeout_s=2)


@contextlib.asynccontextmanager
async def lab(live: Live, renewed: bool) -> AsyncIterator[Bus]:
    """A connection of gw-lab with the credentials that lie there, renewed or not."""
    me = live.company.identity("gw-lab") if renewed else replace(load_or_create("gw-lab", live.home.key("gw-lab")))
    me = replace(me, creds_file=me.seed_file.with_suffix(".creds"), api="HUB")

    async def again(_: object) -> None:
        credentials(live.home, live.org, "gw-lab")

    async with Bus.connect(live.org.url, me, "test", 5.0, again if renewed else None) as bus:
        yield bus


async def test_credentials_are_renewed_before_they_end_and_nothing_is_noticed(bus_only: Live) -> None:
    """After their end the same connection still publishes: it was made anew at half of their life."""
    live = bus_only
    me = live.company.identity("gw-lab")
    assert me.creds_file is not None
    async with lab(live, renewed=False):
        pass
    first = mint(live.home, live.org, "gw-lab", me.public_key, 4)
    write_creds(me.creds_file, first, me.seed_file)
    back = asyncio.Event()

    async def again(_: object) -> None:
        write_creds(me.creds_file or Path(), mint(live.home, live.org, "gw-lab", me.public_key, 600), me.seed_file)

    async with Bus.connect(live.org.url, me, "test", 5.0, again) as bus:
        bus.on_reconnect.append(back.set)
        await asyncio.wait_for(back.wait(), 10)
        await until(lambda: _passed(claims_of(first)["exp"]), "the end of the first credentials", 10)
        await speak(live, bus)
        assert not bus.refused


async def _passed(at_s: float) -> bool:
    return time.time() > at_s + 0.5


async def test_expired_credentials_are_a_clear_state_and_no_hot_loop(bus_only: Live) -> None:
    """A reconnect every 5 s at most; with new credentials in the file it is back by itself, and hears as before."""
    live = bus_only
    live.company.identity("gw-lab")
    shorten(live, "gw-lab", 2)
    heard = asyncio.Event()
    async with lab(live, renewed=False) as bus:
        await bus.listen("acme.presence.ceo-genesis", lambda _: heard.set())
        await until(lambda: _is_refused(bus), "the refusal", 15)
        began, before = time.monotonic(), refusals(live)
        with pytest.raises(BusAway):
            await speak(live, bus)
        await until(lambda: _more(live, before + 1), "two more attempts", 30)
        assert (refusals(live) - before - 1) * 5 <= time.monotonic() - began + 0.5
        back = asyncio.Event()
        bus.on_reconnect.append(back.set)
        shorten(live, "gw-lab", 600)
        await asyncio.wait_for(back.wait(), 15)
        assert not bus.refused
        await speak(live, bus)
        async with live.company.connect("gw-hq") as other:
            await other.tell("acme.presence.ceo-genesis", b"{}")
            await asyncio.wait_for(heard.wait(), 5)  # what it had listened to, it listens to again


async def _is_refused(bus: Bus) -> bool:
    return bus.refused


def refusals(live: Live) -> int:
    log = server.log_file(live.home).read_text()
    return log.count("authentication error") + log.count("Authentication Expired")


async def _more(live: Live, than: int) -> bool:
    return refusals(live) > than


async def test_a_revoked_key_is_cut_off_at_once_and_stays_out(bus_only: Live) -> None:
    """The live connection is closed, a new one refused; credentials that are issued later count again."""
    live = bus_only
    async with lab(live, renewed=True) as bus:
        await speak(live, bus)
        Authority(live.home).revoke("AGENTS", bus.identity.public_key)
        old = read_creds(bus.identity.creds_file or Path())
        assert await push(live.home, live.org)
        await until(lambda: _is_refused(bus), "the refusal", 5)
        with pytest.raises(Refused, match="does not know the key"):
            async with lab(live, renewed=False):
                pass
        await until(lambda: _passed(claims_of(old)["iat"]), "the next second")
        async with live.company.connect("gw-lab") as again:  # issued anew: later than the revocation
            await speak(live, again)


async def test_an_agent_that_is_taken_from_a_gateway_is_no_longer_its_own(bus_only: Live) -> None:
    """Credentials that say more than org.toml are revoked by `apply`: a copy of them is of no use."""
    live = bus_only
    old = live.company.identity("gw-lab")
    stolen = live.home.dir("stolen") / "gw-lab.creds"
    write_creds(stolen, read_creds(old.creds_file or Path()), old.seed_file)
    text = live.org_file.read_text()
    live.org_file.write_text(text.replace('gateway = "lab"\n', 'gateway = "hq"\n'))
    await apply_bus(Company.open(live.org_file), {}, lambda _: None)
    with pytest.raises(Refused):
        async with Bus.connect(live.org.url, replace(old, creds_file=stolen), "thief"):
            pass
    async with Company.open(live.org_file).connect("gw-hq") as hq:
        await speak(live, hq)
    async with Company.open(live.org_file).connect("gw-lab") as bare:
        with pytest.raises(Refused, match="may not publish"):
            await speak(live, bare)


async def test_credentials_that_nobody_of_the_company_has_signed_are_refused(bus_only: Live) -> None:
    """Signed by the key itself, by another role's signer, or with more rights than the role has."""
    live = bus_only
    me = live.company.identity("gw-lab")
    authority = Authority(live.home)
    office = authority.key("HUB").public_key
    tags = ["agent:ceo-genesis", "agent:cto-athena"]
    more: dict[str, object] = {"pub": {"allow": [">"]}, "sub": {"allow": [">"]}, "subs": -1, "data": -1, "payload": -1}
    cases: list[tuple[dict[str, object], Identity]] = [
        ({"tags": tags, "issuer_account": authority.key("AGENTS").public_key}, me),
        ({"issuer_account": office}, authority.key("gateway")),
        ({"issuer_account": authority.key("AGENTS").public_key, **more}, authority.key("gateway")),
    ]
    for number, (nats, signer) in enumerate(cases):
        token = encode(me.public_key, "gw-lab", {"type": "user", "pub": {}, "sub": {}, **nats}, signer, iat=1)
        file = live.home.dir("forged") / f"{number}.creds"
        write_creds(file, token, me.seed_file)
        with pytest.raises(Refused):
            async with Bus.connect(live.org.url, replace(me, creds_file=file), "forger"):
                pass


def test_a_foreign_server_is_shown_no_credentials_of_the_own_one_before_it(tmp_path: Path) -> None:
    """It knows the company's nkeys by its configuration; with a JWT of ours it would let nobody in."""
    org_file = tmp_path / "org.toml"
    org_file.write_text(duo_toml([4222, 18901, 18902]))
    write_server_config(Company.open(org_file))
    assert Company.open(org_file).identity("me-owner").creds_file is not None
    org_file.write_text(duo_toml([4222, 18901, 18902]).replace("bus.port = 4222", 'bus.url = "nats://127.0.0.1:4222"'))
    assert Company.open(org_file).identity("me-owner").creds_file is None


async def test_another_machine_gets_its_credentials_over_the_bus(bus_only: Live, tmp_path: Path) -> None:
    """The seed stays where it is; the registrar answers with a JWT for the key that it knows, and for no other."""
    live = bus_only
    me = live.company.identity("gw-lab")
    there = Home(tmp_path / "there" / ".clawbus")
    for suffix in (".nk", ".creds"):
        target = there.dir("keys") / f"gw-lab{suffix}"
        target.write_bytes(live.home.key("gw-lab").with_suffix(suffix).read_bytes())
        target.chmod(0o600)
    first = read_creds(there.dir("keys") / "gw-lab.creds")
    async with live.company.connect("provisioner") as registrar:

        def give(message: object) -> None:
            said = answer(live.home, live.org, "gw-lab", message.data, me.public_key)  # type: ignore[attr-defined]
            tasks.append(asyncio.ensure_future(registrar.tell(message.reply, said)))  # type: ignore[attr-defined]

        tasks: list[asyncio.Future[None]] = []
        await registrar.listen(credentials_subject("acme", "*"), give)
        await registrar.flush()
        mine = credentials(there, live.org, "gw-lab")
        async with Bus.connect(live.org.url, mine, "there") as bus:
            await until(lambda: _passed(claims_of(first)["iat"] + 0.6), "the next second")
            await renew(there, live.org, "gw-lab", bus)
            assert read_creds(mine.creds_file or Path()) != first
            with pytest.raises(Refused, match="may not publish"):
                await renew(there, live.org, "gw-hq", bus)
        asked = answer(live.home, live.org, "gw-lab", b'{"key": "UOTHER"}', me.public_key)
        assert b"not the key" in asked
        assert b"not the key" in answer(live.home, live.org, "gw-lab", b'{"key": ""}', "")  # none is known
        assert not Authority(there).is_here
        with pytest.raises(BusAway, match="has not been started here"):
            credentials(there, live.org, "gw-hq")
