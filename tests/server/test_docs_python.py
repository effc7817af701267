"""docs/python.md, run as it stands: its programs, its org.toml, a real nats-server."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import connect
from tests.company import ROOT, Live, free_ports, live

PAGE = (ROOT / "docs" / "python.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TABLES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TOML = """
company = "acme"
bus.port = {port}
[[gateways]]
id = "tests"
kind = "program"
[[agents]]
id = "qa"
gateway = "tests"
[[humans]]
id = "owner"
"""
QA = """
import asyncio
from clawbus import serve


async def check(task):
    return f"checked: {task.text}"


asyncio.run(serve("org.toml", "tests", {"qa": check}))
"""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Live]:
    """The company of the page: its program gateway with one agent, and one more for whom the first program asks."""
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0]) + TABLES[0]) as company:
        yield company


async def started(shop: Live, text: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", text, cwd=shop.org_file.parent, stdout=asyncio.subprocess.PIPE
    )


async def test_the_programs_of_the_page_run_as_they_stand(shop: Live) -> None:
    """The first gives a task and prints its result; the second does an agent's tasks, and refuses what it is told to."""
    asking, serving = PROGRAMS
    programs = [await started(shop, text) for text in (QA, serving)]
    try:
        printed, _ = await (await started(shop, asking)).communicate()
        assert printed.decode() == "done qa checked: Run the tests and say what is broken.\n"
        async with connect(shop.org_file) as client:
            built = await client.ask("builder", "the release", timeout_s=30)
            assert (built.status, built.text) == ("done", "built for owner")
            refused = await client.ask("builder", "force it", timeout_s=30)
            assert refused.status == "failed"
            assert "nothing is forced here" in refused.text
    finally:
        for program in programs:
            program.terminate()
        await asyncio.gather(*(program.wait() for program in programs))
