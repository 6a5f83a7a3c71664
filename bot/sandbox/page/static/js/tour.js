// The guided tour: each step is ticked by what the sandbox sees, never by a click here.

import "./words/tour.js";
import { consoleOrder, does, doing } from "./acts.js";
import { fill, h } from "./dom.js";
import { nameOf } from "./faces.js";
import { heldPhone } from "./phones.js";
import { choose, narrow, openTab } from "./place.js";
import { known, say } from "./words.js";
import { person, world } from "./world.js";

// Who to be, where to look, whose mailbox; what is typed stands among the words.
const PLACES = {
  asked: { member: "mei" },
  consented: { member: "ahing", box: "ahing@corp.test" },
  receipted: { member: "mei" },
  opened: { members: ["mei", "yan"] },
  manager_asked: { member: "mei" },
  agreed: { member: "ling" },
  handed_over: { members: ["calvin", "mei"], box: "calvin@corp.test", tab: "console" },
  binned: { member: "mei", tab: "bin" },
  reminded: { member: "mei", tab: "due" },
  rescued: { members: ["mei", "wei"], tab: "console" },
  connected: { member: "mei", tab: "dns" },
  aliased: { member: "mei" },
  minted: { member: "mei" },
  saved: { save: true },
  examined: { member: "mei" },
};
const STORED = "sandbox.hint";
const byId = (id) => document.getElementById(id);

function step({ step: name, done }, current) {
  const place = PLACES[name] ?? {};
  const members = (place.members ?? [place.member]).filter((each) => each && person(each));
  const command = `tour_${name}_type`;
  const button = (words, act, more) => h("button.small", { type: "button", "data-do": act, ...more }, words);
  return h("li.tour-step", { "data-key": name, "data-step": name, "data-done": done ? "" : null, "aria-current": current ? "step" : null },
    h("strong", {}, say(`tour_${name}`)), done ? h("span.tour-done", {}, ` ✓ ${say("tour_done")}`) : null,
    current ? h("ol.tour-how", {}, say(`tour_${name}_how`).split("\n").map((each) => h("li", {}, each))) : null,
    current ? h("div.tour-acts", {},
      known(command) ? [h("code", {}, say(command)), button(say("tour_type_it"), "tour-type", { "data-member": members[0], "data-text": say(command) })] : null,
      members.map((each) => button(say("tour_be", { who: nameOf(person(each)) }), "member", { "data-member": each })),
      place.box ? button(say("tour_box", { box: `${place.box.split("@")[0]}@` }), "go-box", { "data-address": place.box }) : null,
      place.tab ? button(say("tour_open", { tab: say(`tab_${place.tab}`) }), "tab", { "data-tab": place.tab }) : null,
      place.save ? button(say("tour_save"), "tour-save", {}) : null) : null);
}

export function drawTour() {
  const steps = world.state.tour ?? [];
  byId("hint").hidden = !person("mei") || !steps.length;
  const current = steps.find((each) => !each.done);
  byId("tour-count").textContent = say("tour_count", { done: steps.filter((each) => each.done).length, all: steps.length });
  fill(byId("steps"), steps.map((each) => step(each, each === current)));
  if (!current && steps.length) byId("steps").append(h("li.tour-step", { "data-key": "end" }, say("tour_end")));
  const shown = byId("steps").querySelector("[aria-current]");
  if (shown && shown.dataset.step !== drawTour.last) {
    drawTour.last = shown.dataset.step;
    byId("steps").scrollTop = shown.offsetTop - byId("steps").offsetTop;
  }
}

does({
  "tour-type"(button) {
    choose(button.dataset.member);
    heldPhone().type(button.dataset.text);
    heldPhone().input.focus();
  },
  "tour-save": (button) => doing(button, () => consoleOrder("verify_callbacks", {})),
  "go-box"(button) {
    openTab("mailboxes");
    const box = byId(`box-${button.dataset.address}`);
    if (!box) return;
    box.open = true;
    box.scrollIntoView({ block: "start" });
    box.querySelector("[data-do='mint']")?.focus({ preventScroll: true });
  },
});

byId("hint").querySelector("summary").addEventListener("click", () => {
  try {
    localStorage.setItem(STORED, byId("hint").open ? "shut" : "open"); // what it is about to be
  } catch {
    // then it is as at first the next time
  }
});
try {
  // On a phone the tour would leave no room for the chat: there it opens when it is asked for.
  byId("hint").open = (localStorage.getItem(STORED) ?? (narrow.matches ? "shut" : "open")) === "open";
} catch {
  byId("hint").open = !narrow.matches;
}
