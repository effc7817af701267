"""The models that we name are known to the OpenClaw that we pin; one that it does not know ends a demo in its words."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from clawbus.gateway.setup.command import Command
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.settings import child_environment
from tests.company import duo_toml, free_ports
from tests.up import Up

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PROVIDERS = ("anthropic", "openai", "google", "openrouter", "xai", "mistral")
_NAMED = re.compile(rf"\b(?:{'|'.join(PROVIDERS)})/[a-z]+-?[0-9a-z][a-z0-9.-]*[a-z0-9]")
_SHOWN = ("*.md", "*.toml", "*.py")
UNKNOWN = "anthropic/claude-of-nowhere-9"


def named() -> dict[str, str]:
    """Each `provider/model` that a reader finds in our documents, examples, skills, souls, or on our screens: where."""
    places = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for folder in ("docs", "examples", "skills", "souls", "plugin"):
        places += [path for kind in _SHOWN for path in sorted((ROOT / folder).rglob(kind))]
    return {name: str(path) for path in places for name in _NAMED.findall(path.read_text("utf-8"))}


async def known(claw: OpenClaw, folder: Path, names: list[str]) -> set[str]:
    """Those of these models that the real OpenClaw lists; the rest it leaves out."""
    config = folder / "openclaw.json"
    settings = {
        "models": {"mode": "merge", "catalogRefresh": {"enabled": False}},
        "plugins": {"allow": sorted({name.partition("/")[0] for name in names})},
        "agents": {"defaults": {"model": {"primary": names[0], "fallbacks": names[1:]}}},
    }
    config.write_text(json.dumps(settings))
    config.chmod(0o600)
    state = str(folder / "state")
    env = child_environment(
        HOME=str(folder), OPENCLAW_STATE_DIR=state, OPENCLAW_CONFIG_PATH=str(config), OPENCLAW_OFFLINE="1"
    )
    done = await Command(claw.argv(), env).run("models", "list", "--json")
    assert done.code == 0, done.err
    return {model["key"] for model in done.data()["models"]}


async def test_each_model_that_we_name_is_known_to_the_pinned_openclaw(tmp_path: Path, claw: OpenClaw) -> None:
    found = named()
    assert "README.md" in " ".join(found.values())
    missing = set(found) - await known(claw, tmp_path, [UNKNOWN, *found])
    assert not missing, {name: found[name] for name in missing}


async def test_one_that_it_does_not_know_is_seen(tmp_path: Path, claw: OpenClaw) -> None:
    """Or the test above could not fail."""
    assert UNKNOWN not in await known(claw, tmp_path, [UNKNOWN, *named()])


@pytest.mark.parametrize("more", [[], ["--company"]])
async def test_a_demo_whose_model_is_refused_ends_in_the_gateways_words(claw: OpenClaw, more: list[str]) -> None:
    """Exit 1, and nobody waits for a recommendation that will not come; the remedy names models that are known."""
    argv = [sys.executable, "-m", "clawbus", "demo", *more, "--model", UNKNOWN]
    pipe = asyncio.subprocess.PIPE
    env = {name: value for name, value in os.environ.items() if name != "ANTHROPIC_API_KEY"}
    process = await asyncio.create_subprocess_exec(*argv, env=env, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    said = out.decode() + err.decode()
    assert process.returncode == 1, said
    assert f"the CEO's turn failed. Its gateway says: Unknown model: {UNKNOWN}" in said
    assert "gave no recommendation" not in said
    assert re.search(r"This OpenClaw knows: .*anthropic/claude-sonnet-5", said)
    assert "ANTHROPIC_API_KEY is not set" in said
    assert "Traceback" not in said


async def test_with_a_real_model_nothing_is_planned_that_is_applied(tmp_path: Path) -> None:
    """Before and after an agent has another name, which raises no alert: its node has not heard of it at once."""
    toml = duo_toml(free_ports(3), model="anthropic/claude-sonnet-5")
    up = Up(tmp_path, toml)
    try:
        await up.ready()
        assert up.run("plan").stdout == "Nothing would change.\n"
        await up.apply(toml.replace("cto-athena", "cto-minerva"))
        assert up.run("plan").stdout == "Nothing would change.\n"
        assert up.run("alerts").stdout == "Nothing is raised.\n"
    finally:
        up.end()
