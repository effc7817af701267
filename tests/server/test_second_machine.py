"""Row N12: one line lets a second machine in, over TLS and not without; the machines are network namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from clawbus.bus.identity import load_or_create
from clawbus.client.company import Company
from clawbus.errors import Away, BusAway, ClawbusError, Refused
from clawbus.ops.enrol import protocol
from clawbus.ops.enrol.invite_code import Code, parse
from clawbus.ops.enrol.invites import MOST_WRONG, Invites
from clawbus.ops.enrol.join_client import enter
from clawbus.ops.enrol.join_server import JoinServer
from clawbus.org.bus_config import EVERYWHERE
from clawbus.provision import ca, tls
from clawbus.provision import joined_machine as here
from clawbus.provision import remote_keys as elsewhere
from clawbus.settings import Home, write_secret
from tests.command import clawbus, refused
from tests.company import free_ports, until
from tests.netns import Machine, Wire, two_machines
from tests.up import Up

CLAWBUS = [sys.executable, "-m", "clawbus"]
WITHIN_S = 60.0
NOBODY = "192.0.2.1"  # kept for documents (RFC 5737): no machine has it
ROOT = Path(__file__).parents[2]
_PYTHON = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def org_toml(address: str, more: str = "") -> str:
    return f"""\
company = "acme"
[bus]
listen = "{address}"
[[gateways]]
id = "hq"
kind = "program"
[[gateways]]
id = "lab"
kind = "program"
elsewhere = true
[[agents]]
id = "ceo"
gateway = "hq"
[[agents]]
id = "cto"
reports_to = "ceo"
gateway = "lab"
{more}"""


class Place:
    """A folder on one machine, and the processes that were started there."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        folder.mkdir()
        self.machine, self.folder = machine, folder
        self.home = Home(folder / ".clawbus")
        self.log = folder / "out.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def clawbus(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(*CLAWBUS, *args, cwd=self.folder, timeout_s=2 * WITHIN_S)

    def start(self, *command: str) -> None:
        with self.log.open("ab") as log:
            self.processes.append(self.machine.start(*command, log=log, cwd=self.folder, env=_PYTHON))

    def end(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)

    def up(self) -> None:
        self.start(*CLAWBUS, "up")

    def program(self, gateway: str) -> None:
        self.start(sys.executable, "-m", "tests.program", "--org", "org.toml", "--gateway", gateway)

    async def says(self, text: str, timeout_s: float = WITHIN_S) -> None:
        async def look() -> bool:
            said = text in self.log.read_text()
            assert said or self.processes[-1].poll() is None, self.log.read_text()
            return said

        await until(look, f"{text!r} in {self.log}", timeout_s)

    def files(self) -> dict[str, str]:
        """Every file of the company there, by name."""
        found = [path for path in self.home.root.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.home.root)): path.read_text("utf-8", errors="replace") for path in found}


@pytest.fixture
def cable() -> Iterator[Wire]:
    with two_machines() as made:
        yield made


@pytest.fixture
async def hub(cable: Wire, tmp_path: Path) -> AsyncIterator[Place]:
    """The company's own machine with `clawbus up`, on its address in the network."""
    place = Place(cable.hub, tmp_path / "hub")
    (place.folder / "org.toml").write_text(org_toml(cable.hub.address))
    place.up()
    try:
        await place.says("acme is up on tls://")
        yield place
    finally:
        place.end()


@pytest.fixture
def there(cable: Wire, tmp_path: Path) -> Iterator[Place]:
    """An empty folder on the other machine."""
    place = Place(cable.other, tmp_path / "there")
    yield place
    place.end()


def invited(hub: Place) -> str:
    done = hub.clawbus("invite", "cto")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout.strip()


