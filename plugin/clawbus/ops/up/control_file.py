"""The control file of `clawbus up`, by which other processes of the same home ask it to do something.

`clawbus apply` asks it to bring its processes to a changed org.toml; a node asks it to restart its gateway. A question
is a file and the signal SIGUSR1 (a closed terminal sends SIGHUP); the answer is another file. A question names one
process. If that `up` dies, the next one must not do days later what nobody asks of it, such as to replace files.
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
    """Ask the running `clawbus up` to read org.toml again. Returns the lines of its answer; None if none runs.

    Raises Away if it gives no answer or could not do it, and Refused while another process asks.
    """
    return await _ask(home.dir("run"), {"force_souls": force_souls})


async def ask_restart(home: Home, service: str) -> bool:
    """Ask the running `clawbus up` to restart one of its services. Returns False if none runs.

    It answers when the old process has ended. Raises Away, and Refused while another process asks.
    """
    return await _ask(home.dir("run"), {"restart": service}) is not None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of those who ask. Raises Refused while another process asks."""
    # A second question would replace the first one, which `up` may not have read yet.
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
        with contextlib.suppress(ProcessLookupError):  # it has just ended: `_answer` finds that
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
    """Wait for the answer. Raises TimeoutError; Away if the process that was asked has ended."""
    async with asyncio.timeout(_WITHIN_S):
        while (answer := _read(folder / _ANSWER)).get("token") != token:  # another process: no event to wait for
            await asyncio.sleep(0.05)
            if holder(folder) != pid:
                raise Away("`clawbus up` has ended meanwhile", "Start it: it applies what org.toml says.")
    return answer


def survive_questions() -> None:
    """Ignore the signal, whose default is to end the process. Call it before the process takes the lock.

    A question that comes before `answer_questions` runs is not lost: it stands in its file.
    """
    asyncio.get_running_loop().add_signal_handler(SIGNAL, lambda: None)


async def answer_questions(home: Home, do: Do, restart: Restart) -> None:
    """Answer the questions in `clawbus up`, until cancelled. Errors are answers, too.

    `do(force_souls, say)` brings the processes to org.toml. `restart(service)` ends a process, which is started again.
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
    """The question to this process, if it has no answer yet."""
    found = _read(folder / _QUESTION)
    mine = found.get("to") == _process(os.getpid()) and holder(folder) == os.getpid()
    return found if mine and found.get("token") != _read(folder / _ANSWER).get("token") else None


def _process(pid: int) -> str:
    """The name of a process: its pid and its beginning. In a container, `clawbus up` has the same pid each time."""
    return f"{pid} {began_at(pid)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
