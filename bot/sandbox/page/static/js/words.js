// The page's own words, in both languages. What the bot, the members and the mails say is never translated.

const EN = {
  skip: "Skip to the chat",
  banner: "Simulated organisation",
  banner_more: "Everybody and every mail here is made up. Nothing leaves this machine.",
  sandbox: "sandbox",
  clock: "Simulated clock",
  plus_hour: "+1 h",
  plus_day: "+1 day",
  reset: "Reset",
  reset_sure: "Really reset?",
  sure: "Really?",
  reset_done: "Everything is as at the start.",
  language: "Language",
  try_this: "Try this",
  views: "Views",
  tab_chat: "Chat",
  tab_mailboxes: "Mailboxes",
  tab_bin: "Recycle bin",
  tab_due: "Due next",
  short_chat: "Chat",
  short_mailboxes: "Mail",
  short_bin: "Bin",
  short_due: "Next",
  short_switches: "Faults",
  short_wire: "Wire",
  next_reminder: "Next reminder",
  short_reminder: "Reminder",
  go_hour: "An hour on",
  go_day: "A day on",
  go_next_reminder: "To the next reminder",
  go_before_deletion: "A minute before the next deletion",
  go_after_deletion: "Past the next deletion",
  go_there: "Go there",
  go_there_to: "Go there: {what}",
  arrived: "It is {when} now. The clock stopped {n} times on the way.",
  not_arrived: "That takes too long: the clock stopped on the way. Send it on when the bot is done.",
  due_hint: "What comes by itself, and why then. Wherever you send the clock, the bot does on the way what it would have done.",
  due_empty: "Nothing is due.",
  due_without_end: "As long as it takes",
  due_reminder: "reminder",
  due_last_word: "last word",
  due_deletion: "deletion",
  due_look: "look",
  due_handover: "console step",
  due_approval: "approval",
  due_job: "job",
  due_link: "page",
  due_message: "messages",
  in_console: "In the admin console",
  new_name: "New address",
  rename: "Rename",
  delete_public: "Delete this public mailbox",
  delete_member: "Delete the member",
  backup_once: "Back up, once",
  backup_target: "Mailbox",
  tab_switches: "Troubles",
  tab_wire: "Wire log",
  members: "Members",
  step_1: "As {who}, type",
  step_1_command: "backup ahing to support@ because he leaves",
  step_1_do: "Type it for me",
  step_2: "As {who}, open the page from the message. Under Mailboxes › ahing@, which stands for his webmail, let IMAP show all mail and custom folders, as the page says; make a client password there and enter it.",
  step_2_chat: "Be {who}",
  step_2_box: "Go to ahing@",
  step_3: "As {who}, press Start on the card, and watch support@ fill up.",
  step_3_chat: "Be {who}",
  live: "live",
  polling: "polling",
  connecting: "connecting",
  lost: "no answer from the sandbox",
  admin: "admin",
  manager: "manager",
  approver: "approver",
  unread: "{n} new",
  bot: "Mail assistant",
  bot_said: "Mail assistant",
  you_said: "{who}",
  empty_chat: "Nothing yet. Type help to see what the bot can do.",
  write_to: "Message to the bot as {who}",
  placeholder: "Message …",
  send: "Send",
  add_file: "Send a file",
  drop_here: "Drop the file to send it as {who}",
  file_too_big: "{name} is larger than 20 MB.",
  menu: "The bot's menu",
  more: "More",
  recalled: "This message was taken back.",
  dropped: "WeCom dropped {n} messages to {who} without a word (more than 30 a minute).",
  download: "Download {name}",
  choose: "choose …",
  pressed: "pressed",
  not_taken: "The bot did not take it, after {n} attempts.",
  opens_as: "opens as {who}",
  details: "Details",
  members_mailboxes: "Members' mailboxes",
  public_mailboxes: "Public mailboxes",
  binned_mailboxes: "In the recycle bin",
  mails: "{n} mails",
  mail_one: "1 mail",
  unread_mails: "{n} unread",
  used: "{used} of {quota}",
  folders: "Folders",
  settings: "Settings in webmail",
  window: "IMAP shows",
  window_all: "all mail",
  window_days: "the last {n} days",
  custom_folders: "IMAP shows custom folders",
  imap_on: "IMAP is on",
  frozen: "Frozen",
  imap_off: "IMAP off",
  passwords_count: "{n} client passwords",
  password_one: "1 client password",
  make_password: "Make a client password",
  made_by: "made by",
  password_made: "Client password, shown only once:",
  copy: "Copy",
  copied: "Copied",
  made_by_app: "made by the app",
  made_in_console: "made in the console",
  made_in_console_more: "the app cannot see it while it sees only its own",
  readers: "Who can open it",
  aliases: "Aliases",
  revoke: "Revoke",
  by_api: "by API",
  by_hand: "on the web",
  passwords: "Client passwords",
  bin_empty: "The recycle bin is empty.",
  bin_hint: "A mailbox waits here before it is deleted for ever. Take one off its member, or delete the member, to see it happen:",
  reclaim: "Take the mailbox back",
  reclaim_who: "Member",
  days_left: "{n} days left",
  day_left: "1 day left",
  last_day: "deleted tonight",
  deletes_at: "deleted {when}",
  recycled_at: "in the bin since {when}",
  was: "was {who}",
  backed_up_to: "backed up to {where}",
  assign: "Assign",
  assign_to: "Member",
  convert: "Make it public",
  purge: "Delete for ever",
  state_assigned: "assigned",
  state_converted: "now a public mailbox",
  state_purged: "deleted by hand",
  state_expired: "deleted, its time was up",
  source_delete_member: "the member was deleted",
  source_reclaim: "taken back",
  source_replaced: "replaced by another mailbox",
  source_delete_public: "the public mailbox was deleted",
  wecom_troubles: "WeCom",
  mail_troubles: "Mail server",
  troubles_more: "Each switch makes the simulated WeCom behave badly in a way the real one can.",
  mail_troubles_more: "One fault at a time, on one mailbox or on all.",
  fault: "Fault",
  fault_box: "Mailbox",
  all_boxes: "all mailboxes",
  fault_times: "Times",
  fault_always: "always",
  fault_on: "Switch on",
  fault_off: "Switch off",
  fault_is_on: "{fault} is on.",
  fault_is_off: "{fault} is off.",
  struck: "Done, once: {switch}",
  times_left: "{n} times left",
  wire_kind: "Kind",
  wire_all: "everything",
  wire_filter: "Contains",
  wire_hold: "Hold",
  wire_shown: "{shown} of {all} entries",
  wire_empty: "Nothing went over the wire yet.",
  wire_more: "Older entries are left out; narrow the filter to see them.",
  kind_api: "API call",
  kind_callback: "callback",
  kind_imap: "IMAP",
  kind_trouble: "switch",
  kind_console: "console",
  kind_oauth: "OAuth2",
  kind_dropped: "dropped",
  plain: "decrypted",
  sealed: "as sent, encrypted",
  query: "query",
  request: "request",
  answer: "answer",
  waiting: "waiting",
  lost_callback: "lost",
  attempt: "attempt {n}",
  failed: "That did not work: {why}",
  unreachable: "The sandbox does not answer.",
};

