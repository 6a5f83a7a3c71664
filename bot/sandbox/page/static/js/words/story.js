// Words of the stories.

import { teach } from "../words.js";

teach({
  en: {
    tab_story: "Stories",
    short_story: "Stories",
    story_hint: "Everything done on this page is recorded. Keep it as a file, and play it again on a fresh organisation: each step is done as then, and what the bot said is expected again.",
    story_keep: "Save what was done as story.json ({n} steps)",
    story_play: "Begin anew and play a file:",
    story_stop: "Stop",
    story_at: "Step {step} of {steps}",
    story_fine: "It came out as it should.",
    story_failed: "It failed: {why}",
    story_no_json: "This file is not JSON: {why}",
  },
  zh: {
    tab_story: "剧本",
    short_story: "剧本",
    story_hint: "本页上的一切操作都会被记录。可以保存为文件，并在全新的企业中重放：每一步照做，机器人当时说的话也应再次出现。",
    story_keep: "把操作保存为 story.json（{n} 步）",
    story_play: "重新开始并播放文件：",
    story_stop: "停止",
    story_at: "第 {step} 步，共 {steps} 步",
    story_fine: "结果符合预期。",
    story_failed: "没有成功：{why}",
    story_no_json: "这个文件不是 JSON：{why}",
  },
});
