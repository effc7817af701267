"""What `clawbus join` wants of a gateway's settings, without a gateway. The real thing: tests/gateway/test_join.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clawbus.cli import main
from clawbus.errors import InvalidInput, Refused
from clawbus.gateway.setup.config_file import diff, empty_among, missing_parents, nested, read_plain
from clawbus.gateway.setup.join import taken_back
from clawbus.gateway.setup.join_record import ConfigChange, JoinRecord, back_up, read_record, record_file, write_record
from clawbus.gateway.setup.plugin_bundle import assemble
from clawbus.gateway.setup.plugin_visibility import check_loadable, hidden, missing

SOCKET = Path("/run/node.sock")
OURS = {"enabled": True, "config": {"socket": "/run/node.sock"}}
JOINED: dict[str, Any] = {"entries": {"clawbus": OURS}}


def wanted(plugins: dict[str, Any], tools: dict[str, Any]) -> dict[str, Any]:
    return {change.path: change.after for change in missing(plugins, tools, SOCKET)}


def test_a_bare_gateway_gets_the_entry_and_the_tool_list_and_nothing_else() -> None:
    """Without an allow list of plugins, none is begun: it would switch every other plugin off."""
    assert wanted({}, {}) == {"plugins.entries.clawbus": OURS, "tools.alsoAllow": ["clawbus"]}


def test_lists_of_the_user_are_extended_and_never_replaced() -> None:
    """tools.allow gets the name where it exists, since OpenClaw refuses it beside tools.alsoAllow."""
    changes = wanted({"allow": ["memory-core"]} | JOINED, {"allow": ["read"], "profile": "coding"})
    assert changes == {"plugins.allow": ["memory-core", "clawbus"], "tools.allow": ["read", "clawbus"]}


@pytest.mark.parametrize("name", ["clawbus", "group:plugins", "*"])
def test_a_list_that_covers_the_plugin_stays_as_it_is(name: str) -> None:
    """A second join finds nothing to change."""
    assert wanted({"allow": ["clawbus"]} | JOINED, {"alsoAllow": [name]}) == {}


def test_other_settings_of_the_entry_stay() -> None:
    """Only `enabled` and the socket are ours."""
    entry = {"enabled": False, "hooks": {"allowConversationAccess": True}}
    assert wanted({"entries": {"clawbus": entry}}, {"alsoAllow": ["*"]}) == {
        "plugins.entries.clawbus": {"hooks": {"allowConversationAccess": True}} | OURS
    }


@pytest.mark.parametrize("plugins", [{"enabled": False}, {"deny": ["clawbus"]}])
def test_a_gateway_that_forbids_the_plugin_is_refused(plugins: dict[str, Any]) -> None:
    """The user's own prohibition is named, not overruled."""
    with pytest.raises(Refused) as caught:
        check_loadable(plugins)
    assert caught.value.message.startswith("plugins.")
    assert caught.value.remedy


def test_what_still_hides_the_tools_is_said() -> None:
    """Agents with lists of their own, a deny list, and sandboxes are left to the user."""
    agents = {
        "entries": {"a": {"tools": {"allow": ["read"]}}, "b": {"tools": {"allow": ["clawbus"]}}, "c": {}},
        "defaults": {"sandbox": {"mode": "all"}},
    }
    notes = "\n".join(hidden({"deny": ["clawbus"]}, agents))
    assert "agents.entries.a.tools" in notes
    assert "agents.entries.b" not in notes
    assert "tools.deny" in notes
    assert "sandbox" in notes
    assert hidden({}, {"entries": {"c": {}}}) == []


def test_parents_that_join_made_go_when_they_are_empty_again() -> None:
    """What the user has put there since keeps its parent."""
    paths = ["plugins.entries.clawbus", "tools.alsoAllow"]
    created = missing_parents({"plugins": {"allow": ["x"]}}, paths)
    assert created == ("plugins.entries", "tools")
    assert empty_among({"plugins": {"allow": ["x"], "entries": {}}, "tools": {}}, created) == created
    assert empty_among({"plugins": {"entries": {}}, "tools": {"profile": "coding"}}, created) == ("plugins.entries",)
    assert empty_among({"plugins": {"entries": {}}}, ("plugins", "plugins.entries")) == ("plugins",)


@pytest.mark.parametrize(
    ("path", "before", "after", "now", "wanted"),
    [
        ("tools.alsoAllow", None, ["clawbus"], ["clawbus"], None),
        ("tools.alsoAllow", None, ["clawbus"], ["clawbus", "x"], ["x"]),
        ("tools.alsoAllow", [], ["clawbus"], ["clawbus"], []),
        ("plugins.entries.clawbus", None, OURS, {"enabled": False}, None),
        ("plugins.entries.clawbus", None, OURS, OURS, None),
        ("plugins.entries.clawbus", {"enabled": False}, OURS, OURS | {"hooks": {}}, {"enabled": False, "hooks": {}}),
    ],
)
def test_undo_takes_ours_and_leaves_theirs(path: str, before: Any, after: Any, now: Any, wanted: Any) -> None:
    """An item of a list, the keys of the entry: what the user has added since stays."""
    taken = taken_back(ConfigChange(path=path, before=before, after=after), now)
    assert taken == ConfigChange(path=path, before=now, after=wanted)


