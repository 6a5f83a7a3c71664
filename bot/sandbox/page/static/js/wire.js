// The wire log: callbacks in both forms, API calls with answers, IMAP lines.

import "./words/wire.js";
import { does } from "./acts.js";
import { atEnd, fill, h, morph } from "./dom.js";
import { number, wireTime } from "./format.js";
import { known, label, language, say } from "./words.js";
import { look } from "./world.js";

const KEPT_MAX = 4000;
const SHOWN_MAX = 300;
const KINDS = ["api", "callback", "imap", "oauth", "console", "trouble", "dropped"];
const UNSETTLED_MAX = 50;

const wire = { entries: new Map(), last: 0, kind: "", filter: "", hold: false };

/** Fetch what is new, and again the callbacks whose answer was still out. */
async function lookAtWire() {
  const unsettled = [...wire.entries.values()].slice(-UNSETTLED_MAX).filter((each) => each.kind === "callback" && !each.lost && each.status === undefined);
  const since = Math.min(wire.last, ...unsettled.map((each) => each.n - 1));
  const found = await look("wire", { since, limit: KEPT_MAX });
  if (found.last < wire.last) wire.entries.clear(); // the sandbox began anew
  for (const entry of found.entries) wire.entries.set(entry.n, entry);
  wire.last = found.last;
  if (wire.entries.size > KEPT_MAX) {
    for (const n of [...wire.entries.keys()].slice(0, wire.entries.size - KEPT_MAX)) wire.entries.delete(n);
  }
}

const kindWord = (kind) => (known(`kind_${kind}`) ? say(`kind_${kind}`) : kind);

function summary(entry) {
  switch (entry.kind) {
    case "api":
      return [`${entry.method} ${entry.path}`, receiver(entry.request)].filter(Boolean).join(" → ");
    case "callback":
      return [entry.channel, plainName(entry.plain), entry.attempt > 1 ? say("attempt", { n: entry.attempt }) : ""].filter(Boolean).join(" · ");
    case "imap":
      return `${entry.direction === "client" ? "→" : "←"} ${entry.line}`;
    case "oauth":
      return `${entry.member} → ${entry.redirect_uri}`;
    case "console":
      return `${entry.action} ${Object.entries(entry.order ?? {}).filter(([key]) => key !== "action").map(([key, value]) => `${key}=${value}`).join(" ")}`;
    case "trouble":
      return `${entry.switch} ${entry.on ? "on" : "off"}`;
    default:
      return [entry.member, entry.reason].filter(Boolean).join(": ");
  }
}

/** Of a message: who gets it and how it begins. */
function receiver(request) {
  if (!request?.touser) return "";
  const said = request.text?.content ?? request.template_card?.main_title?.title ?? request.msgtype ?? "";
  return `${request.touser}: ${said}`;
}

/** What a callback is about, from its XML: type or event, and who. */
function plainName(plain = "") {
  const field = (name) => new RegExp(`<${name}>(?:<!\\[CDATA\\[)?([^<\\]]*)`).exec(plain)?.[1] ?? "";
  return [field("Event") || field("MsgType"), field("ChangeType"), field("FromUserName"), field("Content") || field("EventKey")].filter(Boolean).join(" ");
}

function outcome(entry) {
  if (entry.kind === "callback") {
    if (entry.lost) return { text: say("lost_callback"), bad: true };
    if (entry.status === undefined) return { text: say("waiting"), bad: false };
    return { text: String(entry.status), bad: entry.status !== 200 };
  }
  if (entry.kind === "api") {
    if (entry.status) return { text: `HTTP ${entry.status}`, bad: true };
    const code = entry.answer?.errcode;
    if (code !== undefined) return { text: String(code), bad: code !== 0 };
    if (entry.answer === 404) return { text: "404", bad: true };
  }
  if (entry.kind === "imap") return { text: entry.user, bad: false, quiet: true };
  return null;
}

function whole(entry) {
  const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
  const parts = entry.kind === "callback"
    ? [["plain", indented(entry.plain)], ["sealed", entry.sealed], ["query", entry.query]]
    : entry.kind === "api" ? [["meaning", entry.meaning?.[language]], ["query", entry.query], ["request", entry.request], ["answer", entry.answer]]
      : entry.kind === "imap" ? [[null, `${entry.user || "–"} ${entry.direction}\n${entry.line}`]] : [[null, entry]];
  return h("div.wire-whole", { "data-key": "whole" }, parts.filter(([, value]) => value !== undefined && value !== null && pretty(value) !== "{}").map(([title, value]) =>
    [title ? h("h4", {}, say(title)) : null, h("pre", {}, pretty(value))]));
}

