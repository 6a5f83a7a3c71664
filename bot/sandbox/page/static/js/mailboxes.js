// Mailboxes with their folders and settings, and the public ones.

import "./words/mailboxes.js";
import { consoleOrder, does, doing, notice, sure } from "./acts.js";
import { fill, h } from "./dom.js";
import { number, size } from "./format.js";
import { avatar, nameOf } from "./faces.js";
import { roleOf } from "./people.js";
import { drawReader, isReading, lookAtFolder, stopReading } from "./reader.js";
import { say } from "./words.js";
import { person, world } from "./world.js";

const WINDOWS = [30, 7];
const minted = new Map(); // address to the client password just made, until the page is closed
let before = new Map(); // address and folder to its count

const total = (box) => Object.values(box.folders).reduce((sum, each) => sum + each, 0);

function mailsWord(count) {
  return count === 1 ? say("mail_one") : say("mails", { n: number(count) });
}

/** "a/b": 3 becomes a tree; a folder that only holds others has no count of its own. */
function treeOf(counts) {
  const root = { children: new Map() };
  for (const [path, count] of Object.entries(counts)) {
    let node = root;
    let full = "";
    for (const part of path.split("/")) {
      full = full ? `${full}/${part}` : part;
      if (!node.children.has(part)) node.children.set(part, { path: full, children: new Map() });
      node = node.children.get(part);
    }
    node.count = count;
  }
  return root;
}

const sum = (node) => [...node.children.values()].reduce((all, each) => all + sum(each), node.count ?? 0);

/** A folder to open; one that only holds others has nothing to show. */
function folderLine(name, node, address) {
  const shown = [h("span.folder-name", {}, name),
    h("span.count", { "data-count": `${address}/${node.path}` }, node.count === undefined ? `(${number(sum(node))})` : number(node.count))];
  if (node.count === undefined) return h("span.folder", {}, shown);
  return h("button.folder", {
    type: "button", "data-do": "open-folder", "data-address": address, "data-path": node.path, "aria-label": say("open_folder", { folder: node.path, n: mailsWord(node.count) }),
  }, shown);
}

function branch(node, address) {
  return h("ul.tree", {}, [...node.children].map(([name, child]) =>
    h("li", { "data-key": child.path, "data-folder": child.path },
      folderLine(name, child, address),
      child.children.size ? branch(child, address) : null)));
}

function toggle(box, action, on, word) {
  return h("label.check", {}, h("input", {
    type: "checkbox", role: "switch", "data-follows": true, checked: on, "data-do": "setting", "data-action": action, "data-address": box.address,
  }), h("span", {}, say(word)));
}

function settings(box) {
  const shown = box.window_days === null ? "" : String(box.window_days);
  const days = [...new Set([...WINDOWS, ...(box.window_days === null ? [] : [box.window_days])])];
  return h("div.settings", {}, h("h4", {}, say("settings")),
    h("label.check", {}, h("span", {}, say("window")),
      h("select", { "data-follows": true, "data-value": shown, "data-do": "window", "data-address": box.address, "aria-label": say("window") },
        h("option", { value: "" }, say("window_all")),
        days.map((each) => h("option", { value: String(each), "data-key": String(each) }, say("window_days", { n: each }))))),
    toggle(box, "show_folders", box.show_custom, "custom_folders"),
    toggle(box, "set_imap", box.imap_on, "imap_on"),
    toggle(box, "freeze", box.disabled, "frozen"));
}

/** What the admin console can do with a mailbox that is in use. */
function consolePart(box) {
  if (box.kind === "public") {
    return h("div.console", {}, h("h4", {}, say("in_console")),
      h("button.warns-plain", { type: "button", "data-do": "delete-public", "data-address": box.address }, say("delete_public")));
  }
  const [name, domain] = box.address.split("@");
  return h("div.console", {}, h("h4", {}, say("in_console")),
    h("div.act", {}, h("input", { type: "text", "data-name": true, value: name, "aria-label": say("new_name"), autocomplete: "off", spellcheck: "false", maxlength: 64 }),
      h("span.muted", {}, `@${domain}`),
      h("button", { type: "button", "data-do": "rename", "data-address": box.address }, say("rename"))));
}