def test_undo_writes_nothing_where_nothing_of_ours_is_left() -> None:
    """The user has taken it out himself."""
    assert taken_back(ConfigChange(path="tools.alsoAllow", before=None, after=["clawbus"]), ["x"]) is None
    assert taken_back(ConfigChange(path="plugins.entries.clawbus", before=None, after=OURS), None) is None


def test_the_diff_shows_the_lines_that_change(tmp_path: Path) -> None:
    """Added lines with +, and no line at all for no change."""
    lines = diff(
        tmp_path / "openclaw.json", [ConfigChange(path="tools.alsoAllow", before=["a"], after=["a", "clawbus"])]
    )
    assert any(line.startswith("+") and '"clawbus"' in line for line in lines)
    assert diff(tmp_path / "openclaw.json", []) == []
    assert nested({"a.b": 1, "a.c": None}) == {"a": {"b": 1, "c": None}}


def test_json5_is_told_from_plain_json(tmp_path: Path) -> None:
    """Comments would be lost, so join must see that there may be some."""
    config = tmp_path / "openclaw.json"
    config.write_text('{"a": 1} // mine')
    assert read_plain(config) is None
    config.write_text('{"a": 1}')
    assert read_plain(config) == {"a": 1}


def test_a_record_remembers_the_first_values_over_several_joins(tmp_path: Path) -> None:
    """Undo goes back to what the user had, not to what an earlier join wrote."""
    config = tmp_path / "openclaw.json"
    assert read_record(config) is None
    first = JoinRecord(installed=True, changes=(ConfigChange(path="p", before=None, after=1),), backups=("b1",))
    second = JoinRecord(installed=False, changes=(ConfigChange(path="p", before=1, after=2),), backups=("b2",))
    write_record(config, second.after(first))
    kept = read_record(config)
    assert kept is not None
    assert kept.changes == (ConfigChange(path="p", before=None, after=2),)
    assert (kept.installed, kept.backups) == (True, ("b1", "b2"))
    assert record_file(config).stat().st_mode & 0o777 == 0o600
    record_file(config).write_text("{}")
    with pytest.raises(InvalidInput):
        read_record(config)


def test_a_backup_is_the_same_bytes_and_private(tmp_path: Path) -> None:
    """openclaw.json holds the gateway's token."""
    config = tmp_path / "openclaw.json"
    config.write_bytes(b"{} // \xc3\xa4")
    backup = back_up(config)
    assert backup.parent == tmp_path
    assert backup.read_bytes() == config.read_bytes()
    assert backup.stat().st_mode & 0o777 == 0o600


ORG = """
company = "acme"
[[gateways]]
id = "hq"
port = 4001
[[gateways]]
id = "a"
port = 4002
own = false
[[gateways]]
id = "b"
port = 4003
own = false
[[agents]]
id = "ceo"
gateway = "hq"
"""


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        ([], 2, "--gateway"),
        (["--gateway", "hq"], 6, "own = false"),
        (["--gateway", "c"], 4, "There are: hq, a, b"),
        (["--org", "nowhere.toml"], 4, "clawbus init"),
    ],
)
def test_a_gateway_that_cannot_be_meant_is_refused_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    exit_code: int,
    said: str,
) -> None:
    """Not named, the company's own, unknown, or without an org file."""
    monkeypatch.chdir(tmp_path)
    Path("org.toml").write_text(ORG)
    with pytest.raises(SystemExit) as ended:
        main(["join", *options])
    assert ended.value.code == exit_code
    assert said in capsys.readouterr().err


def test_the_assembled_plugin_is_small_whole_and_replaced_as_one(tmp_path: Path) -> None:
    """Manifest, shim, tools, skills; no write for others; the same content is not written again."""
    folder = assemble(tmp_path / "plugin")
    names = {path.name for path in folder.iterdir()}
    assert names == {"openclaw.plugin.json", "package.json", "index.js", "tools.json", "skills"}
    assert sorted(path.parent.name for path in folder.glob("skills/*/SKILL.md")) == [
        "nats-delegate", "nats-inbox", "nats-worker",
    ]  # fmt: skip
    assert all(not path.stat().st_mode & 0o022 for path in [folder, *folder.rglob("*")])
    inode = folder.stat().st_ino
    assert assemble(folder).stat().st_ino == inode
    (folder / "left-over").touch()
    assert assemble(folder).stat().st_ino != inode
    assert not (folder / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["plugin"]
