"""Every command: its module, and its line in `clawbus --help`. A command's module is imported when it is called, so
that the list does not pay for nats and pydantic. To add a command, name it here.
"""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

_SECTIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Begin": (
        ("demo", "demo", "See it work: two real gateways, one task, a report."),
        ("init", "init", "Write an org.toml to begin with."),
        ("check", "check", "Say every mistake of org.toml, or what the company is."),
        ("up", "up", "Start the company; Ctrl-C ends it."),
        ("plan", "change", "Show what apply would change."),
        ("apply", "change", "Take a changed org.toml into the running company."),
        ("doctor", "doctor", "Check each thing that must work, with its remedy."),
    ),
    "Give work, and see what comes of it": (
        ("ask", "ask", "Give an agent a task, and print its answer."),
        ("send", "ask", "Send a message; no answer is expected."),
        ("inbox", "inbox", "Show what waits for an agent or a person."),
        ("tasks", "tasks", "List all tasks: state, who, and why one waits."),
        ("task", "tasks", "Look at one task, steer it, or cancel it."),
        ("meet", "meet", "Hold a meeting: contributions in, one report out."),
        ("replay", "replay", "Show what happened, from the streams."),
        ("receipts", "receipts", "Show who has seen a broadcast, and who has not."),
    ),
    "Decide": (
        ("approvals", "approvals", "List what waits for a person's decision."),
        ("approve", "approvals", "Let go on what waits."),
        ("refuse", "approvals", "Stop what waits; the task ends as failed."),
        ("budget", "budget", "Show what trees of tasks have used; allow one more."),
        ("learning", "learning", "See what agents have learned, and decide on it."),
        ("alerts", "alerts", "List what is wrong now."),
        ("dead", "dead_letters", "Look at dead letters; give them again, or throw away."),
        ("stop", "stop", "The kill switch: no agent begins a turn."),
        ("pause", "stop", "Have one agent begin nothing more."),
        ("resume", "stop", "Have one agent, or all, go on."),
        ("state", "stop", "Say what is stopped or paused, and whose node obeys."),
    ),
    "Gateways of yours, other machines": (
        ("join", "join", "Put plugin and skills into a gateway of yours."),
        ("invite", "invite", "Print one line that lets another machine join."),
        ("leaf", "leaf", "Run this machine's leaf, until stopped."),
        ("steward", "steward", "Run one more process for the company's duties."),
    ),
}
_HIDDEN = ("node", "registrar")
_MODULES = {name: module for rows in _SECTIONS.values() for name, module, _ in rows} | {one: one for one in _HIDDEN}


class Commands(click.Group):
    """The group `clawbus`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [name for name in _MODULES if name not in _HIDDEN]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _MODULES:
            return None
        module = importlib.import_module(f"clawbus.cli.{_MODULES[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, rows in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, line) for name, _, line in rows], col_max=12)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _MODULES:
            _no_such(ctx, args[0])
        return super().resolve_command(ctx, args)


def _no_such(ctx: click.Context, name: str) -> NoReturn:
    from clawbus.org.mistakes import near

    ctx.fail(f"no such command: {name!r}. {near(name, [one for one in _MODULES if one not in _HIDDEN])}")
