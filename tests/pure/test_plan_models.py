"""What `plan` and doctor compare is what `apply` writes, whatever model an agent has: once written, nothing is left."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from clawbus.client.company import Company
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.ops.apply import plan
from clawbus.ops.up import ServicePlan, model_port, planned_model_url
from clawbus.ops.up.services import gateway_services, model_service

REAL = "anthropic/claude-sonnet-5"
SCRIPTED = "scripted"


def toml(company: str, ceo: str = "", port: int = 18789) -> str:
    """Two gateways; the CEO may have a model of its own."""
    own = f'model = "{ceo}"' if ceo else ""
    return f"""
company = "acme"
model = "{company}"
[[gateways]]
id = "hq"
port = {port}
[[gateways]]
id = "lab"
port = 18909
[[agents]]
id = "ceo"
gateway = "hq"
{own}
[[agents]]
id = "cto"
gateway = "lab"
"""


class Office:
    """A company whose settings are written as `clawbus up` and `clawbus apply` write them; no gateway is started."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "org.toml"
        self.model_runs = False

    def apply(self, text: str) -> None:
        self.file.write_text(text)
        company = Company.open(self.file)
        company.home.dir("run")
        port = model_port(company, self.model_runs)
        made = ServicePlan(company, OpenClaw(Path("node"), Path("openclaw.mjs"), "2026.9.6"), model_port=port)
        gateway_services(made, lambda _: None)
        self.model_runs = port is not None
        if port is not None:
            model_service(made, port)

    async def changed(self, text: str) -> list[str]:
        self.file.write_text(text)
        company = Company.open(self.file)
        found = await plan(company, None, planned_model_url(company))
        return [one.name for one in found if one.area == "gateway"]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.mark.parametrize("key", ["", "sk-of-nobody"])
@pytest.mark.parametrize(
    "models", [(SCRIPTED, ""), (REAL, ""), (REAL, SCRIPTED), (SCRIPTED, REAL), (REAL, "google/gemini-3.1-pro")]
)
async def test_what_was_applied_is_planned_no_more(
    office: Office, models: tuple[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """With the scripted model, a real one, and some of each; whether a provider's key is there or not."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    office.apply(toml(*models))
    assert await office.changed(toml(*models)) == []
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert await office.changed(toml(*models)) == []


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ((SCRIPTED, ""), (REAL, ""), ["hq", "lab"]),
        ((REAL, ""), (SCRIPTED, ""), ["hq", "lab"]),
        ((REAL, ""), (REAL, SCRIPTED), ["hq", "lab"]),  # where the scripted model listens stands in every gateway
        ((REAL, ""), ("anthropic/claude-opus-5", REAL), ["lab"]),
        ((SCRIPTED, ""), (SCRIPTED, REAL), ["hq"]),
    ],
)
async def test_a_changed_model_is_planned_until_it_is_applied(
    office: Office, before: tuple[str, str], after: tuple[str, str], changed: list[str]
) -> None:
    office.apply(toml(*before))
    assert await office.changed(toml(*after)) == changed
    office.apply(toml(*after))
    assert await office.changed(toml(*after)) == []
    office.apply(toml(*before))
    assert await office.changed(toml(*before)) == []


async def test_only_the_gateway_whose_port_is_another_is_planned(office: Office) -> None:
    office.apply(toml(REAL))
    assert await office.changed(toml(REAL, port=19789)) == ["hq"]
    office.apply(toml(REAL, port=19789))
    assert await office.changed(toml(REAL, port=19789)) == []


async def test_a_scripted_model_that_had_to_take_another_port_is_planned_no_more(office: Office) -> None:
    """Its port was taken by another program when the company was started again."""
    office.apply(toml(SCRIPTED))
    port = int((office.file.parent / ".clawbus" / "run" / "model.port").read_text())
    office.model_runs = False
    with socket.create_server(("127.0.0.1", port)):
        office.apply(toml(SCRIPTED))
    assert await office.changed(toml(SCRIPTED)) == []
