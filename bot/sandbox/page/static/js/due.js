// What is due next and why, day by day, and where the clock can be sent.

import { fill, h } from "./dom.js";
import { hourText, language, say, weekdayText } from "./words.js";
import { look, now, world } from "./world.js";

const GOALS = ["hour", "day", "next_reminder", "before_deletion", "after_deletion"];

export async function lookAtDue() {
  world.due = (await look("due")).due;
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
  for (const due of world.due) {
    const day = due.at === null ? say("due_without_end") : weekdayText(Date.parse(due.at));
    found.set(day, [...(found.get(day) ?? []), due]);
  }
  return [...found].map(([day, entries]) => h("section.due-day", { "data-key": day }, h("h3", {}, day), h("ul", {}, entries.map(entry))));
}

export function drawDue(panel) {
  fill(panel, h("h2.panel-title", {}, say("tab_due")), h("p.muted", {}, say("due_hint")), goals(),
    world.due === null ? null : world.due.length ? days() : h("p.empty", {}, say("due_empty")));
}
