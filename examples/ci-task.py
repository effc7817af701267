"""A CI job that asks the company's agents, and fails when they do. Run it beside org.toml, after `clawbus up`:

python ci-task.py qa "Run the tests of commit 4f2a91c and say what is broken."
"""

import asyncio
import sys

from clawbus import Away, connect


async def main(to: str, text: str) -> int:
    async with connect("org.toml") as client:
        task = await client.start(to, text, label="ci", priority="high", key=f"ci {text}")
        print(f"task {task.id} is on the bus")
        try:
            result = await client.wait(task, timeout_s=1800)
        except Away as late:  # the task goes on; the same key finds it again
            print(late)
            return 75
    print(result.text)
    return 0 if result.done else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:3])))
