"""A real OpenClaw that can be hurt while it runs: as an abort in the wrong moment hurts it, but whenever a test wants.

OpenClaw keeps one owner for the database of each agent. One that was closed while an operation of it failed stays in
its table though it is retired, and refuses every turn from then on ("admission is closed"). This puts it there.
"""

from __future__ import annotations

import json
from pathlib import Path

from clawbus.gateway.setup.installation import OpenClaw
from clawbus.settings import Home
from tests.company import until

_HURT = """
import fs from "node:fs";
const file = `${process.env.OPENCLAW_STATE_DIR}/hurt`;
setInterval(async () => {
  const owners = globalThis[Symbol.for("openclaw.agentDatabaseExecutionOwners")]?.owners;
  if (!owners?.size || !fs.existsSync(file)) return;
  fs.unlinkSync(file);
  for (const [path, owner] of [...owners]) {
    await owner.close();
    owners.set(path, owner);
  }
  fs.writeFileSync(`${file}.done`, "");
}, 20).unref();
const real = %s;
process.argv[1] = real;
await import(real);
"""


def hurting(claw: OpenClaw, folder: Path) -> OpenClaw:
    """The same OpenClaw, which looks for the wish to be hurt."""
    package = folder / "hurting"
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"name": "openclaw", "version": claw.version, "type": "module"}))
    script = package / "openclaw.mjs"
    script.write_text(_HURT % json.dumps(str(claw.script)))
    return OpenClaw(claw.node, script, claw.version)


async def hurt(home: Home, gateway: str) -> None:
    """Have every turn of a gateway's agents fail before a model is asked, until the gateway is restarted."""
    wish = home.root / "gateways" / gateway / "state" / "hurt"
    wish.touch()

    async def look() -> bool:
        return wish.with_name("hurt.done").exists()

    await until(look, f"the hurt of {gateway}", 60)
    wish.with_name("hurt.done").unlink()
