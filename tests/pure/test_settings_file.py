"""The settings that clawbus writes for the company's own gateways, and what their processes get to see."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from clawbus import org as orgs
from clawbus.errors import InvalidInput, NotFound
from clawbus.gateway.setup import managed_gateway as own
from clawbus.org import Org
from clawbus.settings import Home

URL = "http://127.0.0.1:28499/v1"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".clawbus")


def company(**models: str | None) -> Org:
    """A company with one gateway `hq`; its agents and their models."""
    agents = [{"id": name, "gateway": "hq"} | ({"model": model} if model else {}) for name, model in models.items()]
    return orgs.parse({"company": "acme", "gateways": [{"id": "hq", "port": 28410}], "agents": agents})


def written(home: Home, org: Org, url: str | None = URL) -> tuple[own.ManagedGateway, dict[str, Any]]:
    mine = own.write_settings(home, org, "hq", Path("/plugin"), url)
    return mine, json.loads(mine.config.read_text())


def test_each_agent_has_its_entry_and_its_own_workspace(home: Home) -> None:
    """The agents of that gateway stand in it under their ids, each with a folder of its own."""
    mine, settings = written(home, company(ceo=None, cfo=None))
    entries = settings["agents"]["entries"]
    assert sorted(entries) == ["ceo", "cfo"]
    assert settings["agents"]["ownership"] == "explicit"
    assert (
        entries["ceo"].items()
        >= {
            "name": "ceo",
            "workspace": str(mine.workspace("ceo")),
            "model": "scripted/scripted",
        }.items()
    )
    assert mine.workspace("ceo").is_dir()
    assert mine.workspace("ceo") != mine.workspace("cfo")


def test_only_the_owner_can_read_it(home: Home) -> None:
    """Settings and token have mode 600, the state folder 700: anything wider is critical in OpenClaw's audit."""
    mine, settings = written(home, company(ceo=None))
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in (mine.config, mine.token_file, mine.state, mine.folder)
    }
    assert modes == {mine.config: 0o600, mine.token_file: 0o600, mine.state: 0o700, mine.folder: 0o700}
    assert settings["gateway"]["auth"]["mode"] == "token"
    assert settings["gateway"]["bind"] == "loopback"
    assert len(mine.token_file.read_text()) >= 43