/** XML on lines of its own, for reading. */
function indented(xml = "") {
  let depth = 0;
  const tokens = xml.match(/<!\[CDATA\[[\s\S]*?\]\]>|<[^>]+>|[^<]+/g) ?? [];
  const lines = [];
  let open = false; // a start tag whose content has not come yet
  for (const token of tokens) {
    if (token.startsWith("</")) {
      depth -= 1;
      if (open) lines[lines.length - 1] += token;
      else lines.push("  ".repeat(Math.max(0, depth)) + token);
      open = false;
    } else if (token.startsWith("<") && !token.startsWith("<![")) {
      lines.push("  ".repeat(depth) + token);
      depth += 1;
      open = true;
    } else {
      lines[lines.length - 1] = (lines[lines.length - 1] ?? "") + token;
    }
  }
  return lines.join("\n");
}

const opened = new Set();

/** Show the whole of an entry that was opened, or let go of it; the others stay as they are. */
function openWire(element) {
  const n = Number(element.dataset.wire);
  if (element.open) opened.add(n);
  else opened.delete(n);
  if (wire.entries.has(n)) morph(element, entryNode(wire.entries.get(n)));
}

function entryNode(entry) {
  const result = outcome(entry);
  return h("details.wire-entry", { class: `of-${entry.kind}`, "data-key": `w${entry.n}`, "data-wire": entry.n },
    h("summary", {}, h("time.muted", { datetime: entry.at }, wireTime(Date.parse(entry.at))),
      h("span.wire-badge", {}, kindWord(entry.kind)), h("span.wire-line", {}, summary(entry)),
      result ? h("span.wire-result", { class: result.bad ? "bad" : result.quiet ? "muted" : "good" }, result.text) : null),
    opened.has(entry.n) ? whole(entry) : null);
}

function build(panel) {
  panel.append(
    h("div.wire-bar", {},
      h("label", {}, h("span", { "data-words": "wire_kind" }), " ", h("select", { id: "wire-kind", "data-do": "wire-kind" })),
      h("label.grow", {}, h("span", { "data-words": "wire_filter" }), " ", h("input", { id: "wire-filter", type: "search", autocomplete: "off", spellcheck: "false" })),
      h("label.check", {}, h("input", { id: "wire-hold", type: "checkbox", "data-do": "wire-hold" }), " ", h("span", { "data-words": "wire_hold" })),
      h("span.muted", { id: "wire-count" })),
    h("div.wire-list", { id: "wire-list", tabindex: "0", "data-label": "tab_wire", role: "region" }));
  label(panel);
  panel.querySelector("#wire-filter").addEventListener("input", (event) => changed({ filter: event.target.value }));
}

function draw(panel) {
  if (!panel.firstChild) build(panel);
  const select = panel.querySelector("#wire-kind");
  fill(select, h("option", { value: "", "data-key": "" }, say("wire_all")), KINDS.map((each) => h("option", { value: each, "data-key": each }, kindWord(each))));
  const list = panel.querySelector("#wire-list");
  const count = panel.querySelector("#wire-count");
  if (wire.hold && list.childElementCount) return;
  const wanted = wire.filter.trim().toLowerCase();
  const chosen = [...wire.entries.values()].sort((one, other) => one.n - other.n).filter((each) =>
    (!wire.kind || each.kind === wire.kind) && (!wanted || JSON.stringify(each).toLowerCase().includes(wanted)));
  const shown = chosen.slice(-SHOWN_MAX);
  count.textContent = say("wire_shown", { shown: number(shown.length), all: number(wire.entries.size) });
  const stick = atEnd(list);
  fill(list, chosen.length > shown.length ? h("p.muted.wire-more", { "data-key": "more" }, say("wire_more")) : null,
    shown.length ? shown.map(entryNode) : h("p.empty", { "data-key": "none" }, say("wire_empty")));
  if (stick) list.scrollTop = list.scrollHeight;
}

export const panel = { tab: "wire", draw, look: lookAtWire, forget: () => wire.entries.clear() };

function changed(change) {
  const held = wire.hold;
  Object.assign(wire, change, { hold: false });
  draw(document.getElementById("panel-wire"));
  wire.hold = change.hold ?? held;
}

does({
  "wire-kind": (select) => changed({ kind: select.value }),
  "wire-hold": (input) => changed({ hold: input.checked }),
});

// A details element tells of its opening after the fact, and the event does not rise: it is caught on its way down.
document.addEventListener("toggle", (event) => {
  if (event.target.dataset?.wire) openWire(event.target);
}, true);