const ZH = {
  skip: "跳到聊天",
  banner: "模拟企业",
  banner_more: "这里的人和邮件都是虚构的，任何内容都不会离开这台电脑。",
  sandbox: "沙盒",
  clock: "模拟时钟",
  plus_hour: "+1 小时",
  plus_day: "+1 天",
  reset: "重置",
  reset_sure: "确定重置？",
  sure: "确定吗？",
  reset_done: "一切已恢复到最初的样子。",
  language: "语言",
  try_this: "试一试",
  views: "视图",
  tab_chat: "聊天",
  tab_mailboxes: "邮箱",
  tab_bin: "回收站",
  tab_due: "接下来",
  short_chat: "聊天",
  short_mailboxes: "邮箱",
  short_bin: "回收站",
  short_due: "接下来",
  short_switches: "故障",
  short_wire: "日志",
  next_reminder: "下次提醒",
  short_reminder: "下次提醒",
  go_hour: "一小时后",
  go_day: "一天后",
  go_next_reminder: "到下次提醒",
  go_before_deletion: "到下次删除前一分钟",
  go_after_deletion: "到下次删除之后",
  go_there: "去那一刻",
  go_there_to: "去那一刻：{what}",
  arrived: "现在是 {when}，时钟在途中停了 {n} 次。",
  not_arrived: "时间太长：时钟停在途中。等机器人处理完再继续。",
  due_hint: "会自动发生的事，以及为什么在那一刻。无论把时钟拨到哪里，机器人都会在途中做完该做的事。",
  due_empty: "没有到期的事。",
  due_without_end: "一直等待",
  due_reminder: "提醒",
  due_last_word: "最后通知",
  due_deletion: "删除",
  due_look: "检查",
  due_handover: "后台待办",
  due_approval: "审批",
  due_job: "任务",
  due_link: "页面",
  due_message: "消息",
  in_console: "在管理后台",
  new_name: "新地址",
  rename: "修改地址",
  delete_public: "删除这个公共邮箱",
  delete_member: "删除成员",
  backup_once: "备份邮件（仅一次）",
  backup_target: "邮箱",
  tab_switches: "故障开关",
  tab_wire: "通信日志",
  members: "成员",
  step_1: "以{who}的身份输入",
  step_1_command: "备份 ahing 到 support@ 原因 离职",
  step_1_do: "替我输入",
  step_2: "以{who}的身份打开消息里的页面。按页面说明，在「邮箱 › ahing@」（相当于他的网页邮箱）中收取全部邮件和「我的文件夹」，生成客户端专用密码并填入页面。",
  step_2_chat: "切换到{who}",
  step_2_box: "前往 ahing@",
  step_3: "以{who}的身份在卡片上按「开始」，看 support@ 的邮件逐渐增多。",
  step_3_chat: "切换到{who}",
  live: "实时",
  polling: "轮询",
  connecting: "连接中",
  lost: "沙盒没有响应",
  admin: "管理员",
  manager: "上级",
  approver: "审批人",
  unread: "{n} 条新消息",
  bot: "邮箱助手",
  bot_said: "邮箱助手",
  you_said: "{who}",
  empty_chat: "还没有消息。输入「帮助」看看机器人能做什么。",
  write_to: "以{who}的身份给机器人发消息",
  placeholder: "输入消息…",
  send: "发送",
  add_file: "发送文件",
  drop_here: "松开鼠标，以{who}的身份发送文件",
  file_too_big: "{name} 超过 20 MB。",
  menu: "机器人菜单",
  more: "更多",
  recalled: "消息已撤回。",
  dropped: "企业微信悄悄丢弃了发给{who}的 {n} 条消息（每分钟超过 30 条）。",
  download: "下载 {name}",
  choose: "请选择…",
  pressed: "已点击",
  not_taken: "机器人没有收到，已尝试 {n} 次。",
  opens_as: "以{who}的身份打开",
  details: "详情",
  members_mailboxes: "成员邮箱",
  public_mailboxes: "公共邮箱",
  binned_mailboxes: "回收站中的邮箱",
  mails: "{n} 封邮件",
  mail_one: "1 封邮件",
  unread_mails: "{n} 封未读",
  used: "{used} / {quota}",
  folders: "文件夹",
  settings: "网页邮箱设置",
  window: "IMAP 收取",
  window_all: "全部邮件",
  window_days: "最近 {n} 天",
  custom_folders: "IMAP 收取「我的文件夹」",
  imap_on: "开启 IMAP 服务",
  frozen: "禁用",
  imap_off: "IMAP 已关闭",
  passwords_count: "{n} 个客户端专用密码",
  password_one: "1 个客户端专用密码",
  make_password: "生成客户端专用密码",
  made_by: "生成人",
  password_made: "客户端专用密码，只显示一次：",
  copy: "复制",
  copied: "已复制",
  made_by_app: "应用创建",
  made_in_console: "管理后台创建",
  made_in_console_more: "应用只能看到自己创建的邮箱时，看不到它",
  readers: "可以打开它的人",
  aliases: "别名",
  revoke: "删除",
  by_api: "接口生成",
  by_hand: "网页生成",
  passwords: "客户端专用密码",
  bin_empty: "回收站是空的。",
  bin_hint: "邮箱在永久删除之前会在这里等待。回收一位成员的邮箱，或删除成员试试：",
  reclaim: "回收邮箱",
  reclaim_who: "成员",
  days_left: "还剩 {n} 天",
  day_left: "还剩 1 天",
  last_day: "今晚删除",
  deletes_at: "{when} 删除",
  recycled_at: "{when} 进入回收站",
  was: "原属 {who}",
  backed_up_to: "已备份到 {where}",
  assign: "分配给成员",
  assign_to: "成员",
  convert: "转为公共邮箱",
  purge: "彻底删除",
  state_assigned: "已分配",
  state_converted: "已转为公共邮箱",
  state_purged: "已手动删除",
  state_expired: "到期已删除",
  source_delete_member: "成员被删除",
  source_reclaim: "被回收",
  source_replaced: "被另一个邮箱替换",
  source_delete_public: "公共邮箱被删除",
  wecom_troubles: "企业微信",
  mail_troubles: "邮件服务器",
  troubles_more: "每个开关都让模拟的企业微信出一种真实环境中会出现的问题。",
  mail_troubles_more: "每次一种故障，作用于一个或所有邮箱。",
  fault: "故障",
  fault_box: "邮箱",
  all_boxes: "所有邮箱",
  fault_times: "次数",
  fault_always: "一直",
  fault_on: "打开",
  fault_off: "关闭",
  fault_is_on: "{fault} 已打开。",
  fault_is_off: "{fault} 已关闭。",
  struck: "已执行一次：{switch}",
  times_left: "还有 {n} 次",
  wire_kind: "类型",
  wire_all: "全部",
  wire_filter: "包含",
  wire_hold: "暂停",
  wire_shown: "{shown} / {all} 条",
  wire_empty: "还没有任何通信。",
  wire_more: "更早的条目未显示，请缩小筛选范围。",
  kind_api: "接口调用",
  kind_callback: "回调",
  kind_imap: "IMAP",
  kind_trouble: "开关",
  kind_console: "管理后台",
  kind_oauth: "OAuth2",
  kind_dropped: "丢弃",
  plain: "解密后",
  sealed: "加密的原文",
  query: "查询参数",
  request: "请求",
  answer: "应答",
  waiting: "等待中",
  lost_callback: "丢失",
  attempt: "第 {n} 次",
  failed: "没有成功：{why}",
  unreachable: "沙盒没有响应。",
};

