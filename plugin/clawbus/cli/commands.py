"""Every command, with its line in `clawbus --help`. The command NAME is the function `NAME_command` of `cli/NAME.py`.

To add a command, write that file and its row here. A command's module is imported when the command is called. It names
click, and in its functions what a call needs: `clawbus NAME --help` loads no nats and no cryptography.
"""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

_SECTIONS: dict[str, dict[str, str]] = {
    "Begin": {
        "demo": "See it work: two real gateways, one task, a report.",
        "init": "Write an org.toml to begin with.",
        "check": "Say every mistake of org.toml, or what the company is.",
        "up": "Start the company; Ctrl-C ends it.",
        "plan": "Show what apply would change.",
        "apply": "Take a changed org.toml into the running company.",
        "doctor": "Check each thing that must work, with its remedy.",
    },
    "Give tasks, and see what comes of them": {
        "ask": "Give an agent a task, and print its answer.",
        "send": "Send a message; no answer is expected.",
        "inbox": "Show what waits for an agent or a person.",
        "tasks": "List all tasks: state, who, and why one waits.",
        "task": "Look at one task, steer it, or cancel it.",
        "meet": "Hold a meeting: contributions in, one report out.",
        "replay": "Show what happened, from the streams.",
        "receipts": "Show who has seen a broadcast, and who has not.",
    },
    "Decide": {
        "approvals": "List what waits for a person's decision.",
        "approve": "Let what waits go on.",
        "refuse": "Stop what waits; the task ends as failed.",
        "budget": "Show what trees of tasks have used; allow one more.",
        "learning": "See what agents have learned, and decide on it.",
        "alerts": "List what is wrong now.",
        "dead": "Look at dead letters; redrive or prune them.",
        "stop": "The kill switch: no agent begins a turn.",
        "pause": "Have one agent begin nothing more.",
        "resume": "Have one agent, or all, go on.",
        "state": "Say what is stopped or paused, and whose node obeys.",
    },
    "Gateways of yours, other machines": {
        "join": "Put plugin and skills into a gateway of yours.",
        "invite": "Print one line that lets another machine join.",
        "leaf": "Run this machine's leaf, until stopped.",
        "steward": "Run one more process for the company's duties.",
    },
}
_HIDDEN = ("node", "registrar")  # `clawbus up` starts them
_SHOWN = [name for rows in _SECTIONS.values() for name in rows]
_MODULES = {name: name for name in (*_SHOWN, *_HIDDEN)} | {"plan": "change", "apply": "change"}


class Commands(click.Group):
    """The group `clawbus`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return _SHOWN

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _MODULES:
            return None
        module = importlib.import_module(f"clawbus.cli.{_MODULES[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, rows in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(rows.items()), col_max=12)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _MODULES:
            _no_such(ctx, args[0])
        return super().resolve_command(ctx, args)


def _no_such(ctx: click.Context, name: str) -> NoReturn:
    from clawbus.org.mistakes import near

    ctx.fail(f"no such command: {name!r}. {near(name, _SHOWN)}")
