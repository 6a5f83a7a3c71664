// A folder's mails, and one of them opened and read: headers, text, what is attached. All of it as text, never markup.

import "./words/reader.js";
import { does, doing } from "./acts.js";
import { h } from "./dom.js";
import { mailTime, number, size } from "./format.js";
import { say } from "./words.js";
import { look, world } from "./world.js";

const MAILS_MAX = 100;
let open = null; // { address, folder, uid } of what is read
let list = null;
let mail = null;
let from = 0; // how far the mailboxes were scrolled

export const isReading = () => open !== null && world.state.mailboxes.some((each) => each.address === open.address);

/** Fetch the folder again while it is open: a copy may be filling it. */
export async function lookAtFolder() {
  if (!open) return;
  const { address, folder } = open;
  list = await look("mails", { address, folder, limit: MAILS_MAX }).catch(() => null);
}

export function stopReading() {
  open = list = mail = null;
}

const panel = () => document.getElementById("panel-mailboxes");

function show() {
  world.draw();
  panel().scrollTop = 0;
  panel().querySelector(".reader-title")?.focus({ preventScroll: true });
}

function back(words, act) {
  return h("button.small.back", { type: "button", "data-do": act }, `‹ ${words}`);
}

function line(each) {
  const isUnread = !each.flags.some((flag) => flag.toLowerCase() === "\\seen");
  return h("li", { "data-key": `m${each.uid}` }, h("button.mail-line", { type: "button", "data-do": "open-mail", "data-uid": each.uid, "data-unread": isUnread },
    h("span.mail-from", {}, each.sender || "–"), h("span.muted", {}, mailTime(Date.parse(each.date))),
    h("span.mail-subject", {}, each.subject || say("no_subject")), isUnread ? h("span.sr-only", {}, say("not_read")) : null));
}

function folder() {
  const box = world.state.mailboxes.find((each) => each.address === open.address);
  const count = box?.folders[open.folder] ?? 0;
  const mails = list?.mails ?? [];
  return h("div.reader", { "data-key": `folder ${open.address} ${open.folder}` }, back(open.address, "close-folder"),
    h("h2.reader-title", { tabindex: "-1" }, open.folder, " ", h("span.count.muted", {}, number(count))),
    mails.length ? h("ul.mails", {}, mails.map(line)) : h("p.empty", {}, list ? say("folder_empty") : "…"),
    count > MAILS_MAX ? h("p.muted", {}, say("mails_newest", { n: MAILS_MAX })) : null);
}

function letter() {
  return h("div.reader", { "data-key": `mail ${open.address} ${open.folder} ${open.uid}` }, back(open.folder, "close-mail"),
    mail ? h("article.letter", {},
      h("h2.reader-title", { tabindex: "-1" }, mail.subject || say("no_subject")),
      h("dl.letter-headers", {}, mail.headers.map(([name, value], at) => [h("dt", { "data-key": `n${at}` }, name), h("dd", { "data-key": `v${at}` }, value)])),
      mail.was_html ? h("p.muted", {}, say("was_html")) : null,
      h("p.letter-text", {}, mail.text || say("no_text")), mail.cut ? h("p.muted", {}, say("text_cut")) : null,
      mail.attachments.length ? h("section", {}, h("h3", {}, say("attached")), h("ul.attached", {}, mail.attachments.map((each, at) =>
        h("li", { "data-key": `a${at}` }, h("span.file-name", {}, each.name || say("nameless")), " ", h("span.muted", {}, `${each.type} · ${size(each.size_bytes)}`))))) : null,
      h("details", { "data-key": "all" }, h("summary", {}, say("all_headers")),
        h("pre.letter-raw", {}, mail.all_headers.map(([name, value]) => `${name}: ${value}`).join("\n"))),
      h("p.muted", {}, `${size(mail.size_bytes)} · SHA-256 ${mail.sha256.slice(0, 16)}…`)) : h("p.empty", {}, "…"));
}

export const drawReader = () => (open.uid === undefined ? folder() : letter());

does({
  async "open-folder"(button) {
    open = { address: button.dataset.address, folder: button.dataset.path };
    from = panel().scrollTop;
    list = mail = null;
    await doing(button, lookAtFolder);
    show();
  },
  async "open-mail"(button) {
    const { address, folder: name } = open;
    const uid = Number(button.dataset.uid);
    const found = await doing(button, () => look("mail", { address, folder: name, uid }));
    if (!found) return;
    mail = found;
    open = { address, folder: name, uid };
    show();
  },
  "close-mail"() {
    const { address, folder: name, uid } = open;
    open = { address, folder: name };
    mail = null;
    show();
    panel().querySelector(`[data-uid="${uid}"]`)?.focus();
  },
  "close-folder"() {
    const { address, folder: name } = open;
    stopReading();
    world.draw();
    panel().scrollTop = from;
    [...panel().querySelectorAll("[data-do='open-folder']")].find((each) => each.dataset.address === address && each.dataset.path === name)?.focus({ preventScroll: true });
  },
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !open || !panel().contains(document.activeElement)) return;
  panel().querySelector(".back")?.click();
});
