"""
The providers' APIs, as their documents describe them, traps included.

Signatures are checked from the documents, with nothing of the bot's: Aliyun's over the query as it arrived, DNSPod's
over the bytes of the body. Each keeps its own idea of what a duplicate is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from bot.sandbox.dns.world import DnsWorld, Zone, ZoneRecord
from bot.sandbox.trouble import Troubles

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
ALIYUN_CLOCK = timedelta(minutes=15)
DNSPOD_CLOCK = timedelta(minutes=5)
GODADDY_BUSY = timedelta(seconds=1)  # after an edit the zone answers 409 for a moment
PAGE_MAX = 500
TTL_MIN, TTL_MAX = 600, 86_400
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class ApiRefused(Exception):
    """A call is refused with a status, a code and a text."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(code)
        self.status, self.code, self.text = status, code, text


@dataclass
class Accounts:
    """The keys of the organisation's accounts, as its admin finds them in the providers' consoles."""

    aliyun: tuple[str, str] = field(default_factory=lambda: (f"LTAI{secrets.token_hex(8)}", secrets.token_urlsafe(22)))
    dnspod: tuple[str, str] = field(default_factory=lambda: (f"AKID{secrets.token_hex(12)}", secrets.token_urlsafe(24)))
    godaddy: tuple[str, str] = field(default_factory=lambda: (secrets.token_hex(18), secrets.token_hex(11)))
    godaddy_token: str = field(default_factory=lambda: f"pat_{secrets.token_hex(20)}")

    def shown(self) -> dict[str, Any]:
        """For the page and the plays."""
        return {
            "aliyun": list(self.aliyun), "dnspod": list(self.dnspod), "godaddy": list(self.godaddy),
            "godaddy_token": [self.godaddy_token, ""],
        }  # fmt: skip


