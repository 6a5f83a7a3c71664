// What to try first, in three steps with a button each.

import "./words/hint.js";
import { does } from "./acts.js";
import { fill, h } from "./dom.js";
import { nameOf } from "./faces.js";
import { heldPhone } from "./phones.js";
import { choose, FIRST, narrow, openTab } from "./place.js";
import { say } from "./words.js";
import { person } from "./world.js";

const OWNER = "ahing"; // whose mailbox is backed up
const STORED = "sandbox.hint";
const byId = (id) => document.getElementById(id);

export function drawHint() {
  const mei = person(FIRST);
  const ahing = person(OWNER);
  byId("hint").hidden = !mei || !ahing; // the story cannot be told without them
  if (byId("hint").hidden) return;
  const who = (member) => `${member.name} (${member.userid})`;
  const go = (userid, words) => h("button.small", { type: "button", "data-do": "member", "data-member": userid }, words);
  fill(byId("steps"),
    h("li", {}, say("step_1", { who: who(mei) }), " ", h("code", {}, say("step_1_command")), " ",
      h("button.small", { type: "button", "data-do": "type-command" }, say("step_1_do"))),
    h("li", {}, say("step_2", { who: who(ahing) }), " ", go(OWNER, say("step_2_chat", { who: nameOf(ahing) })), " ",
      h("button.small", { type: "button", "data-do": "go-box", "data-address": ahing.address ?? "" }, say("step_2_box"))),
    h("li", {}, say("step_3", { who: who(mei) }), " ", go(FIRST, say("step_3_chat", { who: nameOf(mei) }))));
}

does({
  "type-command"() {
    choose(FIRST);
    heldPhone().type(say("step_1_command"));
    heldPhone().input.focus();
  },
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
  // On a phone the hint would leave no room for the chat: there it opens when it is asked for.
  byId("hint").open = (localStorage.getItem(STORED) ?? (narrow.matches ? "shut" : "open")) === "open";
} catch {
  byId("hint").open = !narrow.matches;
}