// The switches' descriptions come from the sandbox in English.
export const SWITCHES_ZH = {
  own_public_mailboxes_only: "应用只能看到自己创建的公共邮箱和群组",
  restricted_fields: "user/get 不返回邮箱和手机号（2022-06 之后创建的应用）",
  tokens_expired: "现有的 access_token 全部过期：42001",
  tokens_invalid: "现有的 access_token 全部失效：40014",
  tokens_refused: "所有调用都返回 40014，新的 token 也一样",
  secret_reset: "应用的 Secret 在管理后台被重置：40001",
  app_disabled: "应用被停用：50003",
  ip_not_trusted: "调用方 IP 不在可信列表：60020",
  busy: "系统繁忙：-1",
  rate_limited: "频率超限：45009",
  too_concurrent: "并发过多：45033",
  gateway_error: "返回 HTTP 502 网页，调用没有执行",
  answer_lost: "返回 HTTP 504 网页，但调用已经执行",
  mail_not_allowed: "应用不在可调用邮件接口的列表中：48002",
  log_not_allowed: "应用不在可读取管理日志的列表中：48002",
  contacts_sync_off: "通讯录同步关闭，写操作返回 48002",
  rename_refused: "user/update 对新的 biz_mail 返回 60144",
  smtp_login_refused: "SMTP 服务器拒绝所有登录：535",
  mail_lost: "SMTP 服务器收下邮件但不投递",
  public_mailboxes_full: "无法再创建公共邮箱：680046",
  callback_twice: "每个回调都送两次",
  callback_lost: "回调到不了机器人",
  acknowledgement_lost: "机器人对每个回调的第一次应答丢失，企业微信会重发",
};

