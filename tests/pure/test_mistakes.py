"""Mistakes of a user: each is refused with the field, the value and the remedy, without a traceback, before any network call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import clawbus, refused

HOSTILE = ["agent.>", "*", ">", "a b", "a\r\nb", "..", "\u0430gent", "x" * 300, "", "-a", "A", "cto-athena.ceo"]


@pytest.mark.parametrize("agent", HOSTILE)
def test_a_hostile_agent_id_is_refused(folder: Path, agent: str) -> None:
    """Wildcards, dots, spaces, control characters, look-alikes, too long, empty."""
    refused(clawbus("ask", "--", agent, "hello", folder=folder), 2, "AGENT", "cto-athena")


def test_an_unknown_agent_is_refused_with_those_that_exist(folder: Path) -> None:
    refused(clawbus("ask", "nobody", "hello", folder=folder), 4, "nobody", "ceo-genesis, cto-athena")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "empty"), (" \n", "empty"), ("/reset", "command"), (" /new", "command"), ("x" * 65_537, "65537 bytes")],
)
def test_a_text_that_cannot_be_sent_is_refused(folder: Path, text: str, problem: str) -> None:
    """Empty, a command, over 64 KiB."""
    refused(clawbus("ask", "cto-athena", text, folder=folder), 2, "task =", problem)
    refused(clawbus("send", "cto-athena", "-", stdin=text, folder=folder), 2, "message =", problem)


def test_a_text_of_exactly_64_kib_passes_the_check(folder: Path) -> None:
    """It fails later, at the bus that is not there."""
    refused(
        clawbus("ask", "cto-athena", "-", stdin="x" * 65_536, folder=folder), 5, "no nats-server answers", "clawbus up"
    )


def test_a_bus_that_is_away_is_said_with_the_remedy(folder: Path) -> None:
    refused(clawbus("tasks", folder=folder), 5, "no nats-server answers at nats://127.0.0.1:", "clawbus up")


@pytest.mark.parametrize("task_id", ["*", "abc", "a.b.c.d", "x" * 27, "acme.>"])
def test_a_bad_task_id_is_refused(folder: Path, task_id: str) -> None:
    refused(clawbus("task", "show", task_id, folder=folder), 2, "ID =", "clawbus tasks")


def test_a_missing_org_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    refused(clawbus("tasks", folder=tmp_path), 4, "org.toml", "clawbus init duo")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('company = "acme"', 'company = "acme"\ncolour = "blue"'), ["colour = 'blue'", "unknown field"]),
        (('company = "acme"', 'company = "ac.me"'), ["company = 'ac.me'", "not an id"]),
        (('id = "cto-athena"', 'id = "ceo-genesis"'), ["ceo-genesis", "two of one id"]),
        (('gateway = "lab"', 'gateway = "nowhere"'), ["agents[cto-athena].gateway", "nowhere", "hq, lab"]),
        (('reports_to = "ceo-genesis"', 'reports_to = "god"'), ["reports_to", "god"]),
        (('role = "role-cto"', 'role = "boss"'), ["role", "boss"]),
        (('name = "Athena"', 'nick = "Athena"'), ["agents[cto-athena].nick", "unknown field"]),
        (('[[humans]]', '[[humans'), ["not TOML"]),
        (('id = "owner"', 'id = "all"'), ["all", "reserved"]),
    ],
)  # fmt: skip
def test_a_mistake_in_org_toml_is_named(folder: Path, change: tuple[str, str], words: list[str]) -> None:
    """The field, its value, what is wrong."""
    text = (folder / "org.toml").read_text()
    assert change[0] in text
    (folder / "org.toml").write_text(text.replace(change[0], change[1], 1))
    refused(clawbus("up", folder=folder), 2, "org.toml", *words)


def test_all_mistakes_are_said_at_once(folder: Path) -> None:
    text = (folder / "org.toml").read_text().replace('gateway = "lab"', 'gateway = "x"').replace('"role-cto"', '"cto"')
    (folder / "org.toml").write_text(text.replace("bus.port", "bus.prot"))
    refused(clawbus("up", folder=folder), 2, "3 mistakes", "bus.prot", "role", "agents[cto-athena].gateway = 'x'")


def test_reports_to_in_a_circle_is_named(folder: Path) -> None:
    text = (
        (folder / "org.toml").read_text().replace('role = "role-ceo"', 'role = "role-ceo"\nreports_to = "cto-athena"')
    )
    (folder / "org.toml").write_text(text)
    refused(clawbus("up", folder=folder), 2, "circle", "ceo-genesis -> cto-athena -> ceo-genesis")


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert clawbus("init", "duo", folder=tmp_path).returncode == 0
    (tmp_path / "org.toml").write_text("mine")
    refused(clawbus("init", "duo", folder=tmp_path), 6, "org.toml already")
    assert (tmp_path / "org.toml").read_text() == "mine"


def test_what_init_writes_is_a_good_company(tmp_path: Path) -> None:
    """And the next command takes it: only the bus is missing."""
    clawbus("init", "duo", folder=tmp_path)
    refused(clawbus("tasks", folder=tmp_path), 5, "has not been started here", "clawbus up")


def test_a_demo_of_no_folder_is_refused(tmp_path: Path) -> None:
    refused(clawbus("demo", "--app", "/nowhere/at/all", folder=tmp_path), 2, "--app", "/nowhere/at/all")


def test_an_age_before_all_time(folder: Path) -> None:
    """`replay --since` with an age that no calendar holds."""
    refused(clawbus("replay", "--since", "99999999d", folder=folder), 2, "--since", "99999999d")
