"""`clawbus budget`: what each tree of tasks has used of what it may, and allowing one more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line, short
from clawbus.errors import InvalidInput, NotFound
from clawbus.wire.subjects import new_message_id

if TYPE_CHECKING:
    from clawbus.tasks.budget import Tree
    from clawbus.tasks.budget_account import Spend

_SHOWN = 20


@click.command()
@click.argument("task", metavar="[ID]", required=False, callback=beginning)
@click.option("--raise", "more", default="", metavar="BUDGET", help="Allow the tree so much more: turns=20,minutes=30")
@as_option
@org_option
@json_option
@run_async
async def budget_command(task: str | None, more: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show what a tree of tasks has used, left and given; without ID the newest trees.

    ID: any task of the tree. Exit code 1 when one that is shown has used its budget.
    """
    from clawbus.client.company import Company
    from clawbus.tasks.budget import MEASURES, Record, read_budget
    from clawbus.tasks.budget_account import spend_of

    added = read_budget("--raise", more)
    if added is not None and task is None:
        raise InvalidInput("--raise", more, "needs ID", f"Name one of the tree: clawbus budget ID --raise {more}")
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        spend = spend_of(bus, company.org)
        trees = await spend.all()
        shown = trees[-_SHOWN:] if task is None else [_with(trees, task)]
        if added is not None:
            said = {name: getattr(added, name) for name in MEASURES if getattr(added, name) is not None}
            record = Record(kind="raised", task=shown[0].trace, **said)
            subject = spend.subject(shown[0].trace, me)
            await bus.publish(subject, record.encode(), msg_id=new_message_id(me))
            shown = [await spend.tree(shown[0].trace)]
    if as_json:
        print_json([tree.as_json(spend.bound) for tree in shown])
    for tree in [] if as_json else shown:
        _print(tree, spend, whole=task is not None)
    if not shown and not as_json:
        put_line("No task has been given yet.")
    return 1 if any(tree.exceeded(spend.bound) for tree in shown) else 0


def _with(trees: list[Tree], task: str) -> Tree:
    found = [tree for tree in trees if any(known.startswith(task) for known in (tree.trace, *tree.tasks))]
    if len(found) > 1:
        raise InvalidInput("ID", task, f"tasks of {len(found)} trees begin so", "Write more of it.")
    if not found:
        raise NotFound(f"no tree of tasks has one that begins with {task}", "List them with `clawbus budget`.")
    return found[0]


def _print(tree: Tree, spend: Spend, whole: bool) -> None:
    from clawbus.tasks.budget import MEASURES

    used, bound = tree.used, tree.bound(spend.bound)
    parts = [f"{used[name]:g} of {bound[name]} {name}" for name in MEASURES]
    over = "  used up: it gives no more" if tree.exceeded(spend.bound) else ""
    put_line(f"{short(tree.trace)}  {', '.join(parts)}{over}")
    if whole:
        _print_below(tree, "", 1, set())


def _print_below(tree: Tree, parent: str, depth: int, seen: set[str]) -> None:
    """The tasks that were given in one's turn; at the top all whose parent is not of this tree."""
    at_top = [task for task in tree.tasks.values() if task.parent not in tree.tasks]
    for task in at_top if not parent else tree.below(parent):
        if task.task in seen:  # a circle, written by somebody who wanted one
            continue
        seen.add(task.task)
        what = "woke for a message" if task.by == task.to else f"{task.by} -> {task.to}"
        took = f"  {task.minutes:.2f} min" + (f", {task.tokens} tokens" if task.tokens else "") if task.reports else ""
        put_line(f"{'  ' * min(depth, 20)}{short(task.task)}  {what}{took}{'  (not sent)' if task.released else ''}")
        _print_below(tree, task.task, depth + 1, seen)