// So do the reasons why the clock cannot go somewhere.
const REFUSALS_ZH = {
  "nobody is to be reminded of anything": "没有要提醒的人",
  "nothing in the recycle bin is still to be deleted": "回收站中没有将被删除的邮箱",
};

export function refusal(why) {
  return (language === "zh" && REFUSALS_ZH[why]) || why;
}

const CATALOGUE = { en: EN, zh: ZH };
const STORED = "sandbox.language";

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

export let language = stored() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in CATALOGUE)) language = "en";

export function speak(wanted) {
  language = wanted in CATALOGUE ? wanted : "en";
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // then only until the page is closed
  }
}

/** A sentence of the page with its values. */
export function say(key, values = {}) {
  const sentence = CATALOGUE[language][key] ?? EN[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function known(key) {
  return key in EN;
}

/** Put the page's fixed words into their places. */
export function label(root) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of root.querySelectorAll("[data-words]")) each.textContent = say(each.dataset.words);
  for (const each of root.querySelectorAll("[data-label]")) each.setAttribute("aria-label", say(each.dataset.label));
}

const ZONE = "Asia/Shanghai";
const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

/** The clock; a phone has no room for the year. */
export function clockText(moment, { year = true } = {}) {
  return new Intl.DateTimeFormat(locale(), {
    timeZone: ZONE, weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", ...(year ? { year: "numeric" } : {}),
  }).format(moment);
}

export function dayText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, year: "numeric", month: "short", day: "numeric" }).format(moment);
}

/** The heading of a day. */
export function weekdayText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, weekday: "short", year: "numeric", month: "short", day: "numeric" }).format(moment);
}

export function hourText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, hour: "2-digit", minute: "2-digit" }).format(moment);
}

/** As WeCom writes it between the bubbles: the hour today, else with the day. */
export function chatTime(moment, today) {
  const sameDay = dayText(moment) === dayText(today);
  const parts = sameDay ? {} : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, hour: "2-digit", minute: "2-digit", ...parts }).format(moment);
}

export function wireTime(moment) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(moment);
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toLocaleString(locale(), { maximumFractionDigits: value < 10 ? 1 : 0 })} ${units[unit]}`;
}

export function number(value) {
  return value.toLocaleString(locale());
}
