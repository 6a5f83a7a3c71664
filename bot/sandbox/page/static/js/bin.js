// The recycle bin, as the admin console shows it: how many days are left, and what can still be done.

import "./words/bin.js";
import { consoleOrder, does, doing, sure } from "./acts.js";
import { fill, h } from "./dom.js";
import { dayText } from "./format.js";
import { nameOf } from "./faces.js";
import { say } from "./words.js";
import { person, world } from "./world.js";

function memberSelect(attributes, members) {
  return h("select", attributes, members.map((each) => h("option", { value: each.userid, "data-key": each.userid }, `${each.name} ${each.userid}`)));
}

/** Where the console can copy a binned mailbox to: the public mailboxes first. */
function targets() {
  const living = world.state.mailboxes.filter((each) => each.kind !== "bin");
  return [...living.filter((each) => each.kind === "public"), ...living.filter((each) => each.kind === "member")].map((each) => each.address);
}

function binAct(item, action, words) {
  return h("button", { type: "button", "data-do": "bin", "data-action": action, "data-address": item.address }, say(words));
}

function daysWord(item) {
  if (item.days_left === 0) return say("last_day");
  return item.days_left === 1 ? say("day_left") : say("days_left", { n: item.days_left });
}

function binItem(item) {
  const waiting = item.state === "waiting";
  const former = person(item.former);
  const days = Math.max(1, Math.ceil((Date.parse(item.deletes_at) - Date.parse(item.recycled_at)) / 86400000));
  const near = item.days_left <= 3 ? "last" : item.days_left <= 14 ? "soon" : "";
  return h("li.bin-item", { "data-key": `i${item.id}`, "data-address": item.address, class: waiting ? near : "gone" },
    h("div.bin-head", {}, h("strong", {}, item.address), h("span.muted", {},
      [say("was", { who: former ? nameOf(former) : item.former }), say(`source_${item.source}`)].join(" · "))),
    waiting ? [
      h("div.bin-days", {}, h("meter", { min: 0, max: days, low: 3.5, high: 14, optimum: days, value: item.days_left, "aria-label": daysWord(item) }),
        h("strong", {}, daysWord(item)), h("span.muted", {}, say("deletes_at", { when: dayText(Date.parse(item.deletes_at)) }))),
      h("div.act", {},
        h("label", {}, h("span.sr-only", {}, say("assign_to")), memberSelect({ "data-assignee": true }, world.state.members)),
        binAct(item, "assign", "assign"), binAct(item, "convert_to_public", "convert")),
      item.backed_up_to ? null : h("div.act", {},
        h("label", {}, h("span.sr-only", {}, say("backup_target")), h("select", { "data-target": true }, targets().map((each) => h("option", { value: each, "data-key": each }, each)))),
        binAct(item, "backup_once", "backup_once")),
    ] : h("p", {}, h("span.pill", {}, say(`state_${item.state}`))),
    h("div.bin-foot", {}, h("p.muted", {}, say("recycled_at", { when: dayText(Date.parse(item.recycled_at)) }),
      item.backed_up_to ? ` · ${say("backed_up_to", { where: item.backed_up_to })}` : ""),
    waiting ? h("button.small.warns-plain", { type: "button", "data-do": "bin", "data-action": "purge", "data-address": item.address, "data-sure": true }, say("purge")) : null));
}

function draw(panel) {
  const { recycle_bin: items, members } = world.state;
  const sorted = [...items].sort((one, other) => (one.state !== "waiting") - (other.state !== "waiting") || Date.parse(one.deletes_at) - Date.parse(other.deletes_at));
  const owners = members.filter((each) => each.address);
  fill(panel, h("h2.panel-title", {}, say("tab_bin")),
    h("p.muted", {}, say("bin_hint")),
    h("div.act", {}, h("label", {}, h("span.sr-only", {}, say("reclaim_who")), memberSelect({ id: "reclaim-who" }, owners)),
      h("button", { type: "button", "data-do": "bin", "data-action": "reclaim" }, say("reclaim")),
      h("button.warns-plain", { type: "button", "data-do": "bin", "data-action": "delete_member", "data-sure": true }, say("delete_member"))),
    sorted.some((each) => each.state === "waiting") ? h("div.act", {}, ["before_deletion", "after_deletion"].map((each) =>
      h("button.small", { type: "button", "data-do": "go", "data-to": each }, say(`go_${each}`)))) : null,
    sorted.length ? h("ul.bin", {}, sorted.map(binItem)) : h("p.empty", {}, say("bin_empty")));
}

export const panel = { tab: "bin", draw };

does({
  bin(button) {
    if ("sure" in button.dataset && !sure(button)) return undefined;
    const { action, address } = button.dataset;
    const near = (what) => button.closest(".bin-item").querySelector(what).value;
    const leaver = () => ({ member: document.getElementById("reclaim-who").value });
    const fields = {
      reclaim: leaver,
      delete_member: leaver,
      assign: () => ({ address, member: near("[data-assignee]") }),
      convert_to_public: () => ({ address, members: [near("[data-assignee]")] }),
      backup_once: () => ({ address, target: near("[data-target]") }),
      purge: () => ({ address }),
    };
    return doing(button, () => consoleOrder(action, fields[action]()));
  },
});
