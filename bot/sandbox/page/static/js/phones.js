// The phones that can be held, and what is done on them: writing, pressing, dropping files.

import { does, doing, notice } from "./acts.js";
import { answersOf } from "./lines.js";
import { roleOf } from "./people.js";
import { Phone } from "./phone.js";
import { give, heldMembers, hold, makeSmall, phonesShown, PHONES_MAX, phoneWide, place, takeAway } from "./place.js";
import { say } from "./words.js";
import { order, person } from "./world.js";

const FILE_BYTES_MAX = 20 << 20;

const table = document.getElementById("phones");
const phones = Array.from({ length: PHONES_MAX }, (_, at) => new Phone(at));
const phoneOf = (element) => phones.find((each) => each.element.contains(element));
const entered = new Set();

export const heldPhone = () => phones[place.held];

let isAway = false;

export function drawPhones() {
  const shown = phonesShown();
  const wasAway = isAway;
  isAway = !shown.length; // behind another panel
  if (isAway) return;
  for (const one of phones) if (!shown.includes(one.at)) one.element.remove();
  for (const [order, one] of shown.map((at) => phones[at]).entries()) {
    if (table.children[order] !== one.element) {
      table.insertBefore(one.element, table.children[order] ?? null);
      one.atEnd = true;
    }
    if (wasAway) one.atEnd = true; // it comes back with its newest line in sight
    const { member, small } = place.phones[one.at];
    one.draw(member, { roleOf, small: Boolean(small) && !phoneWide.matches, isHeld: one.at === place.held && shown.length > 1, isOnly: place.phones.length === 1 });
  }
  table.classList.toggle("one", shown.length === 1);
  document.getElementById("skip").href = `#${heldPhone().input.id}`;
  for (const each of heldMembers()) enter(each);
}

/** Whoever opens a chat in WeCom makes an event of it; here once for each member while the page is open. */
function enter(userid) {
  if (entered.has(userid) || !person(userid)) return;
  entered.add(userid);
  order("enter", { member: userid }).catch(() => undefined);
}

export function forgetEntered() {
  entered.clear();
}

does({
  click(button) {
    const card = button.closest(".card");
    const body = { member: phoneOf(button).member, task_id: button.dataset.task, key: button.dataset.button };
    button.closest("details")?.removeAttribute("open");
    if (!("menu" in button.dataset)) {
      const selected = answersOf(card);
      if (Object.keys(selected).length) body.selected = selected;
    }
    phoneOf(button).atEnd = true; // as with what is typed: the answer is looked at
    return doing(button, () => order("click", body));
  },
  menu(button) {
    button.closest("details")?.removeAttribute("open");
    return doing(button, () => order("menu", { member: phoneOf(button).member, key: button.dataset.menuKey }));
  },
  "give-phone": (select) => give(phoneOf(select).at, select.value),
  "small-phone": (button) => makeSmall(phoneOf(button).at),
  "take-phone"(button) {
    takeAway(phoneOf(button).at);
    heldPhone().input.focus();
  },
  attach: (button) => phoneOf(button).file.click(),
  file: (input) => sendFiles(phoneOf(input), [...input.files]).then(() => (input.value = "")),
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".card-menu[open], .menu-group[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// ---------------------------------------------------------------------- typing and dropping
async function send(one) {
  const text = one.input.value.trim();
  const { member } = one;
  if (!text || !member) return;
  one.submit.setAttribute("aria-busy", "true");
  one.atEnd = true; // who says something looks at what comes of it
  one.sent(member, text);
  const answer = await doing(null, () => order("say", { member, text }));
  one.submit.removeAttribute("aria-busy");
  if (answer === undefined && one.member === member && !one.input.value) one.type(text); // it was not said: give it back
}

async function sendFiles(one, files) {
  for (const file of files) {
    if (file.size > FILE_BYTES_MAX) {
      notice(say("file_too_big", { name: file.name }), true);
      continue;
    }
    const content = await base64(file);
    await doing(one.attach, () => order("file", { member: one.member, name: file.name, content_base64: content }));
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

for (const one of phones) {
  one.form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(one);
  });
  one.element.addEventListener("focusin", () => hold(one.at));
  one.input.addEventListener("keydown", (event) => {
    // Enter that ends the spelling of a Chinese word is not ours.
    if (event.isComposing || event.keyCode === 229) return;
    if (one.help.pressed(event)) {
      event.preventDefault();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send(one);
    }
  });
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  one.element.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    one.over.hidden = false;
  });
  one.element.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  one.element.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) one.over.hidden = true;
  });
  one.element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    one.over.hidden = true;
    sendFiles(one, [...event.dataTransfer.files]);
  });
}
// A file dropped beside the phone must not replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
