"""The command line. `main` turns our errors into a sentence, a remedy and an exit code (docs/cli.md)."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import click

from clawbus.cli.output import put_line, put_text
from clawbus.errors import ClawbusError
from clawbus.settings import leave_no_dump
from clawbus.show import InertFormatter
from clawbus.version import __version__

_COMMANDS = {  # name -> module; imported when called, so that --help does not pay for nats and pydantic
    "init": "init",
    "check": "check",
    "up": "up",
    "plan": "change",
    "apply": "change",
    "demo": "demo",
    "join": "join",
    "invite": "invite",
    "leaf": "leaf",
    "ask": "ask",
    "send": "ask",
    "inbox": "inbox",
    "tasks": "tasks",
    "task": "tasks",
    "meet": "meet",
    "learning": "learning",
    "replay": "replay",
    "approvals": "approvals",
    "approve": "approvals",
    "refuse": "approvals",
    "stop": "stop",
    "pause": "stop",
    "resume": "stop",
    "state": "stop",
    "alerts": "alerts",
    "budget": "budget",
    "dead": "dead",
    "receipts": "receipts",
    "doctor": "doctor",
    "node": "node",
    "registrar": "registrar",
    "steward": "steward",
}
_HIDDEN = {"node", "registrar"}


class _Lazy(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [name for name in _COMMANDS if name not in _HIDDEN]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"clawbus.cli.{_COMMANDS[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="clawbus")
@click.option("-v", "--verbose", count=True, help="Say what happens (-v), or everything (-vv), on standard error.")
def cli(verbose: int) -> None:
    """Put every OpenClaw gateway of a company of AI agents on NATS JetStream.

    Start with `clawbus demo`, then `clawbus init duo` and `clawbus up` in an empty folder.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(InertFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of nats-py's end of each TLS connection
    logging.getLogger("websockets").setLevel(logging.INFO)  # its DEBUG lines show frames, the token in them included


def main(args: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 to 6 as in `errors`, 130 on Ctrl-C."""
    leave_no_dump()
    try:
        result: Any = cli.main(args=args, prog_name="clawbus", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except ClawbusError as error:
        put_text(f"clawbus: {error.message}", err=True)
        if error.remedy:
            put_text(error.remedy, err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        put_line("stopped", err=True)
        code = 130
    except BrokenPipeError:  # `clawbus tasks | head`
        sys.stderr.close()
        code = 0
    except OSError as error:
        put_line(f"clawbus: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
        code = 3
    sys.exit(code)