class Providers:
    """Carries out calls on the zones of one organisation."""

    def __init__(self, dns: DnsWorld, troubles: Troubles) -> None:
        self.dns, self.troubles = dns, troubles
        self.accounts = Accounts()
        self.busy_until: dict[str, datetime] = {}
        self.nonces: set[str] = set()

    @property
    def now(self) -> datetime:
        """The sandbox clock."""
        return self.dns.now()

    def zone(self, name: str, provider: str) -> Zone | None:
        """A zone of this provider's."""
        found = self.dns.zones.get(name.lower())
        return found if found is not None and found.provider == provider else None

    def strikes(self, switch: str, what: str) -> bool:
        """Whether a trouble hits this call."""
        return self.troubles.strikes(switch, what)

    # --- Aliyun

    def aliyun(self, query: bytes) -> dict[str, Any]:
        """One RPC call."""
        params = dict(parse_qsl(query.decode(), keep_blank_values=True))
        self.aliyun_gate(params)
        if self.strikes("dns_api_busy", f"aliyun/{params.get('Action')}"):
            raise ApiRefused(400, "Throttling.User", "Request was denied due to user flow control.")
        actions: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
            "DescribeDomainRecords": self.aliyun_list, "AddDomainRecord": self.aliyun_add,
            "UpdateDomainRecord": self.aliyun_update, "DeleteDomainRecord": self.aliyun_delete,
        }  # fmt: skip
        act = actions.get(params.get("Action", ""))
        if act is None or params.get("Version") != "2015-01-09":
            raise ApiRefused(404, "InvalidAction.NotFound", "Specified api is not found.")
        return {"RequestId": secrets.token_hex(16).upper(), **act(params)}

    def aliyun_gate(self, params: dict[str, str]) -> None:
        """Key, time, nonce, signature."""
        key, secret = self.accounts.aliyun
        given = params.pop("Signature", "")
        if params.get("AccessKeyId") != key:
            raise ApiRefused(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        stamp = params.get("Timestamp", "")
        if not TIMESTAMP.fullmatch(stamp):
            raise ApiRefused(
                400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
            )
        at = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if abs(at - self.now) > ALIYUN_CLOCK:
            raise ApiRefused(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        canonical = "&".join(f"{percent(name)}={percent(params[name])}" for name in sorted(params))
        signed = hmac.new(f"{secret}&".encode(), f"GET&%2F&{percent(canonical)}".encode(), hashlib.sha1).digest()
        if not hmac.compare_digest(base64.b64encode(signed).decode(), given):
            raise ApiRefused(400, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")
        if params["SignatureNonce"] in self.nonces:
            raise ApiRefused(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        self.nonces.add(params["SignatureNonce"])

    def aliyun_zone(self, params: dict[str, str]) -> Zone:
        zone = self.zone(params.get("DomainName", ""), "aliyun")
        if zone is None:
            raise ApiRefused(400, "InvalidDomainName.NoExist", "The specified domain name does not exist.")
        return zone

    def aliyun_list(self, params: dict[str, str]) -> dict[str, Any]:
        zone = self.aliyun_zone(params)
        size, page = int(params.get("PageSize", "20")), int(params.get("PageNumber", "1"))
        if size > PAGE_MAX:
            raise ApiRefused(400, "InvalidPageSize", "PageSize is too large.")
        wanted = [
            each
            for each in zone.records
            if params.get("TypeKeyWord", each.type) == each.type and params.get("RRKeyWord", "") in each.host
        ]
        rows = wanted[(page - 1) * size : page * size]
        return {
            "TotalCount": len(wanted), "PageNumber": page, "PageSize": size,
            "DomainRecords": {"Record": [self.aliyun_row(zone, each) for each in rows]},
        }  # fmt: skip

    def aliyun_row(self, zone: Zone, record: ZoneRecord) -> dict[str, Any]:
        row = {
            "DomainName": zone.name, "RecordId": record.id, "RR": record.host, "Type": record.type,
            "Value": record.value, "TTL": record.ttl, "Line": "default", "Status": "ENABLE", "Locked": False,
        }  # fmt: skip
        return {**row, "Priority": record.priority} if record.type == "MX" else row

    def aliyun_fields(self, params: dict[str, str]) -> dict[str, Any]:
        kind, host, value = params.get("Type", ""), params.get("RR", ""), params.get("Value", "")
        if not host or not value or not kind:
            raise ApiRefused(400, "SubDomainInvalid.Value", "The DNS record is invalid or in the wrong format.")
        priority = None
        if kind == "MX":
            if not params.get("Priority", "").isdigit() or not 1 <= int(params["Priority"]) <= 50:
                raise ApiRefused(400, "MissingPriority", "Priority is mandatory for MX, from 1 to 50.")
            priority = int(params["Priority"])
        ttl = int(params.get("TTL", "600"))
        if ttl < TTL_MIN:
            raise ApiRefused(400, "QuotaExceeded.TTL", "TTL is too small for this edition.")
        return {"type": kind, "host": host, "value": value, "ttl": ttl, "priority": priority}

    def aliyun_add(self, params: dict[str, str]) -> dict[str, Any]:
        zone, fields = self.aliyun_zone(params), self.aliyun_fields(params)
        self.aliyun_unique(zone, fields, None)
        record = self.dns.put(
            zone, fields["type"], fields["host"], fields["value"], priority=fields["priority"], ttl=fields["ttl"]
        )
        return {"RecordId": record.id}

    def aliyun_unique(self, zone: Zone, fields: dict[str, Any], own: ZoneRecord | None) -> None:
        """A duplicate is one with the same host, type and value, whatever its priority."""
        for each in zone.records:
            same = (each.type, each.host, each.value) == (fields["type"], fields["host"], fields["value"])
            if same and each is not own:
                raise ApiRefused(400, "DomainRecordDuplicate", "The DNS record already exists.")

    def aliyun_update(self, params: dict[str, str]) -> dict[str, Any]:
        zone, record = self.by_id(params.get("RecordId", ""), "aliyun", "DomainRecordNotBelongToUser")
        fields = self.aliyun_fields(params)
        self.aliyun_unique(zone, fields, record)
        before = record.shown()
        for name, value in fields.items():
            setattr(record, name, value)
        if record.shown() == before:
            raise ApiRefused(400, "DomainRecordDuplicate", "The DNS record already exists.")
        self.dns.touched(zone)
        return {"RecordId": record.id}

    def aliyun_delete(self, params: dict[str, str]) -> dict[str, Any]:
        zone, record = self.by_id(params.get("RecordId", ""), "aliyun", "DomainRecordNotBelongToUser")
        self.dns.drop(zone, record)
        return {"RecordId": record.id}

    def by_id(self, record_id: str, provider: str, code: str) -> tuple[Zone, ZoneRecord]:
        """A record by its number, in any zone of the account."""
        for zone in self.dns.zones.values():
            for record in zone.records:
                if record.id == record_id and zone.provider == provider:
                    return zone, record
        raise ApiRefused(400, code, "The record does not belong to this account.")

    # --- DNSPod

    def dnspod(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """One call."""
        self.dnspod_gate(headers, body)
        action = headers.get("x-tc-action", "")
        if self.strikes("dns_api_busy", f"dnspod/{action}"):
            raise ApiRefused(200, "RequestLimitExceeded", "Too many requests.")
        actions: dict[str, Callable[[Zone, dict[str, Any]], dict[str, Any]]] = {
            "DescribeRecordList": self.dnspod_list, "CreateRecord": self.dnspod_create,
            "ModifyRecord": self.dnspod_modify, "DeleteRecord": self.dnspod_delete,
        }  # fmt: skip
        act = actions.get(action)
        if act is None or headers.get("x-tc-version") != "2021-03-23":
            raise ApiRefused(200, "InvalidAction", "No such action.")
        params = json.loads(body)
        zone = self.zone(str(params.get("Domain", "")), "dnspod")
        if zone is None:
            raise ApiRefused(200, "InvalidParameterValue.DomainNotExists", "当前域名有误，请返回重新操作。")
        return act(zone, params)

    def dnspod_gate(self, headers: dict[str, str], body: bytes) -> None:
        """Signature v3, step by step as the document has it."""
        key, secret = self.accounts.dnspod
        shape = re.fullmatch(
            r"TC3-HMAC-SHA256 Credential=([^/]+)/(\d{4}-\d\d-\d\d)/dnspod/tc3_request, SignedHeaders=([a-z;-]+), "
            r"Signature=([0-9a-f]{64})",
            headers.get("authorization", ""),
        )
        if shape is None:
            raise ApiRefused(200, "AuthFailure.SignatureFailure", "The header is not well formed.")
        if shape[1] != key:
            raise ApiRefused(200, "AuthFailure.SecretIdNotFound", "The SecretId is not found.")
        at = datetime.fromtimestamp(int(headers.get("x-tc-timestamp", "0")), UTC)
        if abs(at - self.now) > DNSPOD_CLOCK or f"{at:%Y-%m-%d}" != shape[2]:
            raise ApiRefused(200, "AuthFailure.SignatureExpire", "Signature expired.")
        signed = shape[3].split(";")
        lines = "".join(f"{name}:{headers[name].strip().lower()}\n" for name in signed)
        request = "\n".join(["POST", "/", "", lines, shape[3], hashlib.sha256(body).hexdigest()])
        scope = f"{shape[2]}/dnspod/tc3_request"
        text = "\n".join(
            ["TC3-HMAC-SHA256", headers["x-tc-timestamp"], scope, hashlib.sha256(request.encode()).hexdigest()]
        )
        daily = hmac.digest(f"TC3{secret}".encode(), shape[2].encode(), "sha256")
        serving = hmac.digest(hmac.digest(daily, b"dnspod", "sha256"), b"tc3_request", "sha256")
        if (
            not {"content-type", "host"} <= set(signed)
            or hmac.new(serving, text.encode(), hashlib.sha256).hexdigest() != shape[4]
        ):
            raise ApiRefused(200, "AuthFailure.SignatureFailure", "The provided credentials could not be validated.")

    def dnspod_list(self, zone: Zone, params: dict[str, Any]) -> dict[str, Any]:
        wanted = [each for each in zone.records if params.get("RecordType", each.type) == each.type]
        if not wanted:
            raise ApiRefused(200, "ResourceNotFound.NoDataOfRecord", "记录列表为空。")
        offset, limit = int(params.get("Offset", 0)), int(params.get("Limit", 100))
        rows = [
            {
                "RecordId": int(each.id), "Name": each.host, "Type": each.type, "TTL": each.ttl, "Line": "默认",
                "Value": f"{each.value}." if each.type in ("MX", "CNAME") else each.value, "MX": each.priority or 0,
                "Status": "ENABLE",
            }
            for each in wanted[offset : offset + limit]
        ]  # fmt: skip
        return {"RecordCountInfo": {"TotalCount": len(wanted), "ListCount": len(rows)}, "RecordList": rows}

    def dnspod_fields(self, params: dict[str, Any]) -> dict[str, Any]:
        kind = str(params.get("RecordType", ""))
        if params.get("RecordLine") != "默认":
            raise ApiRefused(200, "InvalidParameter.RecordLineInvalid", "记录线路不正确。")
        if kind == "MX" and not 1 <= int(params.get("MX") or 0) <= 65535:
            raise ApiRefused(200, "InvalidParameter.MxInvalid", "MX优先级不正确。")
        return {
            "type": kind, "host": str(params.get("SubDomain", "@")), "value": str(params["Value"]).rstrip("."),
            "ttl": int(params.get("TTL", 600)), "priority": int(params["MX"]) if kind == "MX" else None,
        }  # fmt: skip

    def dnspod_create(self, zone: Zone, params: dict[str, Any]) -> dict[str, Any]:
        fields = self.dnspod_fields(params)
        if any(
            (each.type, each.host, each.value) == (fields["type"], fields["host"], fields["value"])
            for each in zone.records
        ):
            raise ApiRefused(200, "InvalidParameter.DomainRecordExist", "记录已经存在，无需再次添加。")
        record = self.dns.put(
            zone, fields["type"], fields["host"], fields["value"], priority=fields["priority"], ttl=fields["ttl"]
        )
        return {"RecordId": int(record.id)}

    def dnspod_modify(self, zone: Zone, params: dict[str, Any]) -> dict[str, Any]:
        _, record = self.by_id(str(params.get("RecordId")), "dnspod", "InvalidParameter.RecordIdInvalid")
        for name, value in self.dnspod_fields(params).items():
            setattr(record, name, value)
        self.dns.touched(zone)
        return {"RecordId": int(record.id)}

    def dnspod_delete(self, zone: Zone, params: dict[str, Any]) -> dict[str, Any]:
        _, record = self.by_id(str(params.get("RecordId")), "dnspod", "InvalidParameter.RecordIdInvalid")
        self.dns.drop(zone, record)
        return {}

    # --- GoDaddy

    def godaddy_gate(self, name: str, authorization: str, *, generation: int, changes: bool) -> Zone:
        """Key, then whether the account may, then the zone, then whether it is still busy with the last edit."""
        wanted = (
            f"sso-key {':'.join(self.accounts.godaddy)}" if generation == 1 else f"Bearer {self.accounts.godaddy_token}"
        )
        if not hmac.compare_digest(authorization.encode(), wanted.encode()):
            raise ApiRefused(401, "UNABLE_TO_AUTHENTICATE", "Unauthorized : Could not authenticate API key/secret")
        if self.strikes("godaddy_no_api", "godaddy"):
            raise ApiRefused(403, "ACCESS_DENIED", "Authenticated user is not allowed access")
        zone = self.zone(name, "godaddy")
        if zone is None:
            raise ApiRefused(404, "UNKNOWN_DOMAIN", "The given domain is not registered, or does not have a zone file")
        if self.strikes("dns_api_busy", f"godaddy/v{generation}"):
            raise ApiRefused(429, "TOO_MANY_REQUESTS", "Too many requests received within interval")
        if changes:
            if self.busy_until.get(zone.name, self.now) > self.now:
                raise ApiRefused(409, "CONFLICT", "The zone is being edited")
            self.busy_until[zone.name] = self.now + GODADDY_BUSY
        return zone

    def godaddy_v1(self, method: str, path: list[str], authorization: str, body: Any) -> Any:
        """`{domain}/records[/{type}[/{name}]]`."""
        domain, records, *rest = path
        if records != "records":
            raise ApiRefused(404, "NOT_FOUND", "No such path")
        zone = self.godaddy_gate(domain, authorization, generation=1, changes=method != "GET")
        here = [each for each in zone.records if [each.type, each.host][: len(rest)] == rest]
        if method == "GET":
            return [self.godaddy_row(each) for each in here]
        if method == "DELETE" and len(rest) == 2:
            for each in here:
                self.dns.drop(zone, each)
        elif method == "PATCH" and not rest:
            for each in body:
                self.godaddy_put(zone, str(each["type"]), str(each["name"]), each)
        elif method == "PUT" and body:  # an empty list is ignored
            for each in here:
                self.dns.drop(zone, each)
            for each in body:
                kind, host = (
                    [*rest, each.get("type"), each.get("name")][:2] if len(rest) != 1 else (rest[0], each["name"])
                )
                self.godaddy_put(zone, str(kind), str(host), each)
        return {}

    def godaddy_row(self, record: ZoneRecord) -> dict[str, Any]:
        row = {"type": record.type, "name": record.host, "data": record.value, "ttl": record.ttl}
        return {**row, "priority": record.priority} if record.type == "MX" else row

    def godaddy_put(self, zone: Zone, kind: str, host: str, told: Any) -> ZoneRecord:
        """One more record; 422 for what it does not like."""
        ttl, priority = int(told.get("ttl", 3600)), told.get("priority")
        if not TTL_MIN <= ttl <= TTL_MAX or not told.get("data") or (kind == "MX" and priority is None):
            raise ApiRefused(422, "INVALID_BODY", "Request body doesn't fulfill schema")
        if any((each.type, each.host, each.value) == (kind, host, told["data"]) for each in zone.records):
            raise ApiRefused(422, "DUPLICATE_RECORD", "Another record with the same attributes already exists")
        return self.dns.put(zone, kind, host, str(told["data"]), priority=priority, ttl=ttl)

    def godaddy_v3(self, method: str, path: list[str], authorization: str, query: Any, body: Any) -> Any:
        """`{zone}/dns-records[/{recordId}]`. A PUT of one record replaces the WHOLE zone, and says 200."""
        domain, _, *rest = path
        zone = self.godaddy_gate(domain, authorization, generation=3, changes=False)
        if method == "PUT":
            zone.records.clear()
            self.dns.touched(zone)
            return {"items": []}
        if method == "POST":
            record = self.godaddy_put(zone, str(body["type"]), str(body["name"]), body)
            return {"recordId": f"[{record.id}]", **self.godaddy_row(record)}
        if method == "DELETE":
            _, record = self.by_id(rest[0].strip("[]"), "godaddy", "NOT_FOUND")
            self.dns.drop(zone, record)
            return {}
        wanted = [each for each in zone.records if query.get("type", each.type) == each.type]
        size, page = int(query.get("pageSize", "20")), int(query.get("page", "1"))
        rows = wanted[(page - 1) * size : page * size]
        return {"items": [{"recordId": f"[{each.id}]", **self.godaddy_row(each)} for each in rows]}


def percent(text: str) -> str:
    """RFC 3986, byte by byte."""
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in text.encode())
