// How members and the bot are called and look in small.

import { h } from "./dom.js";
import { language } from "./words.js";

export function shortName(member) {
  return [...member.name].slice(-2).join("");
}

export function avatar(member) {
  const hue = [...member.userid].reduce((sum, each) => sum + each.codePointAt(0), 0) % 8;
  return h(`span.avatar.hue-${hue}`, { "aria-hidden": "true" }, shortName(member));
}

export function botAvatar() {
  return h("span.avatar.of-bot", { "aria-hidden": "true" }, "✉");
}

export function nameOf(member) {
  return language === "en" && member.alias ? member.alias : member.name;
}
