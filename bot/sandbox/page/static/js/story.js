// What was done here, as a story to keep, and a story's file played again on a fresh organisation.

import "./words/story.js";
import { does, doing, notice } from "./acts.js";
import { fill, h } from "./dom.js";
import { say } from "./words.js";
import { look, order } from "./world.js";

const PACE_SECONDS = 0.5; // so that one can watch
let found = null;

function show({ story, step, steps, ended, failed, told }) {
  const how = failed ? say("story_failed", { why: failed }) : ended ? say("story_fine") : say("story_at", { step, steps });
  return h("section", { "data-key": "show" }, h("h3", {}, story), h("p", { role: "status", class: failed ? "bad" : null }, how),
    ended ? null : h("button", { type: "button", "data-do": "story-stop" }, say("story_stop")),
    h("pre.story-told", { tabindex: "0", "aria-label": story }, told.join("\n")));
}

function draw(panel) {
  fill(panel, h("h2.panel-title", {}, say("tab_story")), h("p.muted", {}, say("story_hint")),
    h("p", {}, h("a", { href: "/_sandbox/story/file", download: "story.json" }, say("story_keep", { n: found?.recorded ?? 0 }))),
    h("label", {}, h("span", {}, say("story_play")), " ", h("input", { id: "story-file", type: "file", accept: ".json,application/json", "data-do": "story-play" })),
    found?.show ? show(found.show) : null);
}

export const panel = { tab: "story", draw, look: async () => { found = await look("story"); } };

does({
  async "story-play"(input) {
    const [file] = input.files;
    if (!file) return;
    let story;
    try {
      story = JSON.parse(await file.text());
    } catch (error) {
      notice(say("story_no_json", { why: error.message }), true);
      return;
    } finally {
      input.value = "";
    }
    await doing(input, () => order("story/play", { story, pace_seconds: PACE_SECONDS }));
  },
  "story-stop": (button) => doing(button, () => order("story/stop")),
});
