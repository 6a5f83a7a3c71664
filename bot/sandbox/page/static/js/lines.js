// What stands in a chat, drawn as WeCom draws it: bubbles, files, cards with their blocks, and the times between them.

import "./words/chat.js";
import { h } from "./dom.js";
import { avatar, botAvatar, nameOf } from "./faces.js";
import { chatTime, size } from "./format.js";
import { say } from "./words.js";
import { now, openedBy } from "./world.js";

const QUIET_MS = 5 * 60 * 1000; // a pause after which the time is shown again
const LINK = /<a\s[^<>]*?href=["']([^"'<>]+)["'][^<>]*>([^<]*)<\/a>|(https?:\/\/[^\s<>"'，。；）】」]+)/gi;
const TRAILING = /[.,;:!?)\]]+$/;

/** A text with its links made to open as the member; a link to anywhere else stays text. */
export function linked(text, member) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    let shown = found[2] ?? found[3];
    let url = found[1] ?? found[3];
    let rest = "";
    if (found[3]) {
      rest = TRAILING.exec(url)?.[0] ?? "";
      url = shown = url.slice(0, url.length - rest.length);
    }
    parts.push(text.slice(end, found.index), link(url, member, shown) ?? found[0].slice(0, found[0].length - rest.length), rest);
    end = found.index + found[0].length;
  }
  parts.push(text.slice(end));
  return parts.filter(Boolean);
}

export function link(url, member, shown, classes = "") {
  const href = openedBy(member.userid, url);
  if (href === null) return null;
  const title = say("opens_as", { who: nameOf(member) });
  return h("a", { href, target: "_blank", rel: "noopener noreferrer", title, class: classes }, shown || url);
}

function fileLine(file) {
  return h("a.file", { href: file.url, download: file.name, "aria-label": say("download", { name: file.name }) },
    h("span.file-icon", { "aria-hidden": "true" }, (file.name.split(".").pop() ?? "").slice(0, 4).toUpperCase()),
    h("span.file-name", {}, file.name), h("span.muted", {}, size(file.size_bytes)));
}

function question(choice, entry, card, greyed) {
  const name = `choice-${entry.id}-${choice.question_key}`;
  const mark = { "data-question": choice.question_key };
  const chosen = choice.selected ?? [];
  if (card.card_type === "vote_interaction") {
    const type = choice.multiple ? "checkbox" : "radio";
    return h("fieldset.question", { ...mark, disabled: greyed }, h("legend", {}, choice.title || card.title),
      choice.options.map((each) => h("label.option", { "data-key": `o-${each.id}` },
        h("input", { type, name, value: each.id, checked: chosen.includes(each.id) }), h("span", {}, each.text))));
  }
  return h("label.question", mark, h("span.question-title", {}, choice.title),
    h("select", { name, disabled: greyed, "aria-label": choice.title || card.title },
      chosen.length ? null : h("option", { value: "" }, say("choose")),
      choice.options.map((each) => h("option", { value: each.id, selected: chosen.includes(each.id) }, each.text))));
}

const STYLES = { 1: "main", 2: "warns", 3: "plain", 4: "warns-plain" };

function cardButton(button, card, member) {
  if (button.url) return link(button.url, member, button.text, "button plain");
  const pressed = card.clicked && card.clicked === button.key;
  return h("button.card-button", {
    type: "button", class: STYLES[button.style] ?? "main", disabled: card.greyed, "data-do": "click",
    "data-task": card.task_id, "data-button": button.key, "data-key": `b-${button.key}`,
    "data-pressed": pressed && !card.greyed,
  }, button.text);
}

