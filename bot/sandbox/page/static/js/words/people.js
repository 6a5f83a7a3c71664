// Words of the list of members.

import { teach } from "../words.js";

teach({
  en: {
    members: "Members",
    admin: "admin",
    manager: "manager",
    approver: "approver",
    unread: "{n} new",
    has_phone: "phone is shown",
    add_phone: "Add a phone",
  },
  zh: {
    members: "成员",
    admin: "管理员",
    manager: "上级",
    approver: "审批人",
    unread: "{n} 条新消息",
    has_phone: "手机已显示",
    add_phone: "再加一部手机",
  },
});