function passwordMaker(box, makers) {
  const made = minted.get(box.address);
  return h("div.password", {},
    h("button", { type: "button", "data-do": "mint", "data-address": box.address }, say("make_password")),
    makers.length > 1 ? h("label", {}, h("span.muted", {}, `${say("made_by")} `),
      h("select", { "data-maker": true }, makers.map((each) => h("option", { value: each, "data-key": each }, each)))) : null,
    made ? h("p.made", { "data-key": "made", role: "status" }, h("span", {}, say("password_made")),
      h("output.secret", { "data-password": box.address }, made),
      h("button", { type: "button", "data-do": "copy", "data-text": made }, say("copy"))) : null);
}

function publicPart(box) {
  const mailbox = world.state.public_mailboxes.find((each) => each.address === box.address);
  if (!mailbox) return null;
  return h("div.public", {},
    h("dl.facts", {}, h("dt", {}, say("readers")), h("dd", {}, mailbox.readers.map((each) => {
      const reader = person(each);
      return h("span.pill", {}, reader ? `${reader.name} ${reader.userid}` : each);
    })),
    mailbox.aliases.length ? [h("dt", {}, say("aliases")), h("dd", {}, mailbox.aliases.join(", "))] : null),
    mailbox.by_app ? null : h("p.muted", {}, `${say("made_in_console")}: ${say("made_in_console_more")}.`),
    mailbox.passwords.length ? h("div", {}, h("h4", {}, say("passwords")), h("ul.passwords", {}, mailbox.passwords.map((each) =>
      h("li", { "data-key": `p${each.id}` }, h("span", {}, each.remark), h("span.muted", {}, say(each.by_api ? "by_api" : "by_hand")),
        h("button.small", { type: "button", "data-do": "revoke", "data-address": box.address, "data-id": each.id }, say("revoke")))))) : null);
}

function makersOf(box) {
  return world.state.public_mailboxes.find((each) => each.address === box.address)?.readers ?? [];
}

function mailboxNode(box) {
  const owner = box.kind === "member" ? person(box.owner) : null;
  const mailbox = world.state.public_mailboxes.find((each) => each.address === box.address);
  const badges = [
    mailbox ? h("span.pill", { title: mailbox.by_app ? null : say("made_in_console_more") }, say(mailbox.by_app ? "made_by_app" : "made_in_console")) : null,
    box.imap_on ? null : h("span.pill.bad", {}, say("imap_off")),
    box.window_days === null ? null : h("span.pill.bad", {}, say("window_days", { n: box.window_days })),
    box.disabled && box.kind !== "bin" ? h("span.pill.bad", {}, say("frozen")) : null,
  ];
  return h("details.box", { "data-key": box.address, id: `box-${box.address}`, "data-address": box.address },
    h("summary", {}, owner ? avatar(owner) : h("span.avatar.of-public", { "aria-hidden": "true" }, box.kind === "public" ? "@" : "♻"),
      h("span.box-name", {}, h("strong", {}, box.address), h("span.muted", {}, owner ? `${nameOf(owner)} · ${roleOf(owner)}` : box.owner ?? "", " ", badges)),
      h("span.box-sum", {}, h("span.count", { "data-count": box.address }, mailsWord(total(box))),
        h("span.muted", {}, [size(box.used_bytes), box.unread ? say("unread_mails", { n: number(box.unread) }) : null].filter(Boolean).join(" · ")))),
    h("div.box-inside", {},
      h("div", {}, h("h4", {}, say("folders")), branch(treeOf(box.folders), box.address),
        h("p.room", {}, h("meter", { min: 0, max: box.quota_bytes || 1, high: (box.quota_bytes || 1) * 0.8, value: box.used_bytes, "aria-label": say("used", { used: size(box.used_bytes), quota: size(box.quota_bytes) }) }),
          h("span.muted", {}, say("used", { used: size(box.used_bytes), quota: size(box.quota_bytes) }))),
        box.aliases.length && !mailbox ? h("p.muted", {}, `${say("aliases")}: ${box.aliases.join(", ")}`) : null),
      h("div", {}, publicPart(box), box.kind === "bin" ? null : [passwordMaker(box, makersOf(box)), settings(box), consolePart(box)],
        box.passwords && !mailbox ? h("p.muted", {}, box.passwords === 1 ? say("password_one") : say("passwords_count", { n: box.passwords })) : null)));
}

