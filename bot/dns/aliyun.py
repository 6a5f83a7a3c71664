"""Aliyun DNS (云解析), version 2015-01-09: RPC calls signed with HMAC-SHA1."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bot.clock import Clock
from bot.dns.api import (
    PAGES_MAX,
    Held,
    Key,
    ProviderError,
    Refusal,
    body_of,
    host_of,
    mx_of,
    other_line,
    plain,
    steps_to,
)
from bot.dns.plan import SetChange
from bot.dns.providers import Provider
from bot.dns.records import Record
from bot.http import Http

VERSION = "2015-01-09"
PAGE_SIZE = 500
PRIORITY_MIN, PRIORITY_MAX = 1, 50
TTL_MIN = 600  # of the free edition
KINDS = ("MX", "TXT")
LINE = "default"
SIGNED = "server string to sign"  # what follows has the key's id in it

REFUSALS = {
    "DomainRecordDuplicate": Refusal.DUPLICATE,
    "DomainRecordConflict": Refusal.CONFLICT,
    "IncorrectDomainUser": Refusal.NO_ZONE,
    "InvalidDomainName.NoExist": Refusal.NO_ZONE,
    "Forbidden.NotHichinaDomain": Refusal.NO_ZONE,
    "SignatureDoesNotMatch": Refusal.BAD_KEY,
    "IncompleteSignature": Refusal.BAD_KEY,
    "InvalidAccessKeyId.NotFound": Refusal.BAD_KEY,
    "InvalidAccessKeyId.Inactive": Refusal.BAD_KEY,
    "Forbidden.RAM": Refusal.NO_RIGHT,
    "NoPermission": Refusal.NO_RIGHT,
    "InvalidTimeStamp.Expired": Refusal.CLOCK,
    "ServiceUnavailable": Refusal.BUSY,
    "InternalError": Refusal.BUSY,
    "SubDomainInvalid.Value": Refusal.BAD_RECORD,
}


def encoded(text: str) -> str:
    """Percent-encoded as Aliyun signs it: a blank is %20, `~` stays."""
    return quote(text, safe="~")


def signature(method: str, params: Mapping[str, str], secret: str) -> str:
    """Over the sorted parameters (help.aliyun.com, RPC signature)."""
    query = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(params.items()))
    text = f"{method}&{encoded('/')}&{encoded(query)}"
    return base64.b64encode(hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()).decode()


class Aliyun:
    """One access key."""

    def __init__(self, key: Key, clock: Clock, *, base: str) -> None:
        self._http = Http(base)
        self._key = key
        self._clock = clock

    def records(self, zone: str) -> list[Held]:
        """Page by page; the search words of this API are fuzzy, so what is of no use is sorted out here."""
        return [each for kind in KINDS for each in self._of_kind(zone, kind)]

    def _of_kind(self, zone: str, kind: str) -> list[Held]:
        found: list[Held] = []
        for page in range(1, PAGES_MAX + 1):
            told = self._call(
                "DescribeDomainRecords",
                DomainName=zone,
                PageNumber=str(page),
                PageSize=str(PAGE_SIZE),
                TypeKeyWord=kind,
            )
            rows = told["DomainRecords"]["Record"]
            found += [
                Held(record_of(each), str(each["RecordId"]), other_line(each, LINE))
                for each in rows
                if each["Type"] == kind and str(each.get("Status", "ENABLE")).upper() == "ENABLE"
            ]
            if not rows or page * PAGE_SIZE >= int(told["TotalCount"]):
                return found
        raise ProviderError(Provider.ALIYUN, Refusal.OTHER, "too many records")

    def write(self, zone: str, change: SetChange, held: Sequence[Held]) -> None:
        """Changed in place, added, removed; "there already" is believed when it is read back, by who called."""
        steps = steps_to(change, held)
        for old, new in steps.change:
            self._unless_there("UpdateDomainRecord", RecordId=old.id, **self._fields(new))
        for record in steps.add:
            self._unless_there("AddDomainRecord", DomainName=zone, **self._fields(record))
        for each in steps.remove:
            self._call("DeleteDomainRecord", RecordId=each.id)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _fields(self, record: Record) -> dict[str, str]:
        fields = {
            "RR": record.host, "Type": record.type, "Value": record.value, "TTL": str(max(TTL_MIN, record.ttl or 0)),
            "Line": LINE,
        }  # fmt: skip
        if record.type == "MX":
            fields["Priority"] = str(min(PRIORITY_MAX, max(PRIORITY_MIN, record.priority or PRIORITY_MIN)))
        return fields

    def _unless_there(self, action: str, **fields: str) -> None:
        try:
            self._call(action, **fields)
        except ProviderError as error:
            if error.refusal is not Refusal.DUPLICATE:
                raise

    def _call(self, action: str, **fields: str) -> Any:
        params = {
            "Action": action, "Version": VERSION, "Format": "JSON", "AccessKeyId": self._key.id,
            "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "SignatureNonce": secrets.token_hex(16),
            "Timestamp": f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}", **fields,
        }  # fmt: skip
        params["Signature"] = signature("GET", params, self._key.secret)
        answer = self._http.request("GET", "/", query=params)
        body = body_of(answer)
        if answer.status < 300 and isinstance(body, dict):
            return body
        told = body if isinstance(body, dict) else {}
        code = str(told.get("Code", answer.status))
        refusal = REFUSALS.get(code) or (
            Refusal.BUSY if code.startswith("Throttling") or answer.status >= 500 else Refusal.OTHER
        )
        raise ProviderError(Provider.ALIYUN, refusal, code, str(told.get("Message", "")).partition(SIGNED)[0])


def record_of(told: Any) -> Record:
    """A record as Aliyun writes it."""
    kind = str(told["Type"])
    value = mx_of(str(told["Value"])) if kind == "MX" else plain(str(told["Value"]))
    priority = int(told.get("Priority") or 0) if kind == "MX" else None
    return Record(kind, host_of(str(told["RR"])), value, priority, int(told["TTL"]))
