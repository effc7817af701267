"""A person's webhook: JSON is posted to one URL. The URL stands in a file of mode 600, and in no log."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clawbus.errors import Away, Missing
from clawbus.org.bus_config import is_loopback

_ANSWER_S = 10.0


def read_url(path: Path) -> str:
    """The URL that stands in a file. Raises Missing: no such file, others can read it, or it holds no http(s) URL."""
    try:
        mode, url = path.stat().st_mode, path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Missing(f"webhook_file {path} cannot be read: {type(error).__name__}", "Write the URL into it.") from None
    if mode & 0o077:
        raise Missing(f"webhook_file {path} can be read by others", f"chmod 600 {path}")
    if not _is_web(url):
        raise Missing(f"webhook_file {path} does not hold one http or https URL", "Write the URL into it, alone.")
    return url


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and len(url.split()) == 1 and parts.port != 0
    except ValueError:  # brackets that do not match, or a port that is no number
        return False


async def post(url: str, body: dict[str, Any]) -> None:
    """Post JSON. Any 2xx answer will do. Raises Away, whose message does not hold the URL."""
    await asyncio.to_thread(_post, url, json.dumps(body, ensure_ascii=False).encode())


def _opener(url: str) -> urllib.request.OpenerDirector:
    # No proxy can reach this machine's loopback, whatever the environment or the system says of proxies.
    past = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
    return urllib.request.build_opener(*past)


def _post(url: str, data: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "clawbus"}
    try:
        request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310 - read_url has checked the scheme
        with _opener(url).open(request, timeout=_ANSWER_S):
            return
    except urllib.error.HTTPError as error:
        raise Away(f"the webhook answered {error.code}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise Away(f"the webhook does not answer: {type(error).__name__}") from None
