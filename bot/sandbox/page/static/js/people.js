// The list of members: who they are, and who has something unread.

import "./words/people.js";
import { does } from "./acts.js";
import { fill, h } from "./dom.js";
import { avatar, nameOf } from "./faces.js";
import { addPhone, choose, heldMember, heldMembers, place, PHONES_MAX } from "./place.js";
import { language, say } from "./words.js";
import { world } from "./world.js";

const STORED = "sandbox.seen";
const byId = (id) => document.getElementById(id);

// ---------------------------------------------------------------------- unread marks
let seen = new Map(); // userid to how many lines of his chat were looked at

export function loadSeen() {
  try {
    const { corp, counts } = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    if (corp === world.state.wecom.corp_id) seen = new Map(Object.entries(counts));
  } catch {
    seen = new Map();
  }
}

export function forgetSeen() {
  seen.clear();
}

/** The chats of these members are being looked at. */
export function markSeen(looked) {
  for (const each of world.state.members) {
    const chat = world.chats.get(each.userid);
    if (chat && !document.hidden && looked.includes(each.userid)) seen.set(each.userid, chat.entries.length);
    else if ((seen.get(each.userid) ?? 0) > each.entries) seen.set(each.userid, 0);
  }
  try {
    localStorage.setItem(STORED, JSON.stringify({ corp: world.state.wecom.corp_id, counts: Object.fromEntries(seen) }));
  } catch {
    // then only until the page is closed
  }
}

const unreadOf = (member) => Math.max(0, member.entries - (seen.get(member.userid) ?? 0));

export const unreadOfAll = () => world.state.members.reduce((sum, each) => sum + unreadOf(each), 0);

// ---------------------------------------------------------------------- the list
export function roleOf(member) {
  const { tags, members, departments } = world.state;
  const tagged = (word) => tags.some((tag) => tag.name.includes(word) && tag.members.includes(member.userid));
  const roles = [];
  if (tagged("admin")) roles.push(say("admin"));
  if (member.leads.length || members.some((each) => each.leaders.includes(member.userid))) roles.push(say("manager"));
  if (tagged("approver")) roles.push(say("approver"));
  const department = departments.find((each) => each.id === member.departments[0]);
  const where = department ? (language === "zh" ? department.name : department.name_en || department.name) : "";
  return [where, language === "zh" ? member.position : null, ...roles].filter(Boolean).join(" · ");
}

export function drawMembers() {
  const shown = heldMembers();
  fill(byId("members"), world.state.members.map((each) => {
    const unread = unreadOf(each);
    const isShown = shown.includes(each.userid);
    return h("li", { "data-key": each.userid }, h("button.member", {
      type: "button", "data-do": "member", "data-member": each.userid, title: `${nameOf(each)} · ${roleOf(each)}`,
      "aria-current": each.userid === heldMember() ? "true" : null, "data-shown": isShown,
    }, avatar(each), h("span.member-name", {}, h("span.sr-only", {}, `${each.name} `), h("span.userid", {}, each.userid)),
    h("span.sr-only", {}, ` · ${roleOf(each)}${isShown ? ` · ${say("has_phone")}` : ""}`),
    unread ? h("span.badge", {}, h("span", { "aria-hidden": "true" }, unread > 99 ? "99+" : String(unread)), h("span.sr-only", {}, say("unread", { n: unread }))) : null));
  }));
  byId("add-phone").hidden = place.phones.length === PHONES_MAX || place.phones.length === world.state.members.length;
}

does({ member: (button) => choose(button.dataset.member), "add-phone": addPhone });

byId("members").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...byId("members").querySelectorAll("button")];
  all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
});
