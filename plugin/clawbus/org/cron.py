"""The next time of a cron line. Six fields, seconds first, UTC, as nats-server's schedules write them (ADR-51).

The times are counted here and not by the server, because its own repeated schedules skip what fell due while it was
down (2.15.1: `@every` even begins anew with each restart), whereas a single `@at` fires once it is back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?:\*|\?|(\w+)(?:-(\w+))?)(?:/(\d{1,2}))?")
_HORIZON_DAYS = 366 * 8  # a 29th of February is at most eight years away


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line that was read. `either_day`: both kinds of day are restricted, and then one of them is enough."""

    either_day: bool
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Raises ValueError, with what would be right."""
        fields = text.lower().split()
        if len(fields) != len(_FIELDS):
            raise ValueError(
                "a cron has six fields. Write second minute hour day month weekday, such as '0 0 9 * * mon-fri'."
            )
        values = [_read(field, *rule) for field, rule in zip(fields, _FIELDS, strict=True)]
        free = [field[0] in "*?" for field in (fields[3], fields[5])]
        found = cls(not any(free), *values)
        if not any(found._on(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(n)) for n in range(_HORIZON_DAYS)):
            raise ValueError("that day never comes. Write one that does.")
        return found

    def after(self, moment: datetime) -> datetime:
        """The first time that is later than `moment`, in UTC."""
        at = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        floor = at.time()
        for _ in range(_HORIZON_DAYS):
            found = self._time(floor) if self._on(at) else None
            if found is not None:
                return at.replace(hour=found.hour, minute=found.minute, second=found.second)
            at, floor = at + timedelta(days=1), time.min
        raise ValueError("that day never comes")

    def _on(self, day: datetime) -> bool:
        kinds = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return day.month in self.months and (any(kinds) if self.either_day else all(kinds))

    def _time(self, floor: time) -> time | None:
        """The first time of a day at or after `floor`."""
        for hour in (hour for hour in self.hours if hour >= floor.hour):
            for minute in (minute for minute in self.minutes if (hour, minute) >= (floor.hour, floor.minute)):
                for second in self.seconds:
                    if time(hour, minute, second) >= floor:
                        return time(hour, minute, second)
        return None


def _read(field: str, name: str, low: int, high: int, names: tuple[str, ...]) -> tuple[int, ...]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no {name}. Write *, 5, 1-5, */10 or a list of these.")
        first, last, step = match.groups()
        start = _number(first, name, low, high, names) if first else low
        end = _number(last, name, low, high, names) if last else start if first and not step else high
        if end < start or step == "0":
            raise ValueError(f"{part!r} is no {name}, it holds nothing. Write the smaller one first, and no step of 0.")
        found.update(range(start, end + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(word: str, name: str, low: int, high: int, names: tuple[str, ...]) -> int:
    value = names.index(word) + low if word in names else int(word) if word.isdecimal() else -1
    if not low <= value <= high:
        words = f", or {names[0]} to {names[-1]}" if names else ""
        raise ValueError(f"{word!r} is no {name}. Write {low} to {high}{words}.")
    return value
