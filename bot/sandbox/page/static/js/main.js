// The page: its panels, and when they are drawn.
//
// A panel is { tab, draw(element) } and, where it needs them, look(), which fetches what it shows beyond `world.state`
// while it is open, and forget(), called after a reset. Its words are tab_<tab> and short_<tab>, in words/<tab>.js.

import { does, doing, notice, sure } from "./acts.js";
import { h } from "./dom.js";
import { clockText } from "./format.js";
import { panel as bin } from "./bin.js";
import { panel as adminConsole } from "./console.js";
import { panel as dns } from "./dns.js";
import { panel as due } from "./due.js";
import { panel as mailboxes } from "./mailboxes.js";
import { drawMembers, forgetSeen, loadSeen, markSeen, unreadOfAll } from "./people.js";
import { drawPhones, forgetEntered } from "./phones.js";
import { currentTab, heldMembers, isShown, keepToMembers, knowTabs, openTab, phoneWide, readPlace, whenRoomChanges } from "./place.js";
import { panel as story } from "./story.js";
import { panel as switches } from "./switches.js";
import { drawTour } from "./tour.js";
import { panel as wire } from "./wire.js";
import { label, language, say, speak } from "./words.js";
import { keepFresh, now, order, world } from "./world.js";

const PANELS = [mailboxes, adminConsole, bin, dns, due, switches, wire, story];
const TABS = ["chat", ...PANELS.map((each) => each.tab)];
const byId = (id) => document.getElementById(id);

// ---------------------------------------------------------------------- the frame
function build() {
  for (const { tab } of PANELS) {
    byId("tabs").append(h("button", { type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": `panel-${tab}`, "data-do": "tab", "data-tab": tab },
      h("span.long", { "data-words": `tab_${tab}` }), h("span.short", { "data-words": `short_${tab}` })));
    byId("main").append(h(`section.panel.of-${tab}`, { id: `panel-${tab}`, role: "tabpanel", "aria-labelledby": `tab-${tab}`, tabindex: "-1", hidden: true }));
  }
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
  byId("people").hidden = !isShown("chat");
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

function drawUnread() {
  const all = unreadOfAll();
  byId("unread").hidden = !all;
  byId("unread").textContent = String(all);
  document.title = `${all ? `(${all}) ` : ""}${say("sandbox")} · exmail-bot`;
}

function draw() {
  drawLink();
  drawTabs();
  if (!world.state) return;
  keepToMembers();
  drawClock();
  drawPhones();
  markSeen(heldMembers());
  drawMembers();
  drawUnread();
  drawTour();
  const open = PANELS.find((each) => each.tab === currentTab());
  open?.draw(byId(`panel-${open.tab}`));
  for (const each of document.querySelectorAll("[data-do='language']")) {
    each.setAttribute("aria-pressed", String(each.dataset.language === language));
  }
}

// ---------------------------------------------------------------------- the tools above
does({
  language(button) {
    speak(button.dataset.language);
    label(document);
    draw();
  },
  tab: (button) => openTab(button.dataset.tab),
  async reset(button) {
    if (!sure(button, "reset_sure")) return;
    button.textContent = say("reset");
    if (await doing(button, () => order("reset", { language }))) {
      world.chats.clear();
      forgetSeen();
      forgetEntered();
      for (const each of PANELS) each.forget?.();
      await world.refresh();
      notice(say("reset_done"));
    }
  },
});

byId("tabs").addEventListener("keydown", (event) => {
  const tabs = TABS.filter((each) => !byId(`tab-${each}`).hidden);
  const at = tabs.indexOf(currentTab());
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  openTab(tabs[(to + tabs.length) % tabs.length]);
  byId(`tab-${currentTab()}`).focus();
});

// ---------------------------------------------------------------------- start
whenRoomChanges(draw);
window.addEventListener("hashchange", () => {
  readPlace();
  draw();
  world.refresh();
});
build();
knowTabs(PANELS.map((each) => each.tab));
label(document);
world.draw = draw;
draw();
setInterval(drawClock, 1000);
afterPaint(start);

/** The page stands before it asks for anything; one that nobody looks at is not painted, and does not wait. */
function afterPaint(work) {
  if (document.hidden) work();
  else requestAnimationFrame(() => setTimeout(work));
}

function start() {
  let first = true;
  world.refresh = keepFresh({
    members: heldMembers,
    also: () => PANELS.find((each) => each.tab === currentTab())?.look?.() ?? Promise.resolve(),
    seen() {
      if (world.state && first) {
        first = false;
        loadSeen();
      }
      draw();
    },
  });
}
