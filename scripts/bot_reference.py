# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference page of the bot, written from `bridge/matrix/bot/table.py`, as Markdown."""

from bridge.call.policy import Access
from bridge.matrix.bot.table import COMMANDS, usage

_HEAD = """\
# The bot

Written by `scripts/write_reference.py` from `bridge/matrix/bot/table.py`.

Start a direct chat with the bot (`@sipbot:example.org`, unless `appservice.bot_localpart` says
otherwise) and write a command; `help` lists those that you may give. The bot accepts the invitation
of everybody whom `permissions` let at least `receive`, and declines others with a sentence.

- It takes commands only from the person who invited it, in a room of just the two, which is not
  public. In any other room it says so, does nothing, and deletes a password all the same.
- The room may be encrypted, where the homeserver can do what `encryption` needs.
- A command is a message of its own. No prefix is needed; `!` or `/` before it does no harm. What is
  corrected later is not done again.
- A command that reaches the bridge more than five minutes late, after a downtime, is not carried
  out: the bot says so.
- Numbers may be written as people write them: spaces, dashes, national or with a country code; SIP
  addresses are `user@host`.
- What you choose with `dnd` and `forward` is kept until you choose otherwise.
- Times are those of the machine that the bridge runs on.
- It answers by notices, and answers no notice itself, so two bots cannot start to talk.
"""
_SECTIONS = {
    Access.RECEIVE: "For everybody who may be called (`receive`)",
    Access.CALL: "For everybody who may call (`call`)",
    Access.ADMIN: "For admins (`admin`)",
}
_TAIL = """\
## Forwarding

Whoever calls is told where to call instead (SIP 302), and it is the trunk that follows. So a call
is forwarded only if the trunk that it came by reaches that number by the `outbound` rules; other
calls ring as usual. A number that you may not call yourself is refused at once.

## Accounts and passwords

`login` asks for the account first and then for the password. The account is `username@server`,
where needed with a port (`username@server:5070`) or a transport (`username@server;transport=tls`);
where the registrar wants another name with the password, write `username@server as name`.

The message with the password is deleted from the room as soon as it is read; if the bot may not do
that, it asks you to. An answer that takes longer than five minutes is deleted, and not used. The
bridge keeps the password encrypted, and writes it to no log. In a room that is not encrypted,
whoever runs your homeserver could read it until it was deleted.

When the registrar refuses a password that it took before, the bot says so once; `login` sets
another.

## Alerts

When a trunk's registration is lost for half a minute, and when it is back, every admin who has a
chat with the bot is told there.

## Voice messages

Where a server tells what waits in a mailbox (RFC 3842), the bot passes that on: to the person whose
own account it is, or to those whom the trunk's `mailbox_people` name. They need a chat with the
bot.

- The bridge subscribes when it has registered (`accounts.mailboxes`, `mailbox_people`), and takes
  what a trunk sends unasked. A subscription that is lost is asked for again at the next
  registration, or after five minutes.
- Only news is told: more new messages than before, and that none is left. After a restart of the
  bridge, messages that still wait are told once more.
- The number to call is `mailbox_number`, else the one that the server says.

## Texts

What is written into the chat with a number is sent to it as a SIP MESSAGE (RFC 3428), if the trunk
has `messages: true`, and what comes in that way appears there as text.

- Where texts cannot go, a notice in the chat says why, once (and again after a restart of the
  bridge), and one says when they go through again.
- Only text is sent. A picture or file is answered by one notice; a correction, too: what was sent
  stays sent. Deleting a message deletes it in Matrix alone.
- One message has room for some 700 bytes of UTF-8 over UDP, depending on the addresses, and for
  6000 over TCP and TLS. A longer text is sent in several, cut between words, ten at most; one that
  needs more is not sent, and the person told so. The transport stays the trunk's: no text goes over
  TCP because it is long (RFC 3261 section 18.1.1).
- A person may send `limits.texts_per_minute`, and so may a number.
- One that reaches the bridge more than an hour late is not sent.
- The ghost's read marker stands at the last text that the other side has taken (200 or 202), which
  is not to say that somebody has read it. Delivery reports (IMDN, RFC 5438) are not asked for.
- What comes in and is for nobody is refused with 404.
"""


def bot_reference() -> str:
    """The page."""
    parts = [_HEAD]
    for access, heading in _SECTIONS.items():
        parts += [f"## {heading}", "", "| command | what it does |", "|---|---|"]
        for name, command in COMMANDS.items():
            if command.access is access:
                parts.append(f"| {usage(name).replace('|', chr(92) + '|')} | {command.help} |")
        parts.append("")
    return "\n".join([*parts, _TAIL])
