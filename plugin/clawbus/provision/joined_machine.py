"""The file of a machine that has joined: its own gateways, the bus's address, and the authority to trust there.

On the company's own machine there is no such file: there everything is that is not elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clawbus.errors import InvalidInput
from clawbus.settings import Home, write_secret


class LeafLink(BaseModel):
    """This machine's leaf: `port` on the loopback, where it listens, and `hub`, which it dials as HOST:PORT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub: str
    port: int


class JoinedMachine(BaseModel):
    """The file `here.json` of a home. `ca`: the authority's certificate, as a path within that folder.

    `leaf`: set while this machine's connections go through a leaf of its own (docs/leaf.md).
    `shut_out`: those of the gateways that the server let in no more when it was asked last: nothing starts for them
    until it does again, and they have told what is new (`enrol.org_sync`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gateways: tuple[str, ...] = Field(min_length=1)
    url: str
    ca: str
    leaf: LeafLink | None = None
    shut_out: tuple[str, ...] = ()

    @property
    def served(self) -> frozenset[str]:
        """The gateways for which something runs here."""
        return frozenset(self.gateways) - frozenset(self.shut_out)

    @property
    def dialled(self) -> str:
        """The address at which this machine's nodes reach the bus."""
        return f"nats://127.0.0.1:{self.leaf.port}" if self.leaf else self.url

    @property
    def host(self) -> str:
        """The company's own machine, by the name that the code said."""
        return urlsplit(self.url).hostname or ""


def read(home: Home) -> JoinedMachine | None:
    """None on the company's own machine. Raises InvalidInput for a file that cannot be read."""
    file = _file(home)
    try:
        return JoinedMachine.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        remedy = f"Move {home.root} away, and join again with a new code of `clawbus invite`."
        raise InvalidInput("file", str(file), "does not say what of the company is here", remedy) from None


def write(home: Home, here: JoinedMachine) -> None:
    write_secret(_file(home), here.model_dump_json(indent=2) + "\n")


def _file(home: Home) -> Path:
    return home.root / "here.json"
