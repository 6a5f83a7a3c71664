// Where the person at the page is: which member's phone, which panel. It stands in the address, so that it can be kept.

import { world } from "./world.js";

export const FIRST = "mei"; // the admin of the demo
export const narrow = matchMedia("(max-width: 1020px)");
export const phoneWide = matchMedia("(max-width: 560px)");
export const place = { member: FIRST, tab: "chat" };

const tabs = ["chat"];

/** The panels there are, in their order; the chat comes before them. */
export function knowTabs(names) {
  tabs.push(...names);
  readPlace();
}

export function readPlace() {
  const [member, tab] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (member) place.member = member;
  if (tabs.includes(tab)) place.tab = tab;
}

function writePlace() {
  history.replaceState(null, "", `#${encodeURIComponent(place.member)}/${place.tab}`);
}

/** On a wide screen the chat is always there, so one of the others is open beside it. */
export function currentTab() {
  return !narrow.matches && place.tab === "chat" ? tabs[1] : place.tab;
}

export function isShown(tab) {
  return tab === currentTab() || (tab === "chat" && !narrow.matches);
}

export function openTab(tab) {
  place.tab = tab;
  writePlace();
  world.draw();
  world.refresh();
}

/** Hold a member's phone. */
export function choose(userid) {
  place.member = userid;
  if (narrow.matches) place.tab = "chat";
  writePlace();
  world.draw();
  world.refresh();
}
