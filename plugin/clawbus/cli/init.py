"""`clawbus init`: writes an org.toml to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.output import put_line, put_text
from clawbus.errors import Refused
from clawbus.settings import asset_folder

TEMPLATES = ("duo", "workflow", "eleven")


@click.command()
@click.argument("template", type=click.Choice(TEMPLATES), default="duo")
@click.option(
    "--org",
    "org_file",
    type=click.Path(path_type=Path),
    default=Path("org.toml"),
    show_default=True,
    help="The file to write.",
)
def init_command(template: str, org_file: Path) -> int:
    """Write an org.toml to begin with. An existing file is never overwritten.

    duo: a CEO and a CTO, each in a gateway of its own. workflow: CEO, CTO and Security in three gateways, with a
    review that follows by itself. eleven: a company of eleven agents in two gateways.
    """
    from clawbus.org import load

    if org_file.exists():
        raise Refused(f"there is an {org_file} already; nothing was changed", "Name another file with --org.")
    org_file.write_text((asset_folder("examples") / template / "org.toml").read_text("utf-8"), "utf-8")
    org = load(org_file)
    put_line(f"wrote {org_file}: {org.company}, with {', '.join(agent.id for agent in org.agents)}")
    where = "" if org_file == Path("org.toml") else f" --org {org_file}"
    put_text(f"Next: clawbus up{where}, and in another terminal: clawbus ask {org.agents[-1].id} 'Who are you?'{where}")
    return 0
