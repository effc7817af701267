"""Behind proxies that do not answer: nothing that dials the loopback goes by them."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from clawbus.gateway.setup.installation import OpenClaw

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]

DEAD = "http://127.0.0.1:9"
PROXIES = [spelt for name in ("http_proxy", "https_proxy", "all_proxy") for spelt in (name, name.upper())]


async def test_the_demo_works_behind_dead_proxies(claw: OpenClaw) -> None:
    """With each variable by which a program finds a proxy, and none that lets anything past it."""
    env = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    env |= dict.fromkeys(PROXIES, DEAD) | {"CLAWBUS_OPENCLAW": str(claw.script)}  # nothing is downloaded by them
    argv = [sys.executable, "-m", "clawbus", "demo", "--json"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, env=env, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    [task] = json.loads(out)["tasks"]
    assert (task["state"], task["delivery"]) == ("done", "announced")
