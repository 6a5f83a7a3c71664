// Words of a folder and of a mail that is read.

import { teach } from "../words.js";

teach({
  en: {
    no_subject: "(no subject)",
    not_read: "unread",
    folder_empty: "There is nothing in this folder.",
    mails_newest: "The newest {n} are shown.",
    was_html: "This mail has only a formatted text; its words are shown.",
    no_text: "(no text)",
    text_cut: "The rest of the text is left out.",
    attached: "Attachments",
    nameless: "(without a name)",
    all_headers: "All headers",
    open_folder: "Open {folder}, {n}",
  },
  zh: {
    no_subject: "（无主题）",
    not_read: "未读",
    folder_empty: "这个文件夹是空的。",
    mails_newest: "只显示最新的 {n} 封。",
    was_html: "这封邮件只有带格式的正文，这里只显示文字。",
    no_text: "（无正文）",
    text_cut: "其余正文已省略。",
    attached: "附件",
    nameless: "（未命名）",
    all_headers: "全部邮件头",
    open_folder: "打开{folder}，{n}",
  },
});
