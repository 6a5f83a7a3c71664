// Words of the admin console.

import { teach } from "../words.js";

teach({
  en: {
    tab_console: "Admin console",
    short_console: "Console",
    console_hint: "What only the admin console can do, the bot asks a person for. Here you are that person: do a step, or say that you did. The bot believes only what it sees.",
    console_empty: "The bot asks for nothing in the console now.",
    step_title: "{n}: {title}",
    step_facts: "asked of {who} · job {job} · until {when}",
    step_contradicted: "said to be done, not seen",
    step_do: "Do it, and say done",
    step_lie: "Only say done, as {who}",
    step_lie_more: "A lie: nothing is done in the console.",
    step_done: "done {n}",
    places: "Places for public mailboxes",
    slots: "{used} of {all} taken",
    buy_seat: "Buy one more",
  },
  zh: {
    tab_console: "管理后台",
    short_console: "后台",
    console_hint: "只有管理后台能做的事，机器人会请人去做。在这里您就是那个人：可以照做，也可以只说做了。机器人只相信自己查到的。",
    console_empty: "机器人目前没有后台待办。",
    step_title: "{n}：{title}",
    step_facts: "负责人 {who} · 任务 {job} · 截止 {when}",
    step_contradicted: "已回复完成，但没有查到",
    step_do: "照做并回复完成",
    step_lie: "只以{who}的身份回复完成",
    step_lie_more: "谎报：后台并没有操作。",
    step_done: "完成 {n}",
    places: "公共邮箱名额",
    slots: "已用 {used} / {all}",
    buy_seat: "再买一个",
  },
});
