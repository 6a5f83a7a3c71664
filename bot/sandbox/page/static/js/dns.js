// The panels of the DNS providers: each zone with its records, and the keys of the accounts.

import "./words/dns.js";
import { consoleOrder, does, doing } from "./acts.js";
import { fill, h } from "./dom.js";
import { say } from "./words.js";
import { world } from "./world.js";

const TYPES = ["MX", "TXT", "CNAME", "A"];

function recordRow(zone, record) {
  return h("li.record", { "data-key": record.id },
    h("code", {}, [record.type, record.host, record.value, record.priority ?? "", `(${record.ttl})`].join(" ")), " ",
    h("button.small", { type: "button", "data-do": "dns", "data-action": "dns_remove", "data-domain": zone.name, "data-record": record.id, "aria-label": say("dns_remove_what", { what: `${record.type} ${record.host}` }) }, say("dns_remove")));
}

function addForm(zone) {
  const field = (name, words, more) => h("label", {}, h("span", {}, say(words)), h("input", { type: "text", "data-dns": name, ...more }));
  return h("div.act", {},
    h("label", {}, h("span", {}, say("dns_type")), h("select", { "data-dns": "record_type" }, TYPES.map((each) => h("option", { value: each, "data-key": each }, each)))),
    field("host", "dns_host", { value: "@", size: 10 }), field("text", "dns_value", { size: 24 }),
    field("priority", "dns_priority", { type: "number", min: 1, max: 50, size: 4 }),
    h("button", { type: "button", "data-do": "dns", "data-action": "dns_add", "data-domain": zone.name }, say("dns_add")));
}

function zoneBox(zone) {
  const state = world.state.domains[zone.name];
  return h("section.zone", { "data-key": zone.name },
    h("h3", {}, zone.name, " ", h("span.pill", {}, say(`dns_at_${zone.provider}`)), " ", state ? h("span.pill", {}, say(`domain_${state}`)) : null),
    h("ul", {}, zone.records.map((each) => recordRow(zone, each))), addForm(zone),
    h("button", { type: "button", "data-do": "dns", "data-action": "verify_domain", "data-domain": zone.name }, say("dns_verify")));
}

function draw(panel) {
  const { zones, dns_accounts: accounts } = world.state;
  fill(panel, h("h2.panel-title", {}, say("tab_dns")), h("p.muted", {}, say("dns_hint")),
    h("div.act", {}, h("button", { type: "button", "data-do": "dns", "data-action": "dns_forget" }, say("dns_forget"))),
    h("section.dns-accounts", { "data-key": "accounts" }, h("h3", {}, say("dns_accounts")), h("p.muted", {}, say("dns_accounts_more")),
      h("dl.facts", {}, Object.entries(accounts).map(([name, [key, secret]]) => [h("dt", {}, say(`dns_key_${name}`)), h("dd", {}, h("code", {}, key), " ", secret ? h("code", {}, secret) : null)]))),
    zones.map(zoneBox));
}

/** What an order of the panel wants, from the button that was pressed. */
function fields(button) {
  const { domain, record } = button.dataset;
  const typed = {};
  if (button.dataset.action === "dns_add") {
    for (const each of button.closest(".zone").querySelectorAll("[data-dns]")) {
      if (each.value !== "") typed[each.dataset.dns] = each.dataset.dns === "priority" ? Number(each.value) : each.value;
    }
  }
  return { ...(domain ? { domain } : {}), ...(record ? { record } : {}), ...typed };
}

export const panel = { tab: "dns", draw };

does({ dns: (button) => doing(button, () => consoleOrder(button.dataset.action, fields(button))) });
