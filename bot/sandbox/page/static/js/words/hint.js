// Words of what to try first.

import { teach } from "../words.js";

teach({
  en: {
    try_this: "Try this",
    step_1: "As {who}, type",
    step_1_command: "backup ahing to support@ because he leaves",
    step_1_do: "Type it for me",
    step_2: "As {who}, open the page from the message. Under Mailboxes › ahing@, which stands for his webmail, let IMAP show all mail and custom folders, as the page says; make a client password there and enter it.",
    step_2_chat: "Be {who}",
    step_2_box: "Go to ahing@",
    step_3: "As {who}, press Start on the card, and watch support@ fill up.",
    step_3_chat: "Be {who}",
  },
  zh: {
    try_this: "试一试",
    step_1: "以{who}的身份输入",
    step_1_command: "备份 ahing 到 support@ 原因 离职",
    step_1_do: "替我输入",
    step_2: "以{who}的身份打开消息里的页面。按页面说明，在「邮箱 › ahing@」（相当于他的网页邮箱）中收取全部邮件和「我的文件夹」，生成客户端专用密码并填入页面。",
    step_2_chat: "切换到{who}",
    step_2_box: "前往 ahing@",
    step_3: "以{who}的身份在卡片上按「开始」，看 support@ 的邮件逐渐增多。",
    step_3_chat: "切换到{who}",
  },
});
