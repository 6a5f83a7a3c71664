// Words of the list of members.

import { teach } from "../words.js";

teach({
  en: {
    members: "Members",
    admin: "admin",
    manager: "manager",
    approver: "approver",
    unread: "{n} new",
  },
  zh: {
    members: "成员",
    admin: "管理员",
    manager: "上级",
    approver: "审批人",
    unread: "{n} 条新消息",
  },
});
