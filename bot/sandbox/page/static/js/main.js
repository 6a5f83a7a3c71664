// The page: who is chosen, which panel is open, and what every button does.

import { fill, h } from "./dom.js";
import { dnsFields, drawDns } from "./dns.js";
import { drawDue, lookAtDue } from "./due.js";
import { drawBin, drawMailboxes, forgetPasswords, keepPassword } from "./mailboxes.js";
import { answersOf, avatar, nameOf, Phone } from "./phone.js";
import { drawSwitches, switchWords } from "./switches.js";
import { clockText, label, language, refusal, say, speak } from "./words.js";
import { drawWire, forgetWire, lookAtWire, openWire, wire } from "./wire.js";
import { keepFresh, now, order, person, Refused, world } from "./world.js";

const FIRST = "mei"; // the admin of the demo
const OWNER = "ahing"; // whose mailbox it backs up
const TABS = ["chat", "mailboxes", "bin", "dns", "due", "switches", "wire"];
const FILE_BYTES_MAX = 20 << 20;
const SURE_MS = 4000;
const NOTICE_MS = 6000;
const narrow = matchMedia("(max-width: 1020px)");
const phoneWide = matchMedia("(max-width: 560px)");
const byId = (id) => document.getElementById(id);

const phone = new Phone(byId("phones"));
const phones = [phone];
const chosen = { member: FIRST, tab: "chat" };
const entered = new Set();
let seen = new Map();
let lookAgain = () => undefined;

// ---------------------------------------------------------------------- where we are
function readPlace() {
  const [member, tab] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (member) chosen.member = member;
  if (TABS.includes(tab)) chosen.tab = tab;
}

function writePlace() {
  history.replaceState(null, "", `#${encodeURIComponent(chosen.member)}/${chosen.tab}`);
}

function isShown(tab) {
  return tab === currentTab() || (tab === "chat" && !narrow.matches);
}

/** On a wide screen the chat is always there, so one of the others is open beside it. */
function currentTab() {
  return !narrow.matches && chosen.tab === "chat" ? "mailboxes" : chosen.tab;
}

function openTab(tab) {
  chosen.tab = tab;
  writePlace();
  draw();
  lookAgain();
}

function choose(userid) {
  chosen.member = userid;
  writePlace();
  if (narrow.matches) chosen.tab = "chat";
  draw();
  lookAgain();
  enter(userid);
}

/** Whoever opens a chat in WeCom makes an event of it; here once for each member while the page is open. */
function enter(userid) {
  if (entered.has(userid) || !person(userid)) return;
  entered.add(userid);
  order("enter", { member: userid }).catch(() => undefined);
}

// ---------------------------------------------------------------------- unread marks
const STORED = "sandbox.seen";

function loadSeen() {
  try {
    const { corp, counts } = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    if (corp === world.state.wecom.corp_id) seen = new Map(Object.entries(counts));
  } catch {
    seen = new Map();
  }
}

function markSeen() {
  for (const each of world.state.members) {
    const looked = isShown("chat") && !document.hidden && phones.some((one) => one.member === each.userid) && world.chats.has(each.userid);
    if (looked) seen.set(each.userid, world.chats.get(each.userid).entries.length);
    else if ((seen.get(each.userid) ?? 0) > each.entries) seen.set(each.userid, 0);
  }
  try {
    localStorage.setItem(STORED, JSON.stringify({ corp: world.state.wecom.corp_id, counts: Object.fromEntries(seen) }));
  } catch {
    // then only until the page is closed
  }
}

const unreadOf = (member) => Math.max(0, member.entries - (seen.get(member.userid) ?? 0));

// ---------------------------------------------------------------------- drawing
function roleOf(member) {
  const { tags, members, departments } = world.state;
  const tagged = (word) => tags.some((tag) => tag.name.includes(word) && tag.members.includes(member.userid));
  const roles = [];
  if (tagged("admin")) roles.push(say("admin"));
  if (member.leads.length || members.some((each) => each.leaders.includes(member.userid))) roles.push(say("manager"));
  if (tagged("approver")) roles.push(say("approver"));
  const department = departments.find((each) => each.id === member.departments[0]);
  const place = department ? (language === "zh" ? department.name : department.name_en || department.name) : "";
  return [place, language === "zh" ? member.position : null, ...roles].filter(Boolean).join(" · ");
}

function drawMembers() {
  fill(byId("members"), world.state.members.map((each) => {
    const unread = unreadOf(each);
    return h("li", { "data-key": each.userid }, h("button.member", {
      type: "button", "data-do": "member", "data-member": each.userid, "aria-current": each.userid === chosen.member ? "true" : null,
    }, avatar(each), h("span.member-name", {}, h("span", {}, h("strong", {}, each.name), " ", h("span.userid", {}, each.userid)),
      h("span.muted", {}, roleOf(each))),
    unread ? h("span.badge", {}, h("span", { "aria-hidden": "true" }, unread > 99 ? "99+" : String(unread)), h("span.sr-only", {}, say("unread", { n: unread }))) : null));
  }));
  const all = world.state.members.reduce((sum, each) => sum + unreadOf(each), 0);
  byId("unread").hidden = !all;
  byId("unread").textContent = String(all);
  document.title = `${all ? `(${all}) ` : ""}${say("sandbox")} · exmail-bot`;
}