@pytest.mark.timeout(180)
async def test_n12_one_line_joins_a_second_machine(hub: Place, there: Place, cable: Wire, tmp_path: Path) -> None:
    """Its private keys are made there and stay there; a task goes there and comes back; the code is good once."""
    line = invited(hub)
    joined = there.clawbus("join", line)
    assert joined.returncode == 0, joined.stdout + joined.stderr
    assert "This machine is the home of cto now, in acme on tls://" in joined.stdout
    assert "your program, which serves lab" in joined.stdout

    keys = there.home.root / "keys"
    assert {path.name for path in keys.glob("*.nk")} == {"gw-lab.nk", "agent-cto.nk"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in there.home.root.rglob("*") if path.is_file()} == {0o600}
    seeds = [path.read_text().strip() for path in keys.glob("*.nk")]
    assert not [name for name, text in hub.files().items() for seed in seeds if seed in text]
    assert not [name for name in hub.files() if name.startswith(("keys/gw-lab.nk", "keys/agent-cto.nk"))]

    there.program("lab")
    done = await asyncio.to_thread(hub.clawbus, "ask", "cto", "hello over there")
    assert done.returncode == 0, done.stdout + done.stderr + there.log.read_text()
    assert "hello over there (attempt 1)" in done.stdout

    another = Place(cable.other, tmp_path / "another")
    again = another.clawbus("join", line)
    assert again.returncode in (5, 6), again.stdout + again.stderr
    assert [path.name for path in another.folder.iterdir()] == []
    people = there.clawbus("tasks")
    assert people.returncode == 4, people.stdout + people.stderr
    assert "no key of me-owner on this machine" in people.stderr


@pytest.mark.timeout(180)
async def test_n12_nothing_goes_over_the_network_without_tls(
    hub: Place, there: Place, cable: Wire, tmp_path: Path
) -> None:
    """A plain client is hung up on; one that does not trust the company's authority gets nowhere; one that does is in."""
    plain = cable.other.run(sys.executable, "-c", PLAIN, cable.hub.address, timeout_s=30)
    assert plain.stdout.startswith("INFO "), plain.stdout + plain.stderr
    assert plain.stdout.rstrip().endswith("then b''"), plain.stdout
    assert there.clawbus("join", invited(hub)).returncode == 0
    assert await admitted(there) == "in"
    mine, company = here.read(there.home), (there.home.root / "tls" / "ca.pem").read_text()
    assert mine is not None
    (there.home.root / "tls" / "ca.pem").write_text(ca.authority(tmp_path / "another.pem", "acme").pem)
    assert await admitted(there) == "BusAway"
    (there.home.root / "tls" / "ca.pem").write_text(company)
    here.write(there.home, mine.model_copy(update={"url": mine.url.replace("tls://", "nats://")}))
    assert (
        await admitted(there) == "in"
    )  # the authority is known, so TLS it is: the word in the address makes no difference


@pytest.mark.timeout(120)
async def test_a_client_that_is_slow_to_begin_is_let_in(tmp_path: Path) -> None:
    """A busy machine takes its time between the call and its first word; and who waits for the greeting gets it."""
    ports = free_ports(3)
    bus = f"[bus]\nport = {ports[0]}\njoin_port = {ports[1]}\nleaf_port = {ports[2]}\n"
    text = org_toml(EVERYWHERE).replace("[bus]\n", f'{bus}hosts = ["127.0.0.1"]\n')
    up = Up(tmp_path, text)
    try:
        await up.ready()
        trusting = ssl.create_default_context(cafile=tls.ca_file(up.live.home))
        with socket.create_connection(("127.0.0.1", ports[0]), 5) as wire_, contextlib.ExitStack() as stack:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.3)  # the time it takes
            secured = stack.enter_context(trusting.wrap_socket(wire_, server_hostname="127.0.0.1"))
            assert (await asyncio.to_thread(secured.recv, 5)) == b"INFO "
        with socket.create_connection(("127.0.0.1", ports[0]), 5) as waiting:
            assert (await asyncio.to_thread(waiting.recv, 5)) == b"INFO "
    finally:
        up.end()


