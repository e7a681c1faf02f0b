# SPDX-License-Identifier: GPL-3.0-or-later
"""What `matrix-sip setup` asks: each question, its default, and what an answer has to look like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import phonenumbers

from bridge.config.checks_routing import SERVER_NAME, USER_ID
from bridge.config.checks_sip import is_server
from bridge.config.problems import did_you_mean
from bridge.errors import ConfigurationError
from bridge.media.embedded.sockets import local_address

Answers = Mapping[str, str]
"""By the key of the question; those that were not asked are not there."""
PROVIDER: Final = "provider"
PBX: Final = "pbx"
NONE: Final = "none"
KEEP: Final = "keep"
TRUNKS: Final = (PROVIDER, PBX, NONE)


@dataclass(frozen=True, slots=True)
class Question:
    """One of them.

    `check` gives the answer as it counts, and raises ValueError with what is wanted. `default`:
    None where there is none. `asked`: whether it makes sense after the answers so far.
    """

    key: str
    text: str
    check: Callable[[str, Answers], str]
    default: Callable[[Answers], str | None] = lambda answers: None
    asked: Callable[[Answers], bool] = lambda answers: True
    secret: bool = False


def _url(text: str, _: Answers) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("wanted: a URL, like http://127.0.0.1:8008")
    return text.rstrip("/")


def _domain(text: str, _: Answers) -> str:
    if not SERVER_NAME.fullmatch(text):
        raise ValueError("wanted: what follows the colon in Matrix ids, like example.org")
    return text


def _domain_of(answers: Answers) -> str | None:
    """What may be right: a homeserver is often at `matrix.` of its domain."""
    host = urlsplit(answers["homeserver"]).hostname or ""
    if host == "localhost" or _is_address(host):
        return None
    return host.removeprefix("matrix.")


def _chosen(*choices: str) -> Callable[[str, Answers], str]:
    def check(text: str, _: Answers) -> str:
        if text not in choices:
            raise ValueError(f"wanted: {', '.join(choices[:-1])} or {choices[-1]}")
        return text

    return check


def _server(text: str, _: Answers) -> str:
    if not is_server(text):
        raise ValueError("wanted: host name or address, with :port if it is not the default")
    return text


def _text(text: str, _: Answers) -> str:
    if not text:
        raise ValueError("wanted: some text")
    return text


def _number(text: str, answers: Answers) -> str:
    """In E.164, or nothing; with a PBX it may be an extension."""
    if not text or (answers.get("trunk") == PBX and text.isdecimal()):
        return text
    try:
        parsed = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        raise ValueError("wanted: with + and country code, like +12025550123, or nothing") from None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _person(text: str, answers: Answers) -> str:
    whole = text if text.startswith("@") else f"@{text}"
    whole = whole if ":" in whole else f"{whole}:{answers['domain']}"
    if not USER_ID.fullmatch(whole):
        raise ValueError("wanted: a Matrix id, like @person:example.org")
    return whole


def _people(text: str, answers: Answers) -> str:
    words = [each.strip() for each in text.split(",") if each.strip()]
    # A server's name has a dot in it, or is that of this one.
    found = [
        _person(each, answers) if each.isalnum() and each != answers["domain"] else each
        for each in words
    ]
    for each in found:
        if each != "*" and not USER_ID.fullmatch(each) and not SERVER_NAME.fullmatch(each):
            raise ValueError(
                f"{each!r} is not accepted; wanted: Matrix ids or server names, with commas between"
            )
    return ", ".join(found)


def _address(text: str, _: Answers) -> str:
    if text and not _is_address(text):
        raise ValueError("wanted: an IP address, like 192.0.2.10, or nothing")
    return text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_near(url: str) -> bool:
    """Whether a URL is of this machine."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _way_back(answers: Answers) -> str:
    host = urlsplit(answers["homeserver"]).hostname or ""
    if is_near(answers["homeserver"]):
        return "http://127.0.0.1:29330"
    ours = local_address(None, host if _is_address(host) else None)
    return f"http://{f'[{ours}]' if ':' in ours else ours}:29330"


def _registers(answers: Answers) -> bool:
    return answers.get("trunk") == PROVIDER


def _has_trunk(answers: Answers) -> bool:
    return answers.get("trunk") in (PROVIDER, PBX)


QUESTIONS: Final = (
    Question(
        "homeserver",
        "Where does the bridge reach the homeserver's client API?",
        _url,
        lambda _: "http://127.0.0.1:8008",
    ),
    Question("domain", "The homeserver's name, as in Matrix ids?", _domain, _domain_of),
    Question(
        "bridge",
        "Where does the homeserver reach the bridge?",
        _url,
        _way_back,
        asked=lambda answers: not is_near(answers["homeserver"]),
    ),
    Question(
        "trunk",
        "Where do calls go: to a provider with an account there (provider), to a PBX that knows "
        "the bridge by its address (pbx), or nowhere yet (none)?",
        _chosen(*TRUNKS, KEEP),
        lambda _: PROVIDER,
    ),
    Question("server", "Its SIP server, with :port if that is special?", _server, asked=_has_trunk),
    Question(
        "transport",
        "How is it reached: udp, tcp, tls, or as DNS says (auto)?",
        _chosen("udp", "tcp", "tls", "auto"),
        lambda _: "udp",
        asked=_has_trunk,
    ),
    Question("username", "The account's user name?", _text, asked=_registers),
    Question("password", "Its password?", _text, asked=_registers, secret=True),
    Question(
        "number",
        "The number that calls show, like +12025550123 (empty: the account's own)?",
        _number,
        lambda _: "",
        asked=_has_trunk,
    ),
    Question(
        "admin",
        "Your own Matrix id? You may do everything, and calls from outside ring you.",
        _person,
    ),
    Question(
        "callers",
        "Who else may call out? Matrix ids or server names, with commas between; empty: nobody.",
        _people,
        lambda _: "",
    ),
    Question(
        "public_address",
        "The public address, if this machine has a private one that a 1:1 NAT leads to (most "
        "clouds); empty: none.",
        _address,
        lambda _: "",
    ),
)
BY_KEY: Final = {each.key: each for each in QUESTIONS}


def answer_all(ask: Callable[[Question, str | None, Answers], str], before: Answers) -> Answers:
    """Ask everything that makes sense; `ask` gives checked answers.

    `before`: what was answered another time, which is offered in place of the defaults.
    """
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        default = before.get(question.key, question.default(answers))
        if question.asked(answers):
            answers[question.key] = ask(question, default, answers)
        elif default is not None and question.key == "bridge":
            answers[question.key] = default
    return answers


class Unanswered(ConfigurationError):
    """Answers from a file that are missing or wrong; all of them."""


def answer_from(given: Mapping[str, Any], before: Answers) -> Answers:
    """The answers of a file, where nobody can be asked. Raises `Unanswered`."""
    problems = [
        f"{key}: no such question; {did_you_mean(key, BY_KEY)}" for key in given.keys() - BY_KEY
    ]

    def ask(question: Question, default: str | None, answers: Answers) -> str:
        text = _flat(given[question.key]) if given.get(question.key) is not None else default
        try:
            if text is None:
                raise ValueError(f"is missing; {question.text}")
            return question.check(text, answers)
        except ValueError as error:
            problems.append(f"{question.key}: {error}")
            return text or ""

    answers = answer_all(ask, before)
    if problems:
        raise Unanswered("\n".join(problems), remedy="docs/how-to/install.md has an example.")
    return answers


def _flat(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).strip()
