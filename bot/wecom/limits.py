"""
WeCom's limits, as numbers with names.

Sizes are bytes of UTF-8 unless the name says otherwise: a Chinese character counts three. What WeCom only cuts on
screen is in `SHOWN_CHARACTERS`; everything else it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Callback envelope (pages 90930, 90968)
ENVELOPE_BYTES = 64 * 1024
ENVELOPE_DEPTH = 12  # ours: the deepest known event has six levels
ENVELOPE_ELEMENTS = 2000  # ours: a checkbox card answers with some sixty
TIMESTAMP_WINDOW_SECONDS = 600

# Access token (page 91039)
TOKEN_REFRESH_BEFORE_SECONDS = 300
TOKEN_REFRESHES_PER_MINUTE = 5  # ours: a token refused for another reason must not become a gettoken per call

# Calls
TRIES_MAX = 3  # "建议重试次数不超过3次" (page 90313, -1)
FREQUENCY_WINDOW_SECONDS = 60  # the shortest: minute; then hour, day, month (page 90312)
PAGES_MAX = 1000  # ours: a cursor that never ends is a fault, not a long list

# Messages (page 90236)
TEXT_BYTES = 2048
RECEIVERS_MAX = 1000
MESSAGES_PER_MEMBER_PER_MINUTE = 30  # the excess is dropped without an error (page 90312)
MESSAGES_PER_MEMBER_PER_HOUR = 1000
MESSAGES_PER_ACCOUNT_PER_DAY = 200  # times the corp's account limit: person-times per app and day
RECALL_HOURS = 24

# Template cards (pages 90236, 94888)
CARD_ROWS_MAX = 6
CARD_BUTTONS_MAX = 6
CARD_VERTICAL_ROWS_MAX = 4
CARD_JUMPS_MAX = 3
CARD_MENU_ACTIONS_MAX = 3
CARD_SELECTORS_MAX = 3
CARD_SELECTOR_OPTIONS_MAX = 10
CARD_CHECKBOX_OPTIONS_MAX = 20
CARD_KEY_BYTES = 1024
CARD_OPTION_ID_BYTES = 128
CARD_TASK_ID_BYTES = 128
CARD_CODE_HOURS = 72
CARD_IMAGE_RATIO_MIN = 1.3
CARD_IMAGE_RATIO_MAX = 2.25

# The shorter of two published recommendations (pages 90236, 101032), in characters
SHOWN_CHARACTERS: Mapping[str, int] = MappingProxyType(
    {
        "source.desc": 20,
        "main_title.title": 26,
        "main_title.desc": 30,
        "emphasis_content.title": 14,
        "emphasis_content.desc": 22,
        "sub_title_text": 112,
        "horizontal_content_list.keyname": 5,
        "horizontal_content_list.value": 26,
        "vertical_content_list.title": 38,
        "vertical_content_list.desc": 160,
        "jump_list.title": 18,
        "button_list.text": 10,
        "button_selection.option_list.text": 16,
        "checkbox.option_list.text": 17,
        "select_list.option_list.text": 16,
        "submit_button.text": 10,
    }
)

# Media (page 90253)
FILE_BYTES_MIN = 6  # "more than 5 bytes"
FILE_BYTES_MAX = 20 * 1024 * 1024
MEDIA_DAYS = 3

# Menu (page 90231)
MENU_BUTTONS_MAX = 3
MENU_SUB_BUTTONS_MAX = 5
MENU_NAME_BYTES = 16
MENU_SUB_NAME_BYTES = 40
MENU_KEY_BYTES = 128
MENU_URL_BYTES = 1024

# Contacts (pages 90197, 96067)
USERID_BYTES = 64
LIST_IDS_PAGE = 10_000
ALIASES_MAX = 5
ADDRESS_BYTES_MIN = 6
ADDRESS_BYTES_MAX = 63
STATE_BYTES = 128  # OAuth2 `state`
LOGIN_CODE_BYTES = 512

# Exmail (pages 95511, 98000, 95510, 99316, 99318, 97369, 97854)
AUTH_CODES_MAX = 10  # live, made by API, per public mailbox
AUTH_CODE_REMARK_BYTES = 128
PUBLIC_MAILBOX_NAME_CHARACTERS = 64  # or 32 Chinese ones
PUBLIC_MAILBOX_ADDRESS_BYTES_MAX = 64
GROUP_NAME_BYTES = 200
VIP_BATCH_MAX = 100
VIP_PAGE = 200
APP_MAILS_PAGE = 1000
APP_MAIL_BYTES = 50 * 1024 * 1024
APP_MAIL_ATTACHMENTS_MAX = 200

# Admin log (page 100179)
ADMIN_LOG_SPAN_DAYS = 7
ADMIN_LOG_AGE_DAYS = 180
ADMIN_LOG_PAGE = 400
