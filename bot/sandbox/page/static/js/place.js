// Where the person at the page is: whose phones stand there, which one is held, which panel is open. It stands in the
// address, so that it can be kept: `#mei,ling~/bin` is two phones, the second with a small screen, and the recycle bin.

import { world } from "./world.js";

export const FIRST = "mei"; // the admin of the demo
export const PHONES_MAX = 4;
export const narrow = matchMedia("(max-width: 1020px)"); // one view at a time
export const phoneWide = matchMedia("(max-width: 620px)"); // tabs below, one phone
const STEPS = [
  // so many phones fit beside an open panel, and so many by themselves
  { wide: matchMedia("(min-width: 1740px)"), beside: 4, alone: 4 },
  { wide: matchMedia("(min-width: 1400px)"), beside: 3, alone: 4 },
  { wide: matchMedia("(min-width: 1021px)"), beside: 2, alone: 3 },
  { wide: matchMedia("(min-width: 621px)"), beside: 2, alone: 2 },
];

/** `phones` are what stands there, in order; `held` is the index of the one that is held. */
export const place = {
  phones: [{ member: FIRST }, { member: "ahing" }, { member: "ling", small: true }, { member: "calvin" }],
  held: 0,
  tab: null,
};

const tabs = ["chat"];

/** The panels there are, in their order; the chat comes before them. */
export function knowTabs(names) {
  tabs.push(...names);
  readPlace();
}

export function readPlace() {
  const [members, tab] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (members) {
    const named = members.split(",").slice(0, PHONES_MAX).map((each) => ({ member: each.replace("~", ""), small: each.endsWith("~") }));
    place.phones = named.filter((each, at) => each.member && named.findIndex((one) => one.member === each.member) === at);
    place.held = Math.min(place.held, place.phones.length - 1);
  }
  if (tabs.includes(tab)) place.tab = tab;
}

function writePlace() {
  const members = place.phones.map((each) => encodeURIComponent(each.member) + (each.small ? "~" : "")).join(",");
  history.replaceState(null, "", `#${members}/${currentTab()}`);
}

/** The chat alone is a view of its own; on a wide screen a panel stands beside it at first. */
export function currentTab() {
  return place.tab ?? (narrow.matches ? "chat" : tabs[1]);
}

export function isShown(tab) {
  return tab === currentTab() || (tab === "chat" && !narrow.matches);
}

/** Which of the phones there is room for, by index: the first ones, and always the one that is held. */
export function phonesShown() {
  if (!isShown("chat")) return [];
  const step = STEPS.find((each) => each.wide.matches);
  const room = step ? (currentTab() === "chat" ? step.alone : step.beside) : 1;
  const all = [...place.phones.keys()];
  const first = all.slice(0, room);
  return first.includes(place.held) ? first : [...first.slice(0, -1), place.held];
}

export const heldMembers = () => phonesShown().map((each) => place.phones[each].member);
export const heldMember = () => place.phones[place.held].member;

function moved() {
  writePlace();
  world.draw();
  world.refresh();
}

export function openTab(tab) {
  place.tab = tab;
  moved();
}

/** Hold a member's phone: the one that stands there, or his in place of the one that is held. */
export function choose(userid) {
  const at = place.phones.findIndex((each) => each.member === userid);
  if (at >= 0) place.held = at;
  else place.phones[place.held].member = userid;
  if (narrow.matches) place.tab = "chat";
  moved();
}

/** The phone is held now, as one that is touched is. */
export function hold(at) {
  if (place.held === at) return;
  place.held = at;
  writePlace();
  world.draw();
}

/** Give a phone to somebody; who has another one there already changes places with him. */
export function give(at, userid) {
  const other = place.phones.findIndex((each) => each.member === userid);
  if (other >= 0) place.phones[other].member = place.phones[at].member;
  place.phones[at].member = userid;
  place.held = at;
  moved();
}

export function takeAway(at) {
  if (place.phones.length === 1) return;
  place.phones.splice(at, 1);
  place.held = Math.min(place.held, place.phones.length - 1);
  moved();
}

/** One more phone, of the next member who has none there. */
export function addPhone() {
  const next = world.state.members.find((each) => place.phones.every((one) => one.member !== each.userid));
  if (!next || place.phones.length === PHONES_MAX) return;
  place.phones.push({ member: next.userid });
  place.held = place.phones.length - 1;
  moved();
}

export function makeSmall(at) {
  place.phones[at].small = !place.phones[at].small;
  moved();
}

/** After a reset somebody may be gone: his phone is given to who is there. */
export function keepToMembers() {
  const known = new Set(world.state.members.map((each) => each.userid));
  place.phones = place.phones.filter((each) => known.has(each.member));
  if (!place.phones.length) place.phones = [{ member: world.state.members[0]?.userid ?? FIRST }];
  place.held = Math.min(place.held, place.phones.length - 1);
}

/** When the width changes what fits, draw again. */
export function whenRoomChanges(draw) {
  for (const each of [narrow, phoneWide, ...STEPS.map((step) => step.wide)]) each.addEventListener("change", draw);
}
