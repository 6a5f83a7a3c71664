// The admin console: the steps the bot asks for there, done, or falsely said to be done; and the plan's places.

import "./words/console.js";
import { consoleOrder, does, doing } from "./acts.js";
import { fill, h } from "./dom.js";
import { nameOf } from "./faces.js";
import { minuteText } from "./format.js";
import { language, say } from "./words.js";
import { look, order, person, world } from "./world.js";

const FREE = 3; // public mailboxes without any seat bought
let steps = null; // what GET steps says, once it was asked for

async function lookAtSteps() {
  steps = (await look("steps")).steps;
}

function step(each) {
  const who = person(each.asked_of);
  const name = who ? nameOf(who) : each.asked_of;
  return h("li.console-step", { "data-key": `s${each.id}`, "data-step": each.id, class: each.contradicted ? "contradicted" : "" },
    h("h3", {}, say("step_title", { n: each.id, title: each.title[language] })),
    h("p.muted", {}, say("step_facts", { who: name, job: each.job, when: minuteText(Date.parse(each.until)) })),
    h("p", {}, each.why[language]),
    h("ol.console-how", {}, each.how.map((line) => h("li", {}, line[language]))),
    h("p", {}, each.values.map((value) => [h("code", {}, value), " "])),
    h("p.muted", {}, each.contradicted ? h("span.pill.bad", {}, say("step_contradicted")) : null, each.seen[language]),
    h("div.act", {},
      h("button", { type: "button", "data-do": "step-do", "data-id": each.id }, say("step_do")),
      h("button.warns-plain", { type: "button", "data-do": "step-lie", "data-id": each.id, title: say("step_lie_more") }, say("step_lie", { who: name }))));
}

function places() {
  const { used, all } = world.state.public_slots;
  return h("section.console-places", { "data-key": "places" }, h("h3", {}, say("places")),
    h("div.act", {}, h("meter", { min: 0, max: all || 1, value: used, "aria-label": say("slots", { used, all }) }), h("span", {}, say("slots", { used, all })),
      h("button.small", { type: "button", "data-do": "buy-seat" }, say("buy_seat"))));
}

function draw(panel) {
  fill(panel, h("h2.panel-title", {}, say("tab_console")), h("p.muted", {}, say("console_hint")),
    steps === null ? null : steps.length ? h("ol.console-steps", { "data-key": "steps" }, steps.map(step)) : h("p.empty", { "data-key": "none" }, say("console_empty")),
    places());
}

export const panel = { tab: "console", draw, look: lookAtSteps };

/** Whoever was asked tells the bot that it is done; the bot looks for itself. */
function sayDone(each) {
  return order("say", { member: each.asked_of, text: say("step_done", { n: each.id }) });
}

const stepOf = (button) => steps?.find((each) => each.id === Number(button.dataset.id));

does({
  async "step-do"(button) {
    const each = stepOf(button);
    if (!each) return;
    const { action, ...fields } = each.order;
    if (await doing(button, () => consoleOrder(action, fields))) await doing(button, () => sayDone(each));
  },
  "step-lie"(button) {
    const each = stepOf(button);
    return each && doing(button, () => sayDone(each));
  },
  "buy-seat": (button) => doing(button, () => consoleOrder("buy_seats", { count: world.state.public_slots.all - FREE + world.state.vip.length + 1 })),
});