function cardNode(entry, member) {
  const card = entry.card;
  const title = link(card.url ?? "", member, card.title, "card-title-link");
  const whole = card.url && title ? title : card.title;
  const emphasis = card.emphasis;
  return h("article.card", { class: card.greyed ? "greyed" : "", "data-task": card.task_id, "aria-label": card.title },
    card.source ? h("p.card-source", {}, card.source) : null,
    h("header.card-head", {},
      h("div", {}, card.title ? h("h3.card-title", {}, whole) : null,
        card.description ? h("p.card-note", {}, card.description) : null),
      card.menu.length ? h("details.card-menu", { "data-key": "menu" },
        h("summary", { "aria-label": say("more") }, "⋯"),
        h("div", {}, card.menu.map((each) => h("button", {
          type: "button", "data-do": "click", "data-task": card.task_id, "data-button": each.key, "data-menu": true,
        }, each.text)))) : null),
    emphasis?.title || emphasis?.desc ? h("p.card-emphasis", {}, h("strong", {}, emphasis.title ?? ""), h("span.muted", {}, emphasis.desc ?? "")) : null,
    card.quote ? h("blockquote.card-quote", {}, card.quote) : null,
    card.text ? h("p.card-text", {}, linked(card.text, member)) : null,
    card.rows.length ? h("dl.card-rows", {}, card.rows.map((row) => [
      h("dt", {}, row.name), h("dd", {}, (row.url && link(row.url, member, row.value)) || row.value || "—")])) : null,
    card.vertical.map((each) => h("p.card-vertical", {}, h("strong", {}, each.title ?? ""), h("span", {}, each.desc ?? ""))),
    card.choices.map((each) => question(each, entry, card, card.greyed)),
    card.links.length ? h("ul.card-links", {}, card.links.map((each) =>
      h("li", {}, (each.url && link(each.url, member, each.title)) || each.title))) : null,
    card.greyed ? h("p.card-done", {}, card.replaced_text)
      : card.buttons.length ? h("div.card-buttons", { class: `n${Math.min(card.buttons.length, 3)}` }, card.buttons.map((each) => cardButton(each, card, member))) : null);
}

function content(entry, member) {
  if (entry.recalled) return h("p.bubble.quiet", {}, say("recalled"));
  if (entry.card) return cardNode(entry, member);
  if (entry.file) return h("div.bubble.with-file", {}, fileLine(entry.file));
  if (entry.textcard) {
    const { title, description, url, button } = entry.textcard;
    return h("article.card", { "aria-label": title }, h("h3.card-title", {}, title), h("p.card-text", {}, description),
      h("ul.card-links", {}, h("li", {}, link(url, member, button || say("details")) ?? url)));
  }
  return h("p.bubble", {}, linked(entry.text, member));
}

function line(entry, member) {
  const mine = entry.from === "member";
  const who = mine ? say("you_said", { who: nameOf(member) }) : say("bot_said");
  return h("li.line", { class: mine ? "mine" : "theirs", "data-key": `e${entry.id}`, "data-entry": entry.id },
    mine ? null : botAvatar(), h("span.sr-only", {}, `${who}: `), content(entry, member), mine ? avatar(member) : null);
}

export function lines(chat, member) {
  const list = [];
  let before = 0;
  for (const entry of chat?.entries ?? []) {
    const at = Date.parse(entry.at);
    if (at - before > QUIET_MS) {
      list.push(h("li.when", { "data-key": `t${entry.id}` }, h("time", { datetime: entry.at }, chatTime(at, now()))));
    }
    before = at;
    list.push(line(entry, member));
  }
  if (chat?.dropped) list.push(h("li.when", { "data-key": "dropped" }, say("dropped", { n: chat.dropped, who: nameOf(member) })));
  if (!list.length) list.push(h("li.when", { "data-key": "empty" }, chat ? say("empty_chat") : "…"));
  return list;
}

/** What a card's questions were answered with; empty questions are left out. */
export function answersOf(card) {
  const selected = {};
  for (const each of card.querySelectorAll("[data-question]")) {
    const chosen = each.matches("fieldset")
      ? [...each.querySelectorAll("input:checked")].map((input) => input.value)
      : [each.querySelector("select").value].filter(Boolean);
    if (chosen.length || each.matches("fieldset")) selected[each.dataset.question] = chosen;
  }
  return selected;
}
