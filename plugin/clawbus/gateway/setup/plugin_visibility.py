"""The settings of a gateway that load the plugin and show its tools to the model (OpenClaw docs/gateway/config-tools).

The manifest names the profiles that show the tools. A list that the user wrote counts more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clawbus.errors import Refused
from clawbus.gateway.setup.join_record import ConfigChange

PLUGIN = "clawbus"
ENTRY = f"plugins.entries.{PLUGIN}"
_ALL_PLUGINS = (PLUGIN, "group:plugins", "*")
"""The names in a tool list that stand for all tools of this plugin."""


def check_loadable(plugins: Mapping[str, Any]) -> None:
    """Raise Refused if the user's settings rule out this plugin: join does not change that decision."""
    if plugins.get("enabled") is False:
        raise Refused(
            "plugins.enabled = false: this gateway loads no plugin at all",
            "To change that: openclaw config set plugins.enabled true",
        )
    if PLUGIN in plugins.get("deny", ()):
        raise Refused(
            f"plugins.deny names {PLUGIN}: this gateway is told not to load it",
            "Take it out of that list with `openclaw configure` or in openclaw.json.",
        )


def missing(plugins: Mapping[str, Any], tools: Mapping[str, Any], socket: Path) -> Iterator[ConfigChange]:
    """The changes that the plugin and its tools still need; `socket`: the node's."""
    entry = (plugins.get("entries") or {}).get(PLUGIN)
    config = (entry or {}).get("config") or {}
    wanted = {**(entry or {}), "enabled": True, "config": {**config, "socket": str(socket)}}
    if wanted != entry:
        yield ConfigChange(path=ENTRY, before=entry, after=wanted)
    allowed = plugins.get("allow")
    if allowed and PLUGIN not in allowed:  # an empty list allows every plugin
        yield ConfigChange(path="plugins.allow", before=allowed, after=[*allowed, PLUGIN])
    # OpenClaw refuses a file with both of these lists.
    name = "allow" if tools.get("allow") else "alsoAllow"
    listed = tools.get(name)
    if not _names(listed):
        yield ConfigChange(path=f"tools.{name}", before=listed, after=[*(listed or ()), PLUGIN])


def hidden(tools: Mapping[str, Any], agents: Mapping[str, Any]) -> list[str]:
    """Notes on lists of the user that keep the tools from some agents; join does not touch them."""
    notes = []
    if _names(tools.get("deny")):
        notes.append(f"tools.deny covers {PLUGIN}: no agent sees the six tools until you take that out")
    for agent, settings in (agents.get("entries") or {}).items():
        own = (settings or {}).get("tools") or {}
        if _names(own.get("deny")) or (own.get("allow") and not _names(own["allow"])):
            notes.append(
                f"agents.entries.{agent}.tools keeps the six tools from {agent}: "
                f'add "{PLUGIN}" to its allow list, or take it out of its deny list, if it should have them'
            )
    mode = ((agents.get("defaults") or {}).get("sandbox") or {}).get("mode", "off")
    sandboxed = (tools.get("sandbox") or {}).get("tools") or {}
    if mode != "off" and not _names(sandboxed.get("alsoAllow")) and not _names(sandboxed.get("allow")):
        notes.append(
            f'sandboxed sessions (agents.defaults.sandbox.mode = "{mode}") do not see the six tools: '
            f'add "{PLUGIN}" to tools.sandbox.tools.alsoAllow if they should'
        )
    return notes


def _names(listed: object) -> bool:
    return isinstance(listed, list) and any(name in listed for name in _ALL_PLUGINS)
