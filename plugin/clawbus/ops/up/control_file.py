"""How others ask the `clawbus up` of the same home: `clawbus apply` to bring its processes to a changed org.toml, and a
node to restart its gateway.

A file with the question, a signal (SIGUSR1; a hangup stays what a closed terminal sends), a file with the answer.
A question is put to one process, and good for no other: what was asked of an `up` that has died meanwhile, such as to
replace files, must not be done by the next one, days later, of which nobody asks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from clawbus.errors import Away, ClawbusError, Refused
from clawbus.file_lock import locked
from clawbus.ops.supervisor.pid_files import began_at, holder
from clawbus.settings import Home, write_secret

log = logging.getLogger(__name__)
SIGNAL = signal.SIGUSR1
_WITHIN_S = 420.0  # a gateway may take minutes to start
_QUESTION, _ANSWER, _ASKING = "apply.json", "applied.json", "asking.lock"

Do = Callable[[bool, Callable[[str], None]], Awaitable[None]]
Restart = Callable[[str], Awaitable[None]]


async def ask_up(home: Home, force_souls: bool) -> list[str] | None:
    """Have a running `clawbus up` read org.toml again; what it said, None if none runs.

    Raises Away if it gives no answer, or with what went wrong there; Refused while another asks.
    """
    return await _ask(home.dir("run"), {"force_souls": force_souls})


async def ask_restart(home: Home, service: str) -> bool:
    """Have a running `clawbus up` end a service of its own and start it again; False if none runs.

    Answered when the old process has ended. Raises Away, and Refused while another asks.
    """
    return await _ask(home.dir("run"), {"restart": service}) is not None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises Refused while another asks: its question, which the one `up` has not read yet, would be lost."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / _ASKING))
        except BlockingIOError:
            raise Refused("another `clawbus apply` is under way here", "Let it end, then try again.") from None
        yield


async def _ask(folder: Path, question: dict[str, Any]) -> list[str] | None:
    if (pid := holder(folder)) is None:
        return None
    with _alone(folder):
        return await _ask_it(folder, pid, question)


async def _ask_it(folder: Path, pid: int, question: dict[str, Any]) -> list[str]:
    token = secrets.token_hex(8)
    write_secret(folder / _QUESTION, json.dumps({"token": token, "to": _process(pid), **question}))
    try:
        with contextlib.suppress(ProcessLookupError):  # it has ended just now: seen below
            os.kill(pid, SIGNAL)
        answer = await _answer(folder, pid, token)
    except TimeoutError:
        raise Away(
            f"`clawbus up` (pid {pid}) has not answered within {_WITHIN_S:g} s", "Look at its terminal."
        ) from None
    finally:
        (folder / _QUESTION).unlink(missing_ok=True)
    if answer.get("error"):
        raise Away(f"`clawbus up` could not do it: {answer['error']}", str(answer.get("remedy", "")))
    return [str(line) for line in answer.get("said", ())]


async def _answer(folder: Path, pid: int, token: str) -> dict[str, Any]:
    """Raises TimeoutError; Away if who was asked has ended."""
    async with asyncio.timeout(_WITHIN_S):
        while (answer := _read(folder / _ANSWER)).get("token") != token:  # another process: no event to wait for
            await asyncio.sleep(0.05)
            if holder(folder) != pid:
                raise Away("`clawbus up` has ended meanwhile", "Start it: it applies what org.toml says.")
    return answer


def survive_questions() -> None:
    """Before a process takes the lock by which it is found: the signal's own action is to end it.

    A question that comes before `asked` listens is not lost: it stands in its file.
    """
    asyncio.get_running_loop().add_signal_handler(SIGNAL, lambda: None)


async def asked(home: Home, do: Do, restart: Restart) -> None:
    """In `clawbus up`: answer such questions, until cancelled. Errors are answers, too.

    `do(force_souls, say)` takes org.toml in, `restart(service)` ends a process that is then started again.
    """
    folder, wanted = home.dir("run"), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(SIGNAL, wanted.set)
    wanted.set()  # for a question that came before
    try:
        while True:
            await wanted.wait()
            wanted.clear()
            if (question := _question(folder)) is None:
                continue
            answer: dict[str, Any] = {"token": question["token"], "said": []}
            try:
                if isinstance(service := question.get("restart"), str):
                    await restart(service)
                else:
                    await do(bool(question.get("force_souls")), answer["said"].append)
            except (ClawbusError, OSError) as error:
                answer |= {"error": getattr(error, "message", str(error)), "remedy": getattr(error, "remedy", "")}
            except Exception as error:  # the company runs on, and can be asked again
                log.exception("what was asked of it could not be done")
                answer |= {"error": f"it failed inside: {error!r}", "remedy": "Its terminal has more."}
            write_secret(folder / _ANSWER, json.dumps(answer))
    finally:
        survive_questions()


def _question(folder: Path) -> dict[str, Any] | None:
    """The question that is put to this process and has no answer yet."""
    found = _read(folder / _QUESTION)
    mine = found.get("to") == _process(os.getpid()) and holder(folder) == os.getpid()
    return found if mine and found.get("token") != _read(folder / _ANSWER).get("token") else None


def _process(pid: int) -> str:
    """A process by its number and its beginning: in a container, `clawbus up` has the same number each time."""
    return f"{pid} {began_at(pid)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
