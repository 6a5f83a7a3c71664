// A phone: whose it is, his chat with the bot, the bot's menu and what he types. Any number can stand side by side.

import { atEnd, fill, h } from "./dom.js";
import { avatar, nameOf } from "./faces.js";
import { lines, link } from "./lines.js";
import { TypingHelp } from "./typing.js";
import { say } from "./words.js";
import { person, world } from "./world.js";

const drafts = new Map(); // userid to what he has typed and not sent

function menuRow(menu, member) {
  const press = (each) => each.type === "view"
    ? link(each.url ?? "", member, each.name, "menu-item")
    : h("button.menu-item", { type: "button", "data-do": "menu", "data-menu-key": each.key }, each.name);
  return menu.map((top) => top.sub_button?.length
    ? h("details.menu-group", { "data-key": `m-${top.name}` }, h("summary.menu-item", {}, top.name), h("div", {}, top.sub_button.map(press)))
    : press(top));
}

/** One phone; `draw(userid)` shows that member's chat and what he has typed. */
export class Phone {
  constructor(at) {
    const id = at ? `input-${at + 1}` : "input";
    this.at = at;
    this.member = null;
    this.title = h("h2.phone-name");
    this.who = h("select.phone-role", { "data-do": "give-phone", "data-follows": true });
    this.face = h("span.phone-face");
    this.small = h("button.icon.small-screen", { type: "button", "data-do": "small-phone" }, "⇥⇤");
    this.away = h("button.icon", { type: "button", "data-do": "take-phone" }, "×");
    this.holder = h("div.log", { tabindex: "0", role: "region" });
    this.menu = h("div.menu-row", { role: "group" });
    this.input = h("textarea", { id, rows: "1", autocomplete: "off", autocapitalize: "off", spellcheck: "false", enterkeyhint: "send" });
    this.file = h("input.sr-only", { type: "file", "data-do": "file", tabindex: "-1", "aria-hidden": "true" });
    this.attach = h("button.icon", { type: "button", "data-do": "attach" }, "＋");
    this.submit = h("button.send", { type: "submit" });
    this.form = h("form.compose", {}, this.attach, this.file, this.input, this.submit);
    this.help = new TypingHelp(this, id);
    this.over = h("p.drop", { hidden: true, "aria-hidden": "true" });
    this.element = h("article.phone", {}, h("header.phone-head", {}, this.face, h("div", {}, this.title, this.who), this.small, this.away),
      this.holder, this.help.element, this.menu, this.form, this.over);
    // Who was at the end stays there, also when the phone gets smaller under him.
    this.atEnd = true;
    this.height = 0;
    this.holder.addEventListener("scroll", () => {
      if (this.holder.clientHeight === this.height) this.atEnd = atEnd(this.holder);
    }, { passive: true });
    new ResizeObserver(() => {
      this.height = this.holder.clientHeight;
      if (this.atEnd) this.holder.scrollTop = this.holder.scrollHeight;
    }).observe(this.holder);
    this.input.addEventListener("input", () => {
      drafts.set(this.member, this.input.value);
      this.grow();
    });
  }

  grow() {
    const rows = Math.min(5, Math.max(1, this.input.value.split("\n").length));
    this.input.rows = rows;
  }

  type(text) {
    this.input.value = text;
    drafts.set(this.member, text);
    this.grow();
    this.help.shut();
  }

  /** What was typed, taken away once it is sent. */
  sent(member, text) {
    if (drafts.get(member)?.trim() !== text) return;
    drafts.delete(member);
    if (this.member === member) this.type("");
  }

  draw(userid, { roleOf, small, isHeld, isOnly }) {
    const member = person(userid);
    if (!member) return;
    if (this.member !== userid) {
      // A new list, so that a screen reader does not read out the whole of another chat as news.
      this.member = userid;
      this.list = h("ol.lines", { role: "log", "aria-live": "polite", "aria-relevant": "additions" });
      this.holder.replaceChildren(this.list);
      this.input.value = drafts.get(userid) ?? "";
      this.help.shut();
      this.grow();
      this.atEnd = true;
    }
    const chat = world.chats.get(member.userid);
    const who = nameOf(member);
    this.element.dataset.member = member.userid;
    this.element.classList.toggle("small", small);
    this.element.classList.toggle("held", isHeld);
    this.element.setAttribute("aria-label", say("phone_of", { who }));
    this.title.textContent = say("bot");
    fill(this.who, world.state.members.map((each) => h("option", { value: each.userid, "data-key": each.userid }, `${each.name} ${each.userid} · ${roleOf(each)}`)));
    this.who.value = member.userid;
    this.who.setAttribute("data-value", member.userid);
    this.who.setAttribute("aria-label", say("whose_phone"));
    fill(this.face, avatar(member));
    this.small.setAttribute("aria-label", say("small_phone", { who }));
    this.small.setAttribute("aria-pressed", String(small));
    this.small.title = say("small_phone", { who });
    this.away.hidden = isOnly;
    this.away.setAttribute("aria-label", say("take_phone", { who }));
    this.away.title = say("take_phone", { who });
    this.holder.setAttribute("aria-label", `${say("short_chat")}: ${who}`);
    this.input.setAttribute("aria-label", say("write_to", { who }));
    this.input.placeholder = say("placeholder");
    this.attach.setAttribute("aria-label", say("add_file"));
    this.attach.title = say("add_file");
    this.submit.textContent = say("send");
    this.over.textContent = say("drop_here", { who });
    fill(this.list, lines(chat, member));
    if (this.atEnd) this.holder.scrollTop = this.holder.scrollHeight;
    this.menu.setAttribute("aria-label", say("menu"));
    const entries = chat?.menu ?? [];
    this.menu.hidden = entries.length === 0;
    fill(this.menu, menuRow(entries, member));
  }
}
