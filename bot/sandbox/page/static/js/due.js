// What is due next and why, day by day, and where the clock can be sent.

import "./words/due.js";
import { does, doing, notice } from "./acts.js";
import { fill, h } from "./dom.js";
import { clockText, hourText, weekdayText } from "./format.js";
import { language, say } from "./words.js";
import { look, now, order } from "./world.js";

const GOALS = ["hour", "day", "next_reminder", "before_deletion", "after_deletion"];

let list = null; // what GET due says, once it was asked for

async function lookAtDue() {
  list = (await look("due")).due;
}

function goals() {
  return h("div.due-goals", {}, GOALS.map((each) =>
    h("button", { type: "button", "data-do": "go", "data-to": each }, say(`go_${each}`))));
}

function entry(due) {
  const past = due.at !== null && Date.parse(due.at) <= now();
  return h("li.due-item", { class: `of-${due.kind}` },
    h("div.due-when", {}, h("strong", {}, due.at === null ? "–" : hourText(Date.parse(due.at))),
      due.at === null || past ? null : h("button.small", { type: "button", "data-do": "go-there", "data-at": due.at, "aria-label": say("go_there_to", { what: due.what[language] }) }, say("go_there"))),
    h("div.due-what", {}, h("span.pill", {}, say(`due_${due.kind}`)), h("span", {}, due.what[language]),
      h("p.muted", {}, due.why[language])));
}

function days() {
  const found = new Map();
  for (const due of list) {
    const day = due.at === null ? say("due_without_end") : weekdayText(Date.parse(due.at));
    found.set(day, [...(found.get(day) ?? []), due]);
  }
  return [...found].map(([day, entries]) => h("section.due-day", { "data-key": day }, h("h3", {}, day), h("ul", {}, entries.map(entry))));
}

function draw(panel) {
  fill(panel, h("h2.panel-title", {}, say("tab_due")), h("p.muted", {}, say("due_hint")), goals(),
    list === null ? null : list.length ? days() : h("p.empty", {}, say("due_empty")));
}

export const panel = { tab: "due", draw, look: lookAtDue };

/** Send the clock somewhere; it may stop often on the way, so the page says that it goes and when it is there. */
async function walk(button, goal) {
  document.body.setAttribute("data-walking", "");
  const done = await doing(button, () => order("clock", goal));
  document.body.removeAttribute("data-walking");
  if (!done) return;
  if (!done.arrived) notice(say("not_arrived"), true);
  else if (done.stops.length > 1) notice(say("arrived", { when: clockText(Date.parse(done.clock)), n: done.stops.length - 1 }));
}

does({
  go: (button) => walk(button, { to: button.dataset.to }),
  "go-there": (button) => walk(button, { until: button.dataset.at }),
});
