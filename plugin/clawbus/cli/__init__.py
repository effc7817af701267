"""The command line. `main` turns our errors into a sentence, a remedy and an exit code (docs/cli.md)."""

from __future__ import annotations

import errno
import logging
import sys
from typing import Any

import click

from clawbus import __version__
from clawbus.cli.commands import Commands
from clawbus.cli.output import put_line, put_text, take_streams
from clawbus.errors import ClawbusError
from clawbus.settings import leave_no_dump
from clawbus.wire.sanitize import InertFormatter


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    take_streams()
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
    except SystemExit:  # click's and rich's word for a reader that has gone: `clawbus tasks | head`
        code = 0
    except OSError as error:
        put_line(f"clawbus: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            put_line("Free space there (`df -h` and `du` say what takes it), then call this again.", err=True)
        code = 3
    sys.exit(code)
