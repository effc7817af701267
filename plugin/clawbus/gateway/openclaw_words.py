"""The only place that decides by the English of OpenClaw (2026.9.6): where it gives words and no code.

Everywhere else its codes and states decide: `code` and `retryable` of an RPC error, `status`, `stopReason` and
`disposition` of a run, `customType` of a note in a transcript, the ids in `plugins list`. A text that is not known has
the meaning that is safe: the turn has failed and its words are shown, the call is tried again, the command has failed.
"""

from __future__ import annotations


def lacks_account(message: str) -> bool:
    """True if `send` names a channel that has no account. Its code, UNAVAILABLE, is that of a gateway that starts."""
    return "Outbound not configured for channel" in message


def is_superseded(error: str) -> bool:
    """True if a turn was given up because settings were read again while it was prepared: no model was asked.

    `agent.wait` has `status` "error" for each failure, and a text.
    """
    return "generation was superseded" in error


def is_unexplained(error: str) -> bool:
    """True if the error of `agent.wait` says only that the run failed, without the model's own words."""
    return error.strip().endswith("agent run failed")


def is_time_over(error_message: str) -> bool:
    """True if a message was cut off because the turn's time was over; `stopReason` is "aborted" for a stop, too."""
    return "timed out" in error_message


def is_unset(reason: str) -> bool:
    """True if `config get` names a setting that exists and is not set. Each error has the type `cli_error`."""
    return "but unset" in reason
