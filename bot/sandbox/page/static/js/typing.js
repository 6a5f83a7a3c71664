// Help with typing, under the line: commands, fixed words and values that may come next, asked of the running bot, in
// the language of the line and only what the member's role may do. Arrows choose, Tab takes, Enter takes what was
// chosen with the arrows and else sends, Escape shuts. A word that is still being spelt is left alone.

import { fill, h } from "./dom.js";
import { say } from "./words.js";
import { look } from "./world.js";

export class TypingHelp {
  constructor(phone, id) {
    this.phone = phone;
    this.input = phone.input;
    this.offers = [];
    this.chosen = -1;
    this.asked = 0;
    this.list = h("ul.offers", { id: `${id}-offers`, role: "listbox" });
    this.form = h("p.offers-form.muted");
    this.told = h("p.sr-only", { role: "status" });
    this.element = h("div.typing", { hidden: true }, this.form, this.list, this.told);
    const combobox = { role: "combobox", "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(combobox)) this.input.setAttribute(name, value);
    this.input.addEventListener("input", (event) => (event.isComposing ? this.shut() : this.ask()));
    this.input.addEventListener("compositionend", () => this.ask());
    this.input.addEventListener("blur", () => this.shut());
    // A press on an offer must not take the focus from the line.
    this.element.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.offer));
    });
  }

  get isOpen() {
    return this.offers.length > 0;
  }

  /** Ask what may come next; a late answer to what was typed before is dropped. */
  async ask({ whole = false } = {}) {
    this.asked += 1;
    const turn = this.asked;
    const typed = this.input.value;
    const { member } = this.phone;
    if (!whole && !typed.trim()) {
      this.shut();
      return;
    }
    const found = await look("help", { member, typed }).catch(() => null);
    if (turn !== this.asked || !found || document.activeElement !== this.input) return;
    this.offers = found.offers.filter((each) => each.line.trim() !== typed.trim() || each.line.length > typed.length);
    this.usage = found.usage;
    this.what = found.what;
    this.chosen = -1;
    this.draw();
  }

  shut() {
    this.asked += 1; // an answer that is still out comes too late
    this.offers = [];
    this.usage = "";
    this.chosen = -1;
    this.draw();
  }

  take(at) {
    const offer = this.offers[at];
    if (!offer) return;
    this.phone.type(offer.line);
    this.input.setSelectionRange(offer.line.length, offer.line.length);
    this.input.scrollTop = this.input.scrollHeight;
    if (offer.line.endsWith(" ")) this.ask();
  }

  /** Whether a key was for the list. */
  pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return false;
    if (!this.isOpen) {
      if (event.key !== "ArrowDown" || this.input.value.includes("\n")) return false;
      this.ask({ whole: true });
      return true;
    }
    const count = this.offers.length;
    switch (event.key) {
      case "ArrowDown":
        this.choose((this.chosen + 1) % count);
        return true;
      case "ArrowUp":
        this.choose((this.chosen < 0 ? count : this.chosen) - 1);
        return true;
      case "Escape":
        this.shut();
        return true;
      case "Tab":
        if (event.shiftKey) return false;
        this.take(Math.max(0, this.chosen));
        return true;
      case "Enter":
        if (this.chosen < 0 || event.shiftKey) return false;
        this.take(this.chosen);
        return true;
      default:
        return false;
    }
  }

  choose(at) {
    this.chosen = at;
    this.draw();
    this.list.children[at]?.scrollIntoView({ block: "nearest" });
  }

  draw() {
    this.element.hidden = !this.isOpen && !this.usage;
    this.input.setAttribute("aria-expanded", String(this.isOpen));
    const id = (at) => `${this.list.id}-${at}`;
    if (this.chosen >= 0) this.input.setAttribute("aria-activedescendant", id(this.chosen));
    else this.input.removeAttribute("aria-activedescendant");
    if (this.element.hidden) {
      this.list.replaceChildren();
      return;
    }
    this.list.setAttribute("aria-label", say("offers"));
    this.form.hidden = !this.usage;
    this.form.textContent = this.usage ?? "";
    this.form.title = this.what ?? "";
    fill(this.list, this.offers.map((each, at) =>
      h("li.offer", { id: id(at), role: "option", "data-offer": at, "aria-selected": String(at === this.chosen), "data-key": each.line },
        h("span.offer-shown", {}, each.shown), each.about ? h("span.muted", {}, each.about) : null)));
    const told = this.isOpen ? say("offers_open", { n: this.offers.length }) : "";
    if (this.told.textContent !== told) this.told.textContent = told;
  }
}
