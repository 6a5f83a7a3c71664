"""What the sample organisation's mails say; `{…}` is filled in by `seed`."""

from __future__ import annotations

CUSTOMERS = (
    ("华锐贸易 王经理", "wang.lei@huarui.example"),
    ("深圳远帆物流", "service@yuanfan.example"),
    ("张晓雯", "xiaowen.zhang@haohe.example"),
    ("Northwind Purchasing", "purchasing@northwind.example"),
    ("Dana Whitfield", "dana@whitfield-co.example"),
    ("O'Neill, Patrick (Dublin)", "p.oneill@shannon.example"),
    ("北京中科仪器 采购部", "caigou@zkyq.example"),
    ("Søren Østergård", "soren@nordhavn.example"),
)

BUSINESS = (
    (
        "关于{month}月报价单 {number}",
        "您好，\n\n附件是{customer}的{month}月报价，编号 {number}，总价 {amount} 元，有效期 30 天。\n"
        "如有问题请直接回复本邮件。\n\n此致\n{writer}",
    ),
    (
        "订单 {number} 发货通知",
        "{reader}，\n\n订单 {number} 今天下午已从苏州仓发出，预计三天内到达。\n"
        "运单号 SF{number}88，请注意查收。\n\n{writer}",
    ),
    (
        "会议纪要：{customer} 项目第 {small} 次例会",
        "各位同事，\n\n1. 交付时间改到下月 {small} 日。\n2. 合同金额 {amount} 元，预付 30%。\n"
        "3. 下次会议由 {writer} 组织。\n\n请在周五前确认。",
    ),
    (
        "Re: Order {number} - delivery date",
        "Hi {reader},\n\nThanks for the quick answer. We can live with week {small}, but not later: our fair\n"
        "starts on the Monday after. Please confirm {amount} EUR as agreed.\n\nBest regards,\n{writer}",
    ),
    (
        "Quotation {number} (revised)",
        "Dear {reader},\n\nplease find our revised quotation {number} over {amount} EUR.\n"
        "The discount of {small}% holds until the end of the month.\n\nKind regards\n{writer}",
    ),
    (
        "发票 {number} 已开具",
        "{reader} 您好：\n\n{customer} 的增值税专用发票（{number}，{amount} 元）已开具，见附件。\n"
        "原件随快递寄出。\n\n财务 {writer}",
    ),
    (
        "转发: {customer} 的投诉",
        "请看下面客户的来信，今天之内给个答复。\n\n"
        "> 货物 {number} 包装破损，{small} 件需要更换。\n> 请尽快处理！\n\n{writer}",
    ),
    (
        "Visit in {month}: hotel and agenda",
        "{reader},\n\nflights are booked, we land at 14:{small}. Could somebody pick us up?\n"
        "Agenda: factory tour, {customer}, dinner.\n\n{writer}",
    ),
)

OFFICE = (
    ("本周{small}日团建报名", "各位，\n\n报名截止周四中午，地点阳澄湖，人数上限 {small}0 人。\n\n行政 {writer}"),
    ("请假申请", "{reader}，\n\n我想在下周请 {small} 天年假，工作已交接。\n\n{writer}"),
    ("系统维护通知", "今晚 22:00 至 23:{small} 邮件系统维护，期间可能无法登录。\n\n{writer}"),
    ("Lunch?", "Noodles at 12:{small}?\n\n{writer}"),
    ("新同事入职介绍", "大家好，\n\n欢迎新同事加入，座位在 {small} 楼。\n\n{writer}"),
    ("费用报销 {number}", "{reader}，\n\n报销单 {number} 共 {amount} 元，发票 {small} 张，请审批。\n\n{writer}"),
    (
        "周报：第 {small} 周",
        "本周完成：\n- 拜访 {customer}\n- 回款 {amount} 元\n\n下周计划：\n- 跟进 {number}\n\n{writer}",
    ),
)

SUPPORT = (
    (
        "无法登录，请帮忙",
        "你好，\n\n我的账号（订单 {number}）登录时提示“系统繁忙”，已经 {small} 个小时了。\n\n{writer}",
    ),
    ("Spare part for order {number}", "Hello,\n\nwe need {small} filters for machine {number}. Price?\n\n{writer}"),
    ("退货申请 {number}", "客服您好：\n\n{small} 件产品有划痕，申请退货，订单号 {number}。\n\n{writer}"),
    ("Invoice {number}: wrong VAT number", "Please correct the VAT number on {number} and send it again.\n\n{writer}"),
    ("咨询：产品是否支持 220V", "请问 {number} 型号是否支持 220V 电压？交期多久？\n\n{writer}"),
)

JUNK = (
    ("代开各类发票 优惠{small}折", "正规发票，点数优惠，量大从优。联系 QQ {number}{number}"),
    ("You have won {amount} USD!!!", "Dear friend, send your bank details to claim {amount} USD."),
    ("企业邮箱空间不足，请立即升级", "尊敬的用户，您的邮箱已满 {small}9%，点击链接重新验证。"),
)

ATTACHMENTS = (
    ("报价单-{number}.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("合同 {number}（盖章）.pdf", "application/pdf"),
    ("invoice-{number}.pdf", "application/pdf"),
    ("现场照片{small}.jpg", "image/jpeg"),
    ("drawing {number} rev {small}.zip", "application/zip"),
)
