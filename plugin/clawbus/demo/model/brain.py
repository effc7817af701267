"""The scripted model's behaviour in a turn: the CEO delegates and recommends, the CTO evaluates.

It decides from what it reads, and from nothing else: its own AGENTS.md and SOUL.md in the system prompt, the
messages, the outputs of its tools. What another agent sent is data to it: a result never gives it orders.
"""

from __future__ import annotations

import re

from clawbus.demo.model.colleagues import ASK_FIRST, about_blockers, answered, is_review, may_i_run, review, verdict
from clawbus.demo.model.conversation import Frame, Turn
from clawbus.demo.model.directives import has_directives, obey
from clawbus.demo.model.evaluation import UNREAD, evaluate
from clawbus.demo.model.plans import INTERRUPTED, Call, Decision, Plan, decide

CTO, SECURITY = "role-cto", "role-security"
_SECURITY = re.compile(r"\bsecurity\b", re.IGNORECASE)
LABEL = "Node 18 to 22"
_MIGRATION = re.compile(r"\bnode(?:\.js)?\b(?=.*\b18\b)(?=.*\b22\b)", re.IGNORECASE | re.DOTALL)
_FIXED_BY = re.compile(r"\bfixed by ([a-z0-9][a-z0-9-]*)")
_FOLDER_LINE = re.compile(r"^Folder: (.+)$", re.MULTILINE)
_FOLDER_IN_TEXT = re.compile(r"`(/[^`\n]+)`|\"(/[^\"\n]+)\"|(?:^|\s)(/[^\s?,;]+)")
_CONTEXT = "# Project Context"
_PEER_LINE = r"\W*([a-z0-9][a-z0-9-]{0,31})\b.*\b%s\b"
_PEER_OBJECT = r'"id"\s*:\s*"([a-z0-9-]+)"[^{}]*"role"\s*:\s*"%s"'
_TASK_ID = re.compile(r"\b[a-z2-7]{26}\b")
_FOUND = re.compile(r"^Found (\d+) uses? ", re.MULTILINE)
_ECHO_CHARS = 500


def question(folder: str) -> str:
    """The demo's question to the CEO."""
    return f"Can this Node project go from Node 18 to Node 22?\nFolder: {folder}"


def answer(turn: Turn) -> Decision:
    """The next thing to do in a turn."""
    return decide(_think(turn), turn.done)


def _think(turn: Turn) -> Plan:
    if turn.steers:
        return (yield from _turn_to(turn, turn.steers[-1].body))
    if turn.task:
        return (yield from _work(turn, turn.task.body))
    if turn.messages:
        return (yield from _hear(turn))
    replies = []
    for result in turn.results:
        passed_on = yield from _pass_on(turn, result)
        replies.append(_recommend(result) + passed_on)
    if turn.prompt or not replies:
        replies.append((yield from _respond(turn)))
    return "\n\n".join(replies)


def _work(turn: Turn, task: str) -> Plan:
    """A task from the bus."""
    if has_directives(task):
        return (yield from obey(task))
    if is_review(task):
        return (yield from review(task))
    folder = _folder(task)
    if folder and _MIGRATION.search(task):
        if ASK_FIRST in task:
            return (yield from may_i_run(turn))
        return (yield from evaluate(folder))
    return f"{turn.agent or 'I'} read the task: {task[:_ECHO_CHARS]}"


def _turn_to(turn: Turn, said: str) -> Plan:
    """The task was told something more: a new course is taken at once, anything else goes into the reply."""
    if has_directives(said):
        return (yield from obey(said))
    found = (yield from _work(turn, turn.task.body)) if turn.task else ""
    return f"{found}\n\nI was told meanwhile: {said[:_ECHO_CHARS]}".strip()


def _hear(turn: Turn) -> Plan:
    """Mail: an answer to a blocker lets the task go on; a blocker is left to who may decide it."""
    answer_given = answered(turn)
    if answer_given and turn.origin:
        found = yield from evaluate(_folder(turn.origin.body))
        return f"{found}\n\nI had asked whether the tests may be run. The answer: {answer_given[:_ECHO_CHARS]}"
    texts = [message.body for message in turn.messages]
    if any(has_directives(text) for text in texts):
        return (yield from obey("\n".join(texts)))
    names = ", ".join(message.field("From") for message in turn.messages)
    return about_blockers(turn.messages) or f"I have read what came from {names}."


