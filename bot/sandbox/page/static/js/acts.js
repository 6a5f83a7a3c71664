// What buttons share: which act each of them stands for, that it is busy meanwhile, and how its end is told.

import "./words/frame.js";
import { order, Refused, world } from "./world.js";
import { refusal, say } from "./words.js";

const SURE_MS = 4000;
const NOTICE_MS = 6000;
const ACTS = {};
const CHANGED = new Set(["INPUT", "SELECT"]); // these act when they have changed, not when they are pressed

/** Say what elements with `data-do` do: `does({ name(element) { … } })`. */
export function does(acts) {
  for (const [name, act] of Object.entries(acts)) {
    if (name in ACTS) throw new Error(`two acts are called ${name}`);
    ACTS[name] = act;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button && !CHANGED.has(button.nodeName)) ACTS[button.dataset.do]?.(button);
});

document.addEventListener("change", (event) => {
  if (event.target.dataset.do) ACTS[event.target.dataset.do]?.(event.target);
});

let noticeTimer = 0;

export function notice(text, bad = false) {
  const element = document.getElementById("notice");
  element.textContent = text;
  element.classList.toggle("bad", bad);
  element.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    element.hidden = true;
  }, NOTICE_MS);
}

/** Do it, with the button busy meanwhile; a refusal is told in words. */
export async function doing(button, work) {
  if (button?.getAttribute("aria-busy") === "true") return undefined;
  button?.setAttribute("aria-busy", "true");
  try {
    const answer = await work();
    if (answer?.acknowledged === false) notice(say("not_taken", { n: answer.attempts }), true);
    return answer;
  } catch (error) {
    notice(error instanceof Refused ? say("failed", { why: refusal(error.message) }) : say("unreachable"), true);
    return undefined;
  } finally {
    button?.removeAttribute("aria-busy");
    await world.refresh();
  }
}

/** True at the second press; the first asks. */
export function sure(button, asks = "sure") {
  if (button.dataset.asked) {
    delete button.dataset.asked;
    return true;
  }
  const words = button.textContent;
  button.dataset.asked = "1";
  button.textContent = say(asks);
  setTimeout(() => {
    delete button.dataset.asked;
    if (button.isConnected) button.textContent = words;
  }, SURE_MS);
  return false;
}

/** An action of the admin console, or of a mailbox's own settings. */
export const consoleOrder = (action, fields) => order("console", { action, ...fields });
