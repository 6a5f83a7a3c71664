"""DNSPod at Tencent Cloud, version 2021-03-23: calls signed with TC3-HMAC-SHA256."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

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

VERSION = "2021-03-23"
SERVICE = "dnspod"
PAGE_SIZE = 1000
LINE = "默认"
CONTENT_TYPE = "application/json; charset=utf-8"
KINDS = ("MX", "TXT")
NO_RECORDS = "ResourceNotFound.NoDataOfRecord"
TTL_MIN = 600  # of the free edition

REFUSALS = {
    "AuthFailure.SignatureFailure": Refusal.BAD_KEY,
    "AuthFailure.SecretIdNotFound": Refusal.BAD_KEY,
    "AuthFailure.InvalidSecretId": Refusal.BAD_KEY,
    "AuthFailure.TokenFailure": Refusal.BAD_KEY,
    "AuthFailure.SignatureExpire": Refusal.CLOCK,
    "AuthFailure.UnauthorizedOperation": Refusal.NO_RIGHT,
    "UnauthorizedOperation": Refusal.NO_RIGHT,
    "InvalidParameterValue.DomainNotExists": Refusal.NO_ZONE,
    "InvalidParameter.DomainIdInvalid": Refusal.NO_ZONE,
    "ResourceNotFound.NoDataOfDomain": Refusal.NO_ZONE,
    "OperationDenied.NoPermissionToOperateDomain": Refusal.NO_ZONE,
    "InvalidParameter.DomainRecordExist": Refusal.DUPLICATE,
    "RequestLimitExceeded": Refusal.BUSY,
    "InternalError": Refusal.BUSY,
}


def authorization(key: Key, host: str, body: bytes, at: int, day: str) -> str:
    """The header, over the body and two headers (cloud.tencent.com, signature v3)."""
    digest = hashlib.sha256(body).hexdigest()
    request = f"POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\n\ncontent-type;host\n{digest}"
    scope = f"{day}/{SERVICE}/tc3_request"
    text = f"TC3-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signing = f"TC3{key.secret}".encode()
    for part in (day, SERVICE, "tc3_request"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    signed = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    return f"TC3-HMAC-SHA256 Credential={key.id}/{scope}, SignedHeaders=content-type;host, Signature={signed}"


class DnsPod:
    """One secret id and key."""

    def __init__(self, key: Key, clock: Clock, *, base: str) -> None:
        self._http = Http(base)
        self._host = urlsplit(base).netloc
        self._key = key
        self._clock = clock

    def records(self, zone: str) -> list[Held]:
        """Page by page."""
        return [each for kind in KINDS for each in self._of_kind(zone, kind)]

    def _of_kind(self, zone: str, kind: str) -> list[Held]:
        found: list[Held] = []
        for page in range(PAGES_MAX):
            try:
                told = self._call(
                    "DescribeRecordList", Domain=zone, RecordType=kind, Offset=page * PAGE_SIZE, Limit=PAGE_SIZE
                )
            except ProviderError as error:
                if error.code == NO_RECORDS:
                    return found
                raise
            rows = told["RecordList"]
            found += [
                Held(record_of(each), str(each["RecordId"]), other_line(each, LINE))
                for each in rows
                if each["Type"] == kind and str(each.get("Status", "ENABLE")).upper() == "ENABLE"
            ]
            if len(rows) < PAGE_SIZE:
                return found
        raise ProviderError(Provider.DNSPOD, Refusal.OTHER, "too many records")

    def write(self, zone: str, change: SetChange, held: Sequence[Held]) -> None:
        """Changed in place, added, removed."""
        steps = steps_to(change, held)
        for old, new in steps.change:
            self._unless_there("ModifyRecord", Domain=zone, RecordId=int(old.id), **fields_of(new))
        for record in steps.add:
            self._unless_there("CreateRecord", Domain=zone, **fields_of(record))
        for each in steps.remove:
            self._call("DeleteRecord", Domain=zone, RecordId=int(each.id))

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _unless_there(self, action: str, **fields: Any) -> None:
        try:
            self._call(action, **fields)
        except ProviderError as error:
            if error.refusal is not Refusal.DUPLICATE:
                raise

    def _call(self, action: str, **fields: Any) -> Any:
        now = self._clock.now()
        at, day = int(now.timestamp()), f"{now:%Y-%m-%d}"
        body = json.dumps(fields, ensure_ascii=False).encode()  # byte for byte what Http sends
        headers = {
            "Authorization": authorization(self._key, self._host, body, at, day),
            "X-TC-Action": action, "X-TC-Version": VERSION, "X-TC-Timestamp": str(at),
        }  # fmt: skip
        answer = self._http.request("POST", "/", json_body=fields, headers=headers)
        told = (body_of(answer) or {}).get("Response", {}) if answer.status < 500 else {}
        if answer.status < 300 and told and "Error" not in told:
            return told
        error = told.get("Error", {})
        code = str(error.get("Code", answer.status))
        refusal = REFUSALS.get(code) or (Refusal.BUSY if answer.status >= 500 else Refusal.OTHER)
        raise ProviderError(Provider.DNSPOD, refusal, code, str(error.get("Message", "")))


def fields_of(record: Record) -> dict[str, Any]:
    """A record as DNSPod wants it."""
    fields: dict[str, Any] = {
        "SubDomain": record.host, "RecordType": record.type, "RecordLine": LINE, "Value": record.value,
        "TTL": max(TTL_MIN, record.ttl or 0),
    }  # fmt: skip
    return {**fields, "MX": max(1, record.priority or 1)} if record.type == "MX" else fields


def record_of(told: Any) -> Record:
    """A record as DNSPod writes it: hosts with a dot at the end."""
    kind = str(told["Type"])
    value = mx_of(str(told["Value"])) if kind == "MX" else plain(str(told["Value"]))
    priority = int(told.get("MX") or 0) if kind == "MX" else None
    return Record(kind, host_of(str(told["Name"])), value, priority, int(told["TTL"]))