PLAIN = """
import socket, sys
wire = socket.create_connection((sys.argv[1], 4222), 5)
greeting = wire.recv(4096).decode()
wire.sendall(b'CONNECT {"verbose":true}\\r\\nPING\\r\\n')
print(greeting.split(chr(13))[0], "then", wire.recv(4096))
"""


async def admitted(there: Place) -> str:
    """What becomes of a connection from that machine with its gateway's key: "in", or the error's name."""
    code = (
        "import asyncio, pathlib\nfrom clawbus.client.company import Company\nfrom clawbus.errors import ClawbusError\n"
        "async def main():\n"
        "    async with Company.open(pathlib.Path('org.toml')).connect('gw-lab') as bus:\n"
        "        await bus.flush()\n"
        "try:\n    asyncio.run(main())\n    print('in')\nexcept ClawbusError as error:\n    print(type(error).__name__)"
    )
    done = await asyncio.to_thread(there.machine.run, sys.executable, "-c", code, cwd=there.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.timeout(180)
async def test_a_changed_org_reaches_the_second_machine(hub: Place, there: Place, cable: Wire, tmp_path: Path) -> None:
    """A new agent there gets its key there, and is let speak; who is not elsewhere any more is shut out."""
    assert there.clawbus("join", invited(hub)).returncode == 0
    there.up()
    await there.says("acme is up on tls://")
    more = '[[agents]]\nid = "aide"\nreports_to = "cto"\ngateway = "lab"\n'
    (hub.folder / "org.toml").write_text(org_toml(cable.hub.address, more))
    applied = await asyncio.to_thread(hub.clawbus, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr

    async def known() -> bool:
        return "keys/agent-aide.pub" in hub.files() and "aide" in (there.folder / "org.toml").read_text()

    await until(known, "the new agent's key on the company's own machine", WITHIN_S)
    assert "keys/agent-aide.nk" in there.files()
    assert "keys/agent-aide.nk" not in hub.files()
    there.program("lab")
    done = await asyncio.to_thread(hub.clawbus, "ask", "aide", "hello, you are new")
    assert "hello, you are new (attempt 1)" in done.stdout, done.stdout + done.stderr + there.log.read_text()

    (hub.folder / "org.toml").write_text(org_toml(cable.hub.address, more).replace("elsewhere = true\n", ""))
    applied = await asyncio.to_thread(hub.clawbus, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "gw-lab is shut out" in applied.stdout
    assert await admitted(there) == "Refused"
    looked = await asyncio.to_thread(there.clawbus, "doctor", "--json")
    assert "This machine was shut out" in looked.stdout, looked.stdout + looked.stderr


@pytest.mark.timeout(180)
async def test_a_second_machine_renews_its_credentials(hub: Place, there: Place) -> None:
    """The registrar answers it over the bus: what lives ten seconds is new before that, and work goes on."""
    (hub.folder / "org.toml").write_text(
        (hub.folder / "org.toml").read_text().replace("[bus]", '[bus]\ncredentials = "10s"')
    )
    joined = there.machine.run(*CLAWBUS, "join", "-", cwd=there.folder, stdin=f"{invited(hub)}\n")
    assert joined.returncode == 0, joined.stderr
    there.program("lab")
    creds = there.home.root / "keys" / "gw-lab.creds"
    first = creds.read_text()

    async def renewed() -> bool:
        return creds.read_text() != first

    await until(renewed, "new credentials", 30)
    done = await asyncio.to_thread(hub.clawbus, "ask", "cto", "still there?")
    assert "still there? (attempt 1)" in done.stdout, done.stdout + done.stderr + there.log.read_text()


# -- what `clawbus invite` refuses, before anything is opened ------------------------------------------------------------


def test_an_invite_names_what_is_missing(tmp_path: Path) -> None:
    """The line to add, the agents to name, the host that is known, and the `up` that does not run."""
    more = '[[agents]]\nid = "aide"\ngateway = "lab"\n'
    port = free_ports(1)[0]
    (tmp_path / "org.toml").write_text(org_toml(NOBODY, more).replace("[bus]", f"[bus]\nport = {port}"))
    refused(
        clawbus("invite", "ceo", folder=tmp_path), 6, "gateway hq is on this machine", "elsewhere = true", 'id = "hq"'
    )
    refused(clawbus("invite", "cto", folder=tmp_path), 2, "gateway lab moves as a whole, and has also aide")
    refused(clawbus("invite", "nobody", folder=tmp_path), 4, "nobody", "ceo, cto, aide")
    refused(clawbus("invite", "cto", "aide", "--host", "other.example", folder=tmp_path), 2, "--host", NOBODY)
    refused(clawbus("invite", "cto", "aide", folder=tmp_path), 5, "nobody listens", "clawbus up")
    assert not Invites(Home.beside(tmp_path / "org.toml")).opened()
    refused(clawbus("join", "clawbus1:AAAA", folder=tmp_path), 2, "CODE", "Copy the line whole")


def test_up_says_that_the_port_for_leaves_is_taken(tmp_path: Path) -> None:
    """Two companies of one machine have the same one, unless they say otherwise."""
    ports = free_ports(3)
    bus = f"[bus]\nport = {ports[0]}\njoin_port = {ports[1]}\nleaf_port = {ports[2]}\n"
    text = org_toml(EVERYWHERE).replace("[bus]\n", f'{bus}hosts = ["127.0.0.1"]\n')
    (tmp_path / "org.toml").write_text(text)
    with socket.socket() as taken:
        taken.bind((EVERYWHERE, ports[2]))
        taken.listen(1)
        refused(clawbus("up", folder=tmp_path), 3, f"bus.leaf_port = {ports[2]}", "in use")


def test_up_says_that_the_address_is_not_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "org.toml").write_text(org_toml(NOBODY))
    refused(clawbus("up", folder=tmp_path), 3, f"bus.listen = {NOBODY}: this machine cannot listen there", EVERYWHERE)


async def test_an_invite_is_not_printed_while_another_program_has_the_port(tmp_path: Path) -> None:
    """Somebody takes the call there, and is not the registrar: the code would lead to him."""
    async with door(tmp_path / "hub") as (company, code):
        pass
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((EVERYWHERE, code.port))
        taken.listen(1)
        run = await asyncio.to_thread(clawbus, "invite", "cto", "--org", str(tmp_path / "hub" / "org.toml"))
        refused(run, 5, f"nobody listens for the other machine on {code.url}: the port is in use by", "join_port")
    assert not Invites(company.home).opened()


# -- the conversation itself, on the loopback: the same classes, the same sockets ---------------------------------------


async def nothing() -> None: ...


@contextlib.asynccontextmanager
async def door(
    folder: Path, on_entered: Callable[[], Awaitable[None]] = nothing
) -> AsyncIterator[tuple[Company, Code]]:
    """An open door, and a code for it."""
    port = free_ports(1)[0]
    folder.mkdir()
    (folder / "org.toml").write_text(
        f'company = "acme"\n[bus]\nport = {port}\nlisten = "0.0.0.0"\nhosts = ["127.0.0.1"]\n'
        '[[gateways]]\nid = "lab"\nkind = "program"\nelsewhere = true\n'
        '[[agents]]\nid = "cto"\ngateway = "lab"\n'
    )
    company = Company.open(folder / "org.toml")
    invites = Invites(company.home)
    secret, expires = invites.open(["lab"])
    serving = asyncio.create_task(JoinServer(company, on_entered).run())
    try:
        code = Code(url=f"127.0.0.1:{port + 1}", pin="0" * 64, secret=secret, expires=int(expires), gateways=("lab",), company="acme")  # fmt: skip
        await until(lambda: listening(code), "the door", 10)
        yield company, code.model_copy(update={"pin": ca.pin_of(tls.ca_file(company.home).read_text())})
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def nothing_in(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


async def test_who_guesses_closes_the_invite_and_gets_nothing(tmp_path: Path) -> None:
    """Five wrong secrets, and the right one does not count any more either."""
    async with door(tmp_path / "hub") as (company, code):
        wrong = code.model_copy(update={"secret": "B" * 22})
        for _ in range(MOST_WRONG):
            with pytest.raises(Refused, match="the code is not right"):
                await enter(wrong, tmp_path / "there" / "org.toml")
        assert not Invites(company.home).opened()
        with pytest.raises(ClawbusError):
            await enter(code, tmp_path / "there" / "org.toml")
        assert nothing_in(tmp_path / "there")
        assert not list(company.home.dir("keys").iterdir())


async def test_an_invite_to_what_lives_here_by_now_takes_no_key_away(tmp_path: Path) -> None:
    """The gateway was taken home while its invite was open: its own key stays, and the code brings nothing."""
    async with door(tmp_path / "hub") as (company, code):
        text = company.org_file.read_text()
        company.org_file.write_text(text.replace("elsewhere = true\n", ""))
        key = load_or_create("gw-lab", company.home.key("gw-lab")).public_key
        with pytest.raises(Refused, match="not elsewhere any more"):
            await enter(code, tmp_path / "there" / "org.toml")
        assert load_or_create("gw-lab", company.home.key("gw-lab")).public_key == key
        assert nothing_in(tmp_path / "there")


async def test_who_is_taken_home_during_the_conversation_is_not_let_in(tmp_path: Path) -> None:
    """`apply` has shut the gateway out between the offer and the keys: by the org.toml of then it would be let in."""
    async with door(tmp_path / "hub") as (company, code):
        trusting = ssl.create_default_context(cadata=tls.ca_file(company.home).read_text())
        reader, writer = await asyncio.open_connection(code.host, code.port, ssl=trusting)
        await protocol.receive(reader, protocol.Certificate)
        await protocol.send(writer, protocol.Claim(secret=code.secret))
        await protocol.receive(reader, protocol.Offer)
        company.org_file.write_text(company.org_file.read_text().replace("elsewhere = true\n", ""))
        keys = {name: load_or_create(name, tmp_path / f"{name}.nk").public_key for name in ("gw-lab", "agent-cto")}
        await protocol.send(writer, protocol.PublicKeys(keys=keys))
        with pytest.raises(Refused, match="not elsewhere any more"):
            await protocol.receive(reader, protocol.Credentials)
        writer.close()
        assert elsewhere.public_key(company.home, "gw-lab") is None


async def test_an_org_toml_with_a_mark_before_its_first_letter_is_offered_without(tmp_path: Path) -> None:
    async with door(tmp_path / "hub") as (company, code):
        text = company.org_file.read_text()
        company.org_file.write_text("\ufeff" + text)
        (tmp_path / "there").mkdir()
        await enter(code, tmp_path / "there" / "org.toml")
        assert (tmp_path / "there" / "org.toml").read_text() == text


async def test_with_another_pin_nothing_is_sent(tmp_path: Path) -> None:
    """The machine that calls hangs up before it has said its secret: no try is counted."""
    async with door(tmp_path / "hub") as (company, code):
        with pytest.raises(Refused, match="another authority than the code pins"):
            await enter(code.model_copy(update={"pin": "0" * 64}), tmp_path / "there" / "org.toml")
        assert [invite.wrong for invite in Invites(company.home).opened()] == [0]
        assert nothing_in(tmp_path / "there")


async def test_who_shows_the_right_authority_without_its_certificate_hears_no_secret(tmp_path: Path) -> None:
    """The authority's certificate is no secret; who sits in between can show it, and cannot prove to be its server."""
    heard: list[bytes] = []
    ours, theirs = (ca.authority(tmp_path / f"{name}.pem", "acme") for name in ("ours", "theirs"))
    ca.certify(tmp_path / "server.pem", theirs, ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await protocol.send(writer, protocol.Certificate(ca=ours.pem))
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    code = Code(url=f"127.0.0.1:{port}", pin=ca.pin_of(ours.pem), secret="A" * 22, expires=0, gateways=("lab",), company="acme")  # fmt: skip
    async with server:
        with pytest.raises(Refused, match="does not prove who it is"):
            await enter(code, tmp_path / "there" / "org.toml")
    assert b"".join(heard) == b""
    assert nothing_in(tmp_path / "there")


@pytest.mark.parametrize(
    "line", [b"", b"x" * (2 << 20), b"[]\n", b'{"v":2}\n', b'{"secret":17}\n', b"\xff\n", b"[" * 9000 + b"\n"]
)
async def test_what_a_stranger_says_at_the_door_ends_his_visit_only(tmp_path: Path, line: bytes) -> None:
    """Nonsense is refused or hung up on; the invite stays open, and who has the code gets in."""
    async with door(tmp_path / "hub") as (company, code):
        trusting = ssl.create_default_context(cadata=tls.ca_file(company.home).read_text())
        reader, writer = await asyncio.open_connection(code.host, code.port, ssl=trusting)
        await reader.readline()
        writer.write(line)
        if not line:
            writer.close()
        with contextlib.suppress(OSError):
            answer = await asyncio.wait_for(reader.read(), 15)
            assert not answer or "error" in json.loads(answer)
        assert [invite.wrong for invite in Invites(company.home).opened()] == [0]
        (tmp_path / "there").mkdir()
        await enter(code, tmp_path / "there" / "org.toml")
        assert here.read(Home(tmp_path / "there" / ".clawbus")) is not None
        assert not Invites(company.home).opened()


async def test_a_folder_that_has_a_company_is_left_alone(tmp_path: Path) -> None:
    async with door(tmp_path / "hub") as (company, code):
        before = company.org_file.read_bytes()
        with pytest.raises(Refused, match="already"):
            await enter(code, company.org_file)
        assert company.org_file.read_bytes() == before
        assert Invites(company.home).opened()


# -- cut off in the middle, and again ------------------------------------------------------------------------------------


async def test_n12_the_bus_is_away_for_a_moment_and_the_same_line_goes_on(tmp_path: Path) -> None:
    """The machine hears that it may say it again, and does; its keys are those of before; nobody else gets in with it."""
    told: list[str] = []

    async def tell() -> None:
        told.append("")
        if len(told) == 1:
            raise BusAway("the bus did not answer", "")

    async with door(tmp_path / "hub", tell) as (company, code):
        with pytest.raises(Away, match="the bus did not answer") as caught:
            await enter(code, tmp_path / "there" / "org.toml")
        assert "Say the same line again in this folder" in caught.value.remedy
        first = elsewhere.public_key(company.home, "gw-lab")
        with pytest.raises(Refused, match="is being used by another machine"):
            await enter(code, tmp_path / "another" / "org.toml")
        assert nothing_in(tmp_path / "another")
        await enter(code, tmp_path / "there" / "org.toml")
        assert len(told) == 2
        came(tmp_path / "there")
        assert elsewhere.public_key(company.home, "gw-lab") == first
        assert not Invites(company.home).opened()
        with pytest.raises(Refused, match="by this very code already"):
            await enter(code, tmp_path / "there" / "org.toml")


async def test_n12_a_machine_that_is_stopped_in_the_middle_goes_on_with_the_same_line(tmp_path: Path) -> None:
    """Ctrl-C after its keys are known there, and the registrar ends, too: its grant never came."""
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    async with door(tmp_path / "hub", hang) as (company, code):
        entering = asyncio.create_task(enter(code, tmp_path / "there" / "org.toml"))
        await entered.wait()
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
    assert not (tmp_path / "there" / "org.toml").exists()
    second = asyncio.create_task(JoinServer(company, nothing).run())
    try:
        await until(lambda: listening(code), "the door", 10)
        await enter(code, tmp_path / "there" / "org.toml")
    finally:
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    came(tmp_path / "there")
    mine = load_or_create("gw-lab", tmp_path / "there" / ".clawbus" / "keys" / "gw-lab.nk").public_key
    assert elsewhere.public_key(company.home, "gw-lab") == mine


async def test_a_machine_that_is_killed_between_its_last_two_writes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is there, and org.toml is not; without it nothing of clawbus would start there."""

    class Killed(BaseException): ...

    def die(path: Path, text: str) -> None:
        if path.name == "org.toml":
            raise Killed
        write_secret(path, text)

    async with door(tmp_path / "hub") as (company, code):
        with monkeypatch.context() as patch:
            patch.setattr("clawbus.ops.enrol.staging.write_secret", die)
            with pytest.raises(Killed):
                await enter(code, tmp_path / "there" / "org.toml")
        assert (tmp_path / "there" / ".clawbus").exists()
        await enter(code, tmp_path / "there" / "org.toml")
        came(tmp_path / "there")
        assert not Invites(company.home).opened()


async def test_two_joins_in_one_folder_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """The second one is refused at once, with whatever code; the first one comes in."""
    entered, go = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await go.wait()

    async with door(tmp_path / "hub", wait) as (company, code):
        first = asyncio.create_task(enter(code, tmp_path / "there" / "org.toml"))
        await entered.wait()
        for secret in (code.secret, "B" * 22):
            with pytest.raises(Refused, match="another `clawbus join` is under way"):
                await enter(code.model_copy(update={"secret": secret}), tmp_path / "there" / "org.toml")
        go.set()
        await first
        came(tmp_path / "there")
        assert not Invites(company.home).opened()


async def test_what_was_begun_with_an_older_line_does_not_hinder_a_new_one(tmp_path: Path) -> None:
    """The line ran out meanwhile: a new one in the same folder begins with new keys, and nothing is left of the old."""
    failing = True

    async def tell() -> None:
        if failing:
            raise BusAway("the bus did not answer", "")

    async with door(tmp_path / "hub", tell) as (company, code):
        with pytest.raises(Away):
            await enter(code, tmp_path / "there" / "org.toml")
        first, failing = elsewhere.public_key(company.home, "gw-lab"), False
        secret, _ = Invites(company.home).open(["lab"])
        with pytest.raises(Refused, match="replaced by a newer one"):
            await enter(code, tmp_path / "there" / "org.toml")
        assert nothing_in(tmp_path / "there")
        await enter(code.model_copy(update={"secret": secret}), tmp_path / "there" / "org.toml")
        came(tmp_path / "there")
        assert elsewhere.public_key(company.home, "gw-lab") not in (first, None)


def came(folder: Path) -> None:
    """A machine has come in, and nothing else is left there."""
    assert {path.name for path in folder.iterdir()} == {"org.toml", ".clawbus"}
    assert here.read(Home(folder / ".clawbus")) is not None
    assert load_or_create("gw-lab", folder / ".clawbus" / "keys" / "gw-lab.nk")
    assert (folder / ".clawbus" / "keys" / "gw-lab.creds").exists()


async def listening(code: Code) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(code.host, code.port)
        writer.close()
        return True
    return False


async def test_nobody_at_the_door_is_said_with_the_time_of_the_code(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    code = Code(url=f"127.0.0.1:{port}", pin="0" * 64, secret="A" * 22, expires=1_800_000_000, gateways=("lab",), company="acme")  # fmt: skip
    with pytest.raises(Away) as caught:
        await enter(parse(code.line()), tmp_path / "org.toml")
    assert "2027-01-15 08:00:00Z" in caught.value.remedy
