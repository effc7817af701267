"""The program that gives the tasks of tests/bench/many.py, as a user would write one that may be killed at any time.

python -m tests.bench.giving ORG_FILE COUNT RESULTS

Each task has a key, and each result becomes a line of the file: begun again, it goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from clawbus import Client, connect
from clawbus.wire.subjects import PRIORITIES

RECEIVERS = ("pool", "pool", "pool", "solo-1", "solo-2")
_AT_ONCE = 256


async def one(client: Client, number: int, results: Path, slots: asyncio.Semaphore) -> None:
    async with slots:
        text = f"@work job {number} ".ljust(1024, ".")
        to, priority = RECEIVERS[number % len(RECEIVERS)], PRIORITIES[number // len(RECEIVERS) % len(PRIORITIES)]
        task = await client.start(to, text, key=f"job-{number}", priority=priority, room_s=None)  # type: ignore[arg-type]
        result = await client.wait(task)
        said = {"number": number, "task_id": task.id, "status": result.status, "by": result.by}
        with results.open("a") as file:
            file.write(json.dumps(said) + "\n")


async def main(org_file: str, count: int, results: Path) -> None:
    had = {json.loads(line)["number"] for line in results.read_text().splitlines()} if results.exists() else set()
    slots = asyncio.Semaphore(_AT_ONCE)
    async with connect(org_file) as client, asyncio.TaskGroup() as group:
        for number in sorted(set(range(count)) - had):
            group.create_task(one(client, number, results, slots))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