function section(title, boxes, beside = null) {
  return boxes.length ? h("section", { "data-key": title }, h("h3", {}, say(title), beside ? [" ", h("span.pill", { "data-slots": true }, beside)] : null), h("div.boxes", {}, boxes.map(mailboxNode))) : null;
}

function withoutMailbox() {
  const members = world.state.members.filter((each) => !each.address);
  return members.length ? h("section", { "data-key": "without" }, h("h3", {}, say("without_mailbox")),
    h("p", {}, members.map((each) => [h("span.pill", { "data-key": each.userid }, `${each.name} ${each.userid}`), " "]))) : null;
}

function draw(panel) {
  const boxes = world.state.mailboxes;
  const reading = isReading(); // the mailboxes stay behind it, as they were left
  fill(panel, reading ? drawReader() : null, h("div", { "data-key": "all", hidden: reading }, section("public_mailboxes", boxes.filter((each) => each.kind === "public"), say("slots", world.state.public_slots)),
    section("members_mailboxes", boxes.filter((each) => each.kind === "member")), withoutMailbox(),
    section("binned_mailboxes", boxes.filter((each) => each.kind === "bin"))));
  flash(panel, boxes);
}

/** Let the counts that grew glow for a moment. */
function flash(panel, boxes) {
  const now = new Map();
  for (const box of boxes) {
    now.set(box.address, total(box));
    for (const [folder, count] of Object.entries(box.folders)) now.set(`${box.address}/${folder}`, count);
  }
  const changed = [...now].filter(([key, count]) => before.size && before.get(key) !== count).map(([key]) => key);
  before = now;
  if (!changed.length || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const element of panel.querySelectorAll("[data-count]")) {
    if (changed.includes(element.dataset.count)) {
      element.animate([{ backgroundColor: "rgb(38 126 240 / 45%)" }, { backgroundColor: "transparent" }], { duration: 1200 });
    }
  }
}

export const panel = {
  tab: "mailboxes",
  draw,
  look: lookAtFolder,
  forget() {
    minted.clear();
    stopReading();
  },
};

does({
  setting: (input) => doing(input, () => consoleOrder(input.dataset.action, { address: input.dataset.address, on: input.checked })),
  window(select) {
    const days = select.value === "" ? null : Number(select.value);
    select.setAttribute("data-sent", "");
    return doing(select, () => consoleOrder("set_window", { address: select.dataset.address, days })).finally(() => select.removeAttribute("data-sent"));
  },
  async mint(button) {
    const { address } = button.dataset;
    const maker = button.closest(".password").querySelector("[data-maker]")?.value;
    const done = await doing(button, () => consoleOrder("mint_password", { address, ...(maker ? { member: maker } : {}) }));
    if (!done) return;
    minted.set(address, done.result.password);
    world.draw();
  },
  revoke: (button) => doing(button, () => consoleOrder("revoke_password", { address: button.dataset.address, password_id: Number(button.dataset.id) })),
  async copy(button) {
    const secret = button.parentElement.querySelector(".secret");
    try {
      await navigator.clipboard.writeText(button.dataset.text);
      notice(say("copied"));
    } catch {
      getSelection().selectAllChildren(secret); // then the person copies it
    }
  },
  rename(button) {
    const { address } = button.dataset;
    const name = button.closest(".box").querySelector("[data-name]").value.trim();
    return doing(button, () => consoleOrder("rename", { address, new_address: `${name}@${address.split("@")[1]}` }));
  },
  "delete-public": (button) => sure(button) && doing(button, () => consoleOrder("delete_public", { address: button.dataset.address })),
});
