"""docs/security.md against what is there: its files, its tests, its commands. Its list of rights: see test_theft."""

from __future__ import annotations

import re
from pathlib import Path

import click

from clawbus.cli import cli
from clawbus.ops.apply.apply import write_server_config
from clawbus.provision.authority import WATCHER, Authority
from clawbus.provision.key_directory import member_keys
from tests.canaries import planted
from tests.company import ROOT, Live
from tests.server.test_canary import canary_toml

PAGE = (ROOT / "docs" / "security.md").read_text()


def named() -> list[str]:
    """The files of the table of keys, as regular expressions."""
    (table,) = re.findall(r"## What each key can do\n(.*?)\n\n", PAGE, re.DOTALL)
    names = [name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    return [
        re.sub(r"<\w+>", r"[\\w-]+", re.escape(one).replace(r"\*", r"\w+"))
        for name in names
        for one in _alternatives(name)
    ]


def _alternatives(name: str) -> list[str]:
    """`a/{b,c}.nk` is two names."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
    return [found[1] + one + found[3] for one in found[2].split(",")] if found else [name]


def test_every_file_that_holds_a_secret_is_in_the_table_and_the_other_way_round(tmp_path: Path) -> None:
    """As they are found in the folder of a company with every kind of key."""
    company = Live(tmp_path, canary_toml([4222, 7422, 18789]) + "\n[guests]\nenabled = true\n", None, "").company
    write_server_config(company)
    member_keys(company.home, company.org)
    (company.home.dir("gateways", "lab") / "token").write_text("t" * 20)
    (company.home.dir("gateways", "lab") / "token").chmod(0o600)
    for one in ("system", WATCHER):
        Authority(company.home).key(one)
    holders = {name.removeprefix(".clawbus/") for secret in planted(tmp_path) for name in secret.holders}
    pages = named()
    assert [name for name in holders if not any(re.fullmatch(one, name) for one in pages)] == []
    unknown = [one for one in pages if not any(re.fullmatch(one, name) for name in holders)]
    assert unknown == ["token_file", "webhook_file"]  # where org.toml says


def test_every_test_that_the_page_names_exists() -> None:
    """And each is about what its place says: that is for the reader."""
    names = re.findall(r"`(tests/[\w/*.]+)`", PAGE)
    assert len(names) >= 6
    assert [name for name in names if not list(ROOT.glob(name))] == []
    assert [number for number in re.findall(r"ADR ([\d, ]+)", PAGE) for one in number.split(",")
            if one.strip() and not list((ROOT / "docs" / "adr").glob(f"{int(one):04}-*.md"))] == []  # fmt: skip


def test_every_command_on_the_page_is_one() -> None:
    """With its options."""
    for line in re.findall(r"`clawbus ([^`]+)`", PAGE.replace("`clawbus\n", "`clawbus ")):
        name, *rest = line.split()
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, line
        options = {one for param in command.params for one in param.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line


def test_it_is_one_page() -> None:
    """What is not read defends nobody."""
    assert PAGE.count("\n") <= 120