function drawSteps() {
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

function drawTabs() {
  const current = currentTab();
  for (const tab of TABS) {
    const button = byId(`tab-${tab}`);
    const isCurrent = tab === current;
    button.setAttribute("aria-selected", String(isCurrent));
    button.tabIndex = isCurrent ? 0 : -1;
    if (isCurrent && button.offsetLeft + button.offsetWidth > byId("tabs").clientWidth) byId("tabs").scrollLeft = button.offsetLeft;
    byId(`panel-${tab}`).hidden = !isShown(tab);
  }
  byId("tab-chat").hidden = !narrow.matches;
  document.body.dataset.tab = current;
}

function drawLink() {
  byId("link").textContent = say(world.link);
  byId("link").dataset.state = world.link;
}

function drawClock() {
  if (!world.state) return;
  const element = byId("clock");
  const text = clockText(now(), { year: !phoneWide.matches });
  if (element.textContent !== text) element.textContent = text;
  element.setAttribute("datetime", new Date(now()).toISOString());
}

function draw() {
  drawLink();
  drawTabs();
  if (!world.state) return;
  if (!person(chosen.member)) chosen.member = world.state.members[0]?.userid ?? FIRST;
  drawClock();
  phone.draw(chosen.member, roleOf);
  markSeen();
  drawMembers();
  drawSteps();
  const tab = currentTab();
  if (tab === "mailboxes") drawMailboxes(byId("panel-mailboxes"));
  if (tab === "bin") drawBin(byId("panel-bin"));
  if (tab === "dns") drawDns(byId("panel-dns"));
  if (tab === "due") drawDue(byId("panel-due"));
  if (tab === "switches") drawSwitches(byId("panel-switches"));
  if (tab === "wire") drawWire(byId("panel-wire"));
  for (const each of document.querySelectorAll("[data-do='language']")) {
    each.setAttribute("aria-pressed", String(each.dataset.language === language));
  }
}

// ---------------------------------------------------------------------- telling what happened
let noticeTimer = 0;

function notice(text, bad = false) {
  const element = byId("notice");
  element.textContent = text;
  element.classList.toggle("bad", bad);
  element.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    element.hidden = true;
  }, NOTICE_MS);
}

/** Do it, with the button busy meanwhile; a refusal is told in words. */
async function doing(button, work) {
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
    await lookAgain();
  }
}

/** True at the second press; the first asks. */
function sure(button) {
  if (button.dataset.asked) {
    delete button.dataset.asked;
    return true;
  }
  const words = button.textContent;
  button.dataset.asked = "1";
  button.textContent = say(button.id === "reset" ? "reset_sure" : "sure");
  setTimeout(() => {
    delete button.dataset.asked;
    if (button.isConnected) button.textContent = words;
  }, SURE_MS);
  return false;
}

/** Send the clock somewhere; it may stop often on the way, so the page says that it goes and when it is there. */
async function walk(button, goal) {
  document.body.setAttribute("data-walking", "");
  const done = await doing(button, () => order("clock", goal));
  document.body.removeAttribute("data-walking");
  if (!done) return;
  if (!done.arrived) notice(say("not_arrived"), true);
  else if (done.stops.length > 1) notice(say("arrived", { when: clockText(Date.parse(done.clock)), n: done.stops.length - 1 }));
}

// ---------------------------------------------------------------------- what buttons do
const consoleOrder = (action, fields) => order("console", { action, ...fields });

