// The trouble switches: WeCom's as checkboxes, the mail server's faults one at a time.

import { SWITCHES_ZH } from "./words/switches.js";
import { does, doing, notice } from "./acts.js";
import { fill, h } from "./dom.js";
import { language, say } from "./words.js";
import { order, world } from "./world.js";

function switchWords(name) {
  const found = world.state.trouble.find((each) => each.switch === name);
  return (language === "zh" && SWITCHES_ZH[name]) || found?.what || name;
}

function draw(panel) {
  const { trouble, mail_faults: faults, mailboxes } = world.state;
  fill(panel, h("h2.panel-title", {}, say("tab_switches")),
    h("section", { "data-key": "wecom" }, h("h3", {}, say("wecom_troubles")), h("p.muted", {}, say("troubles_more")),
      h("ul.switches", {}, trouble.map((each) => h("li", { "data-key": each.switch }, h("label.check", {},
        h("input", { type: "checkbox", "data-follows": true, checked: each.on, "data-do": "trouble", "data-switch": each.switch }),
        h("span", {}, switchWords(each.switch), " ", h("code.muted", {}, each.switch),
          each.counts ? [" ", say("at_mail"), " ", h("input", { type: "number", min: 0, max: 9999, value: each.counts, inputmode: "numeric", "aria-label": say("at_mail"), "data-after": each.switch })] : null,
          each.boxed ? h("select", { "data-box": each.switch, "aria-label": say("fault_box") }, mailboxes.map((box) =>
            h("option", { value: box.address, "data-key": box.address, selected: box.address === (each.boxes[0] ?? "support@corp.test") }, box.address))) : null,
          each.times ? h("span.pill", {}, say("times_left", { n: each.times })) : null)))))),
    h("section", { "data-key": "mail" }, h("h3", {}, say("mail_troubles")), h("p.muted", {}, say("mail_troubles_more")),
      h("form.fault", { "data-form": "fault" },
        h("label", {}, h("span", {}, say("fault")), h("select", { id: "fault-name" }, Object.entries(faults).map(([name, what]) =>
          h("option", { value: name, "data-key": name }, `${name}: ${what}`)))),
        h("label", {}, h("span", {}, say("fault_box")), h("select", { id: "fault-box" }, h("option", { value: "", "data-key": "" }, say("all_boxes")),
          mailboxes.map((each) => h("option", { value: each.address, "data-key": each.address }, each.address)))),
        h("label", {}, h("span", {}, say("fault_times")), h("input", { id: "fault-times", type: "number", min: 1, max: 999, placeholder: say("fault_always"), inputmode: "numeric" })),
        h("button", { type: "button", "data-do": "fault", "data-on": "1" }, say("fault_on")),
        h("button", { type: "button", "data-do": "fault" }, say("fault_off")))));
}

export const panel = { tab: "switches", draw };

does({
  async trouble(input) {
    const name = input.dataset.switch;
    const wanted = input.checked;
    const body = { switch: name, on: wanted };
    const after = document.querySelector(`[data-after="${name}"]`)?.value;
    const box = document.querySelector(`[data-box="${name}"]`)?.value;
    if (after) body.after = Number(after);
    if (box) body.address = box;
    const done = await doing(input, () => order("trouble", body));
    if (done && wanted && !done.trouble.find((each) => each.switch === name)?.on) notice(say("struck", { switch: switchWords(name) }));
  },
  async fault(button) {
    const typed = (id) => document.getElementById(id).value;
    const name = typed("fault-name");
    const on = "on" in button.dataset;
    const times = Number(typed("fault-times"));
    const body = { switch: `mail:${name}`, on };
    if (typed("fault-box")) body.address = typed("fault-box");
    if (on && times >= 1) body.times = times;
    if (await doing(button, () => order("trouble", body))) notice(say(on ? "fault_is_on" : "fault_is_off", { fault: name }));
  },
});