def test_the_same_again_is_not_written(home: Home) -> None:
    """A gateway reloads when its settings change, so that what is unchanged is left alone, the token too."""
    mine, settings = written(home, company(ceo=None))
    before = mine.config.stat()
    again, same = written(home, company(ceo=None))
    assert same == settings
    assert (again.config.stat().st_ino, again.config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    _, other = written(home, company(ceo=None, cfo=None))
    assert other != settings
    assert other["gateway"] == settings["gateway"]


def test_the_scripted_model_is_the_only_one(home: Home) -> None:
    """Where every agent is scripted there is no other provider to fall back to, and no catalog is fetched."""
    _, settings = written(home, company(ceo=None, cfo="scripted"))
    models = settings["models"]
    assert (models["mode"], list(models["providers"])) == ("replace", ["scripted"])
    assert models["providers"]["scripted"]["baseUrl"] == URL
    assert models["catalogRefresh"] == {"enabled": False}


def test_c5_each_agent_has_the_model_that_the_org_file_gives_it(home: Home) -> None:
    """A model per agent, in one gateway: its own, else the company's. Another agent later changes none of the others."""
    org = company(ceo="anthropic/a", cto="openrouter/b/c", ops=None).model_copy(update={"model": "anthropic/d"})
    own_gateway, settings = written(home, org)
    entries = settings["agents"]["entries"]
    models = {name: entry["model"] for name, entry in entries.items()}
    assert models == {"ceo": "anthropic/a", "cto": "openrouter/b/c", "ops": "anthropic/d"}
    assert own_gateway.providers == {"anthropic", "openrouter"}
    more = org.model_copy(update={"agents": (*org.agents, org.agents[0].model_copy(update={"id": "qa"}))})
    assert written(home, more)[1]["agents"]["entries"].items() >= entries.items()


def test_a_real_model_needs_no_provider_block(home: Home) -> None:
    """OpenClaw knows its providers; their plugins are allowed, and nothing of the key stands in the file."""
    _, settings = written(home, company(ceo="anthropic/claude-opus-4-6"), url=None)
    assert settings["models"] == {"mode": "merge", "catalogRefresh": {"enabled": False}}
    assert settings["agents"]["entries"]["ceo"]["model"] == "anthropic/claude-opus-4-6"
    assert settings["plugins"]["allow"] == ["clawbus", "memory-core", "anthropic"]


def test_both_kinds_live_side_by_side(home: Home) -> None:
    """One scripted agent does not take the real model from the others."""
    _, settings = written(home, company(ceo="openrouter/a/b", cfo=None))
    assert settings["models"]["mode"] == "merge"
    assert list(settings["models"]["providers"]) == ["scripted"]
    assert settings["agents"]["entries"]["ceo"]["model"] == "openrouter/a/b"


def test_the_plugin_is_loaded_from_its_folder_with_the_nodes_socket(home: Home) -> None:
    """The shim learns the node's socket from its configuration, and its tools are visible."""
    _, settings = written(home, company(ceo=None))
    plugins = settings["plugins"]
    assert plugins["load"] == {"paths": ["/plugin"]}
    assert plugins["entries"]["clawbus"] == {"enabled": True, "config": {"socket": str(home.socket("hq"))}}
    assert settings["tools"] == {"alsoAllow": ["clawbus"]}


def test_no_turn_runs_that_nobody_asked_for(home: Home) -> None:
    """Heartbeat, nightly dreaming and self-learning each run turns of their own by default: all are off."""
    _, settings = written(home, company(ceo=None))
    assert settings["agents"]["defaults"]["heartbeat"] == {"every": "0m", "target": "none"}
    assert settings["plugins"]["entries"]["memory-core"]["config"]["dreaming"] == {"enabled": False}
    assert settings["skills"]["workshop"]["autonomous"]["mode"] == "off"


@pytest.mark.parametrize("model", ["opus", "anthropic/", "/opus", ""])
def test_a_model_that_is_none_is_refused(home: Home, model: str) -> None:
    """A model is `provider/model` or "scripted", and the refusal names the agent."""
    org = company(ceo="x/y").model_copy(update={"model": model})
    org = org.model_copy(update={"agents": (org.agents[0].model_copy(update={"model": None}),)})
    with pytest.raises(InvalidInput, match=r"agents\[ceo\]\.model"):
        own.write_settings(home, org, "hq", Path("/plugin"), URL)


def test_a_scripted_agent_needs_somebody_who_plays_it(home: Home) -> None:
    """Outside the demo nobody plays the scripted model: that is said before a gateway starts."""
    with pytest.raises(InvalidInput, match="nobody plays the scripted model") as caught:
        own.write_settings(home, company(ceo=None), "hq", Path("/plugin"))
    assert "provider/model" in caught.value.remedy


def test_an_unknown_gateway_is_refused(home: Home) -> None:
    """The names that exist are told."""
    with pytest.raises(NotFound, match="no such gateway"):
        own.write_settings(home, company(ceo=None), "branch", Path("/plugin"), URL)


def test_the_process_sees_its_models_key_and_no_other_secret(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway gets the key of the provider that its agents use; nothing else of the user's environment leaks."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a")
    monkeypatch.setenv("OPENAI_API_KEY", "b")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "c")
    monkeypatch.setenv("OPENCLAW_GATEWAY_TOKEN", "d")
    scripted, _ = written(home, company(ceo=None))
    assert not {"a", "b", "c", "d"} & set(own.environment(scripted).values())
    real, _ = written(home, company(ceo="anthropic/claude-opus-4-6"))
    env = own.environment(real)
    assert env["ANTHROPIC_API_KEY"] == "a"
    assert not {"b", "c", "d"} & set(env.values())


def test_the_process_keeps_to_its_folder(home: Home) -> None:
    """Home, state and settings lie in the gateway's folder, and OpenClaw's own look-ups are off."""
    mine, _ = written(home, company(ceo=None))
    env = own.environment(mine)
    assert env["HOME"] == str(mine.folder)
    assert env["OPENCLAW_STATE_DIR"] == str(mine.state)
    assert env["OPENCLAW_CONFIG_PATH"] == str(mine.config)
    switches = ("OPENCLAW_NO_RESPAWN", "OPENCLAW_DISABLE_BONJOUR", "OPENCLAW_NO_AUTO_UPDATE", "OPENCLAW_OFFLINE")
    assert {env[name] for name in switches} == {"1"}


def test_a_socket_fits_wherever_the_company_and_the_temporary_folder_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Unix socket's path has about a hundred bytes; folders may be deeper."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    home = Home.beside(deep / "org.toml")
    assert len(os.fsencode(home.socket("hq"))) <= 100
    assert home.socket("hq") != home.socket("lab")
