"""
GoDaddy. Two generations are live: v1 (key and secret) replaces a whole set, v3 (a personal access token) has records.

There is no PUT of v3 in here: the server takes one for a replacement of the whole zone, although it is in no
specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from bot.dns.api import PAGES_MAX, Held, Key, ProviderError, Refusal, body_of, host_of, mx_of, plain, steps_to
from bot.dns.plan import SetChange
from bot.dns.providers import Provider
from bot.dns.records import Record
from bot.http import Answer, Http

TTL_MIN, TTL_MAX, TTL_MAX_V3 = 600, 604_800, 86_400
PAGE_SIZE = 100
KINDS = ("MX", "TXT")

BY_CODE = {
    "UNABLE_TO_AUTHENTICATE": Refusal.BAD_KEY,
    "ACCESS_DENIED": Refusal.NOT_ELIGIBLE,
    "UNKNOWN_DOMAIN": Refusal.NO_ZONE,
    "DUPLICATE_RECORD": Refusal.DUPLICATE,
}
BY_STATUS = {
    401: Refusal.BAD_KEY, 403: Refusal.NOT_ELIGIBLE, 404: Refusal.NO_ZONE, 409: Refusal.BUSY, 422: Refusal.BAD_RECORD,
    429: Refusal.BUSY,
}  # fmt: skip


def checked(answer: Answer) -> Any:
    """The answer's JSON; ProviderError for a refusal."""
    body = body_of(answer)
    if answer.status < 300:
        return body
    told = body if isinstance(body, dict) else {}
    code = str(told.get("code", answer.status))
    refusal = BY_CODE.get(code) or BY_STATUS.get(answer.status)
    if refusal is None:
        refusal = Refusal.BUSY if answer.status >= 500 else Refusal.OTHER
    raise ProviderError(Provider.GODADDY, refusal, code, str(told.get("message", "")))


def clamped(ttl: int | None, most: int) -> int:
    """A TTL that GoDaddy takes."""
    return min(most, max(TTL_MIN, ttl or TTL_MIN))


def record_of(told: Any) -> Record:
    """A record as GoDaddy writes it."""
    value = str(told["data"])
    value = mx_of(value) if told["type"] == "MX" else plain(value)
    priority = int(told.get("priority") or 0) if told["type"] == "MX" else None
    return Record(told["type"], host_of(str(told["name"])), value, priority, told.get("ttl"))


class GoDaddyV1:
    """By sets: what `PUT records/{type}/{name}` names is all there is afterwards."""

    def __init__(self, key: Key, *, base: str) -> None:
        self._http = Http(base)
        self._headers = {"Authorization": f"sso-key {key.id}:{key.secret}"}

    def records(self, zone: str) -> list[Held]:
        """Asked type by type."""
        told = [each for kind in KINDS for each in self._ask("GET", f"/v1/domains/{zone}/records/{kind}") or ()]
        return [Held(record_of(each)) for each in told]

    def write(self, zone: str, change: SetChange, held: Sequence[Held]) -> None:
        """
        The set as it should be: texts that only come in addition are added, anything else replaces the set.

        A set that should be empty is deleted: an empty list is ignored.
        """
        place = f"/v1/domains/{zone}/records/{change.type}/{quote(change.host, safe='@')}"
        steps = steps_to(change, held)
        if not change.after:
            self._ask("DELETE", place)
        elif change.type == "TXT" and not steps.change and not steps.remove:
            added = [{"type": each.type, "name": each.host, **body_for(each)} for each in steps.add]
            self._ask("PATCH", f"/v1/domains/{zone}/records", added)
        else:
            stay = [next((each.record for each in held if each.record.same(new)), new) for new in change.after]
            self._ask("PUT", place, [body_for(each) for each in stay])

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _ask(self, method: str, path: str, body: object | None = None) -> Any:
        return checked(self._http.request(method, path, json_body=body, headers=self._headers))


def body_for(record: Record) -> dict[str, Any]:
    """A record of a set, whose type and host are in the path."""
    body: dict[str, Any] = {"data": record.value, "ttl": clamped(record.ttl, TTL_MAX)}
    return body if record.priority is None else {**body, "priority": record.priority}


class GoDaddyV3:
    """By records: created, then deleted; never put."""

    def __init__(self, key: Key, *, base: str) -> None:
        self._http = Http(base)
        self._headers = {"Authorization": f"Bearer {key.id}"}

    def records(self, zone: str) -> list[Held]:
        """Page by page."""
        return [each for kind in KINDS for each in self._of_kind(zone, kind)]

    def _of_kind(self, zone: str, kind: str) -> list[Held]:
        found: list[Held] = []
        for page in range(1, PAGES_MAX + 1):
            query = {"type": kind, "page": str(page), "pageSize": str(PAGE_SIZE)}
            items = self._ask("GET", self._path(zone), query=query)["items"]
            found += [Held(record_of(each), str(each["recordId"])) for each in items]
            if len(items) < PAGE_SIZE:
                return found
        raise ProviderError(Provider.GODADDY, Refusal.OTHER, "too many records")

    def write(self, zone: str, change: SetChange, held: Sequence[Held]) -> None:
        """What is new first, then what is old goes; the same host with another priority may be refused until then."""
        steps = steps_to(change, held)
        old = [*steps.remove, *(each for each, _ in steps.change)]
        late: list[Record] = []
        for record in (*steps.add, *(new for _, new in steps.change)):
            try:
                self._create(zone, record)
            except ProviderError as error:
                if error.refusal is not Refusal.DUPLICATE:
                    raise
                late.append(record)
        for each in old:
            self._ask("DELETE", f"{self._path(zone)}/{quote(each.id, safe='')}")
        there = [each.record for each in self.records(zone)] if late else []
        for record in late:
            if not any(each.same(record) for each in there):
                self._create(zone, record)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _create(self, zone: str, record: Record) -> None:
        body = {"type": record.type, "name": record.host, "data": record.value, "ttl": clamped(record.ttl, TTL_MAX_V3)}
        if record.priority is not None:
            body["priority"] = record.priority
        self._ask("POST", self._path(zone), body)

    def _path(self, zone: str) -> str:
        return f"/v3/domains/zones/{zone}/dns-records"

    def _ask(self, method: str, path: str, body: object | None = None, *, query: dict[str, str] | None = None) -> Any:
        return checked(self._http.request(method, path, json_body=body, query=query, headers=self._headers))


def open_godaddy(key: Key, *, base: str) -> GoDaddyV1 | GoDaddyV3:
    """By what the key is: key and secret, or a personal access token alone."""
    return GoDaddyV1(key, base=base) if key.secret else GoDaddyV3(key, base=base)