def _respond(turn: Turn) -> Plan:
    """A message of the user."""
    text = turn.prompt
    if has_directives(text):
        return (yield from obey(text))
    if not _MIGRATION.search(text):
        return f"You said: {text[:_ECHO_CHARS]}"
    folder = _folder(text)
    if not folder:
        return "Which folder is it? Tell me its whole path, beginning with /."
    if f"({turn.agent}), {CTO}" in turn.system:
        return (yield from evaluate(folder))
    return (yield from _delegate(turn, folder))


def _delegate(turn: Turn, folder: str) -> Plan:
    agent = _peer(turn.system.partition(_CONTEXT)[2], "- ")
    if not agent:
        listing = yield Call("nats_org", {"role": CTO})
        agent = _peer(listing)
        if not agent:
            return f"I cannot delegate this: I see nobody with {CTO}. nats_org said:\n{listing[:_ECHO_CHARS]}"
    order = {"agentId": agent, "task": _order(folder), "label": LABEL}
    if reviewer := _reviewer(turn):
        order |= {"task": f"{_order(folder)}\n{ASK_FIRST}", "onComplete": reviewer}
    spawn = Call("nats_spawn", order, repeatable=False)
    output = yield spawn
    if INTERRUPTED in output:
        tasks = yield Call("nats_tasks", {"action": "list"})
        given = [line for line in tasks.split("\n") if agent in line and LABEL in line and " open " in line]
        output = given[0] if given else (yield spawn)
    task_id = _TASK_ID.search(output)
    if not task_id:
        return f"I could not delegate this to {agent}:\n{output[:_ECHO_CHARS]}"
    return (
        f"I have delegated the evaluation to {agent}, as task {task_id.group()}. Its report wakes me; "
        "then you get my recommendation."
    )


def _reviewer(turn: Turn) -> str:
    """The agent that is to check the report, if the user wants that."""
    return _peer(turn.system.partition(_CONTEXT)[2], "- ", SECURITY) if _SECURITY.search(turn.prompt) else ""


def _order(folder: str) -> str:
    return (
        "Evaluate whether this Node project can go from Node 18 to Node 22.\n"
        f"Folder: {folder}\n"
        "Search its .js, .mjs, .cjs and .ts files for crypto.createCipher(, for fs.rmdir( with recursive on the same "
        "or one of the next two lines, and for util.isArray(. Comments do not count.\n"
        "Reply with each use as path:line (relative to the folder), what replaces it, how many there are, and your "
        "recommendation. If the folder cannot be read, say so."
    )


def _recommend(result: Frame) -> str:
    """The reply to the user after a result: the advice; the report itself stands above it in the session."""
    task = f"(task {result.id})"
    sender, outcome = result.field("From"), result.field("Outcome")
    if outcome != "done":
        return f"{sender}'s task ended with {outcome}, so I have nothing to recommend {task}:\n{result.body}"
    count = _FOUND.search(result.body)
    if checked := verdict(result.body):
        return f"Security has checked the report. {checked} {task}"
    if count:
        uses = f"{count[1]} {'use' if count[1] == '1' else 'uses'}"
        rest = " and the files that were not read have been looked at" if UNREAD in result.body else ""
        advice = (
            f"{sender} found {uses} to replace. As far as these APIs go, I recommend Node 22 once this is done{rest}."
        )
    elif "No use was found" in result.body and "Recommendation: proceed." in result.body:
        advice = f"{sender} found nothing to replace: 0 uses. As far as these APIs go, I recommend Node 22."
    elif _MIGRATION.search(result.body + result.head):
        advice = f"{sender} could not tell, so I recommend nothing yet."
    else:
        return f"{sender} replied {task}:\n{result.body}"
    return f"{advice} {task}"


def _pass_on(turn: Turn, result: Frame) -> Plan:
    """Give the work that a report asks for to whom the user has named."""
    to = _FIXED_BY.search(turn.asked)
    if not to or not _FOUND.search(result.body) or result.field("Outcome") != "done":
        return ""
    order = {"agentId": to[1], "task": f"Fix what this report names:\n{result.body}", "label": "fixes for Node 22"}
    output = yield Call("nats_spawn", order, repeatable=False)
    return f"\nThe fixes: {' '.join(output.split())[:200]}"


def _folder(text: str) -> str:
    """The folder that a text names: on a line of its own, else quoted, else the first path with a slash."""
    line = _FOLDER_LINE.search(text)
    if line:
        return line[1].strip()
    found = _FOLDER_IN_TEXT.search(text)
    return next(filter(None, found.groups()), "") if found else ""


def _peer(text: str, begin: str = "", role: str = CTO) -> str:
    """The id of the agent whose line, or whose JSON object, names a role."""
    for pattern in (_PEER_OBJECT % role, f"^{re.escape(begin)}{_PEER_LINE % role}"):
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return found[1]
    return ""