const DO = {
  language(button) {
    speak(button.dataset.language);
    label(document);
    draw();
  },
  tab: (button) => openTab(button.dataset.tab),
  member: (button) => choose(button.dataset.member),
  go: (button) => walk(button, { to: button.dataset.to }),
  "go-there": (button) => walk(button, { until: button.dataset.at }),
  async reset(button) {
    if (!sure(button)) return;
    button.textContent = say("reset");
    if (await doing(button, () => order("reset"))) {
      world.chats.clear();
      seen.clear();
      entered.clear();
      forgetPasswords();
      forgetWire();
      await lookAgain();
      notice(say("reset_done"));
    }
  },
  "type-command"() {
    choose(FIRST);
    phone.type(say("step_1_command"));
    phone.input.focus();
  },
  "go-box"(button) {
    openTab("mailboxes");
    const box = byId(`box-${button.dataset.address}`);
    if (!box) return;
    box.open = true;
    box.scrollIntoView({ block: "start" });
    box.querySelector("[data-do='mint']")?.focus({ preventScroll: true });
  },
  click(button) {
    const card = button.closest(".card");
    const body = { member: phoneOf(button).member, task_id: button.dataset.task, key: button.dataset.button };
    button.closest("details")?.removeAttribute("open");
    if (!("menu" in button.dataset)) {
      const selected = answersOf(card);
      if (Object.keys(selected).length) body.selected = selected;
    }
    return doing(button, () => order("click", body));
  },
  menu(button) {
    button.closest("details")?.removeAttribute("open");
    return doing(button, () => order("menu", { member: phoneOf(button).member, key: button.dataset.menuKey }));
  },
  attach: (button) => phoneOf(button).file.click(),
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
    keepPassword(address, done.result.password);
    draw();
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
  console(button) {
    if ("sure" in button.dataset && !sure(button)) return undefined;
    const { action, address } = button.dataset;
    const near = (what) => button.closest(".bin-item, .box").querySelector(what).value;
    const fields = {
      reclaim: () => ({ member: byId("reclaim-who").value }),
      delete_member: () => ({ member: byId("reclaim-who").value }),
      assign: () => ({ address, member: near("[data-assignee]") }),
      convert_to_public: () => ({ address, members: [near("[data-assignee]")] }),
      backup_once: () => ({ address, target: near("[data-target]") }),
      purge: () => ({ address }),
      rename: () => ({ address, new_address: `${near("[data-name]").trim()}@${address.split("@")[1]}` }),
      delete_public: () => ({ address }),
    };
    return doing(button, () => consoleOrder(action, fields[action]()));
  },
  dns: (button) => doing(button, () => consoleOrder(button.dataset.action, dnsFields(button))),
  async trouble(input) {
    const name = input.dataset.switch;
    const wanted = input.checked;
    const done = await doing(input, () => order("trouble", { switch: name, on: wanted }));
    if (done && wanted && !done.trouble.find((each) => each.switch === name)?.on) notice(say("struck", { switch: switchWords(name) }));
  },
  async fault(button) {
    const name = byId("fault-name").value;
    const on = "on" in button.dataset;
    const times = Number(byId("fault-times").value);
    const body = { switch: `mail:${name}`, on };
    if (byId("fault-box").value) body.address = byId("fault-box").value;
    if (on && times >= 1) body.times = times;
    if (await doing(button, () => order("trouble", body))) notice(say(on ? "fault_is_on" : "fault_is_off", { fault: name }));
  },
};

const phoneOf = (element) => phones.find((each) => each.element.contains(element)) ?? phone;
const CHANGED = new Set(["INPUT", "SELECT"]);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button && !CHANGED.has(button.nodeName)) DO[button.dataset.do]?.(button);
  for (const menu of document.querySelectorAll(".card-menu[open], .menu-group[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.dataset.do) DO[input.dataset.do]?.(input);
  else if (input.type === "file" && input.files.length) sendFiles(phoneOf(input), [...input.files]).then(() => (input.value = ""));
  else if (input.id === "wire-kind") wireChanged({ kind: input.value });
  else if (input.id === "wire-hold") wireChanged({ hold: input.checked });
});

document.addEventListener("input", (event) => {
  if (event.target.id === "wire-filter") wireChanged({ filter: event.target.value });
});

function wireChanged(change) {
  const held = wire.hold;
  Object.assign(wire, change, { hold: false });
  drawWire(byId("panel-wire"));
  wire.hold = change.hold ?? held;
}

// A details element tells of its opening after the fact, and the event does not rise: it is caught on its way down.
document.addEventListener("toggle", (event) => {
  const entry = event.target;
  if (entry.dataset?.wire) {
    openWire(entry);
  }
}, true);

// ---------------------------------------------------------------------- typing and dropping
async function send(one) {
  const text = one.input.value.trim();
  const { member } = one;
  if (!text || !member) return;
  one.submit.setAttribute("aria-busy", "true");
  one.drafts.set(member, one.input.value);
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
  one.input.addEventListener("keydown", (event) => {
    // Enter that ends the spelling of a Chinese word is not ours.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
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

byId("tabs").addEventListener("keydown", (event) => {
  const tabs = TABS.filter((each) => !byId(`tab-${each}`).hidden);
  const at = tabs.indexOf(currentTab());
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  openTab(tabs[(to + tabs.length) % tabs.length]);
  byId(`tab-${currentTab()}`).focus();
});

byId("members").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...byId("members").querySelectorAll("button")];
  all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
});

// ---------------------------------------------------------------------- start
byId("hint").querySelector("summary").addEventListener("click", () => {
  try {
    localStorage.setItem("sandbox.hint", byId("hint").open ? "shut" : "open"); // what it is about to be
  } catch {
    // then it is as at first the next time
  }
});
narrow.addEventListener("change", () => draw());
window.addEventListener("hashchange", () => {
  readPlace();
  draw();
  lookAgain();
});
try {
  // On a phone the hint would leave no room for the chat: there it opens when it is asked for.
  byId("hint").open = (localStorage.getItem("sandbox.hint") ?? (narrow.matches ? "shut" : "open")) === "open";
} catch {
  byId("hint").open = !narrow.matches;
}
readPlace();
label(document);
draw();
setInterval(drawClock, 1000);
let first = true;
lookAgain = keepFresh({
  members: () => [chosen.member],
  also: () => ({ wire: lookAtWire, due: lookAtDue })[currentTab()]?.() ?? Promise.resolve(),
  seen() {
    if (world.state && first) {
      first = false;
      loadSeen();
      draw();
      enter(chosen.member);
      return;
    }
    draw();
  },
});
