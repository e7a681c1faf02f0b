# SPDX-License-Identifier: GPL-3.0-or-later
"""The torture tests of RFC 4475, written anew from what it says that each is for.

Whatever a case is not about is as plain as it can be. Section numbers are the RFC's.
"""

from dataclasses import dataclass
from typing import Final

CRLF: Final = b"\r\n"
SILENCE: Final = 0
"""No answer at all."""
_SDP: Final = (
    b"v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\n"
    b"t=0 0\r\nm=audio 49217 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A message, and the final statuses that are right; `SILENCE` among them: none is, too."""

    name: str
    section: str
    data: bytes
    right: tuple[int, ...]

    @property
    def is_answered(self) -> bool:
        """Whether there has to be an answer."""
        return SILENCE not in self.right


def request(
    name: str,
    method: bytes = b"OPTIONS",
    uri: bytes = b"sip:user@127.0.0.1",
    *extra: bytes,
    body: bytes = b"",
    start: bytes | None = None,
    length: bytes | None = None,
    **changes: bytes | None,
) -> bytes:
    """A plain request. `changes`: headers by name (`_` for `-`); None leaves one out."""
    headers: dict[str, bytes | None] = {
        "Via": b"SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK" + name.encode(),
        "Max-Forwards": b"70",
        "From": b"<sip:caller@example.net>;tag=" + name.encode(),
        "To": b"<sip:user@example.com>",
        "Call-ID": name.encode() + b".torture@example.net",
        "CSeq": b"8 " + method,
        "Contact": b"<sip:caller@127.0.0.1:9>",
    }
    headers |= {key.replace("_", "-"): value for key, value in changes.items()}
    if body:
        headers.setdefault("Content-Type", b"application/sdp")
    if headers.get("Content-Length", b"") != b"" or "Content-Length" not in headers:
        headers["Content-Length"] = str(len(body)).encode() if length is None else length
    lines = [b"%s %s SIP/2.0" % (method, uri) if start is None else start]
    lines += [
        b"%s: %s" % (key.encode(), value) for key, value in headers.items() if value is not None
    ]
    return CRLF.join([*lines, *extra, b"", b""]) + body


def invite(name: str, *extra: bytes, **changes: bytes | None) -> bytes:
    """A plain INVITE with a session description."""
    changes.setdefault("body", _SDP)
    return request(name, b"INVITE", b"sip:user@127.0.0.1", *extra, **changes)  # type: ignore[arg-type]


_TORTUOUS: Final = (
    b"INVITE sip:vivekg@127.0.0.1;unknownparam SIP/2.0\r\n"
    b"TO :\r\n sip:vivekg@127.0.0.1 ;   tag    = 1918181833n\r\n"
    b'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
    b"MaX-fOrWaRdS: 0068\r\n"
    b"Call-ID: wsinv.torture@127.0.0.1\r\n"
    b"Content-Length   : %d\r\n"
    b"cseq: 0009\r\n  INVITE\r\n"
    b"Via  : SIP  /   2.0\r\n /UDP\r\n    127.0.0.1:9;rport;branch=390skdjuw\r\n"
    b"s :\r\n"
    b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
    b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
    b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n"
    b"  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n"
    b" z9hG4bK30239\r\n"
    b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
    b"  secondparam ; q = 0.33\r\n\r\n"
) % len(_SDP) + _SDP

_MIXED: Final = (
    b"--7a9cbec02ceef655\r\nContent-Type: text/plain\r\n\r\nbefore\r\n--7a9cbec02ceef655\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n\x00\x01\xfe\xff\r\n--7a9cbec02ceef655--\r\n"
)
_NOT_SERVED: Final = (501, 405)
_BAD: Final = (400, SILENCE)

VALID: Final = (
    Case("wsinv", "3.1.1.1", _TORTUOUS, (486, 481, 404)),
    Case(
        "intmeth",
        "3.1.1.2",
        request(
            "intmeth",
            b"!interesting-Method0123456789_*+`.%indeed'~",
            b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too."
            b"(doesn't-it)@127.0.0.1",
            b"extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb",
            To=b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual@example.com>',
        ),
        (*_NOT_SERVED, SILENCE),  # a NUL ends the header for the stack, so it may not be read
    ),
    Case(
        "intmeth-2",
        "3.1.1.2",
        request("intmeth-2", b"!interesting-Method0123456789_*+`.%indeed'~"),
        _NOT_SERVED,
    ),
    Case(
        "esc01",
        "3.1.1.3",
        invite(
            "esc01",
            To=b"<sip:%75se%72@example.com>",
            From=b"<sip:I%20have%20spaces@example.net>;tag=938",
        ),
        (486,),
    ),
    Case(
        "escnull",
        "3.1.1.4",
        request(
            "escnull", b"REGISTER", b"sip:127.0.0.1", b"Contact: <sip:%00%00@host5.example.com>"
        ),
        _NOT_SERVED,
    ),
    Case("esc02", "3.1.1.5", request("esc02", b"RE%47IST%45R", b"sip:127.0.0.1"), _NOT_SERVED),
    Case(
        "lwsdisp", "3.1.1.6", request("lwsdisp", From=b"caller<sip:c@example.com>;tag=323"), (200,)
    ),
    Case(
        "longreq",
        "3.1.1.7",
        invite(
            "longreq",
            b"Unknown-" + b"Long" * 20 + b"-Name: unknown-" + b"long" * 20 + b"-value",
            *(b"Via: SIP/2.0/TCP sip%d.example.com" % number for number in range(40)),
            To=b'"I have a user name of '
            + b"extreme" * 10
            + b' proportion" <sip:user@example.com>',
            From=b"<sip:" + b"amazinglylongcallername" * 5 + b"@example.net>;tag=12" + b"982" * 50,
            Call_ID=b"longreq.one" + b"really" * 20 + b"longcallid",
        ),
        (486,),
    ),
    Case(
        "dblreq",
        "3.1.1.8",
        request("dblreq", b"REGISTER", b"sip:127.0.0.1") + invite("dblreq-2"),
        _NOT_SERVED,
    ),
    Case(
        "semiuri",
        "3.1.1.9",
        request("semiuri", uri=b"sip:user;par=u%40example.net@127.0.0.1"),
        (200,),
    ),
    Case(
        "transports",
        "3.1.1.10",
        request(
            "transports",
            b"OPTIONS",
            b"sip:user@127.0.0.1",
            b"Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKzzxv",
            b"Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2",
            b"Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bK3",
        ),
        (200,),
    ),
    Case(
        "mpart01",
        "3.1.1.11",
        request(
            "mpart01",
            b"MESSAGE",
            Content_Type=b"multipart/mixed;boundary=7a9cbec02ceef655",
            body=_MIXED,
        ),
        (415, 202, 200),
    ),
    Case(
        "baddate", "3.1.2.12", request("baddate", Date=b"Fri, 01 Jan 2010 16:00:00 EST"), (200, 400)
    ),
    Case(
        "novelsc",
        "3.3.3",
        request("novelsc", uri=b"soap.beep://192.0.2.103:3002"),
        (416, SILENCE),
    ),
    Case(
        "unksm2",
        "3.3.4",
        request(
            "unksm2",
            To=b"<isbn:2983792873>",
            From=b"<http://www.example.com>;tag=3234233",
            Contact=b"<name:John_Smith>",
        ),
        (200, 400, SILENCE),
    ),
    Case("invut", "3.3.6", invite("invut", Content_Type=b"application/unknownformat"), (415, 486)),
    Case(
        "regaut01",
        "3.3.7",
        request(
            "regaut01",
            b"REGISTER",
            b"sip:127.0.0.1",
            b"Authorization: NoOneKnowsThisScheme opaque-data=here",
        ),
        (*_NOT_SERVED, SILENCE),  # the stack reads no scheme but Digest
    ),
    Case("zeromf", "3.3.11", request("zeromf", Max_Forwards=b"0"), (200, 483)),
    Case(
        "cparam01",
        "3.3.12",
        request(
            "cparam01",
            b"REGISTER",
            b"sip:127.0.0.1",
            Contact=b"sip:+19725552222@127.0.0.1;unknownparam",
        ),
        _NOT_SERVED,
    ),
    Case("sdp01", "3.3.15", invite("sdp01", b"Accept: text/nobodyKnowsThis"), (486, 406)),
    Case(
        "inv2543",
        "3.4.1",
        b"INVITE sip:UserB@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport\r\n"
        b"From: <sip:caller@example.net>\r\nTo: <sip:user@example.com>\r\n"
        b"Call-ID: inv2543.torture@127.0.0.1\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
        b"Contact: <sip:caller@127.0.0.1:9>\r\n\r\n" + _SDP,
        (486, 400),
    ),
)
"""What has to be understood, as far as anything here serves it."""

INVALID: Final = (
    Case(
        "badinv01",
        "3.1.2.1",
        invite(
            "badinv01",
            Via=b"SIP/2.0/UDP 127.0.0.1:9;rport;;,;,,",
            Contact=b'"Joe" <sip:joe@example.org>;;;;',
        ),
        (*_BAD, 486),
    ),
    Case("clerr", "3.1.2.2", invite("clerr", length=b"9999"), (*_BAD, 486)),
    Case("ncl", "3.1.2.3", invite("ncl", length=b"-999"), _BAD),
    Case(
        "scalar02",
        "3.1.2.4",
        request(
            "scalar02",
            b"REGISTER",
            b"sip:127.0.0.1",
            b"Expires: 10000000000000000000000000",
            CSeq=b"36893488147419103232 REGISTER",
            Max_Forwards=b"300",
            Contact=b"<sip:user@host129.example.com>;expires=280297596632815",
        ),
        (*_BAD, *_NOT_SERVED),
    ),
    Case(
        "quotbal", "3.1.2.6", invite("quotbal", To=b'"Mr. J. User <sip:j.user@example.com>'), _BAD
    ),
    Case(
        "ltgtruri",
        "3.1.2.7",
        invite("ltgtruri", start=b"INVITE <sip:user@127.0.0.1> SIP/2.0"),
        _BAD,
    ),
    Case(
        "lwsruri",
        "3.1.2.8",
        invite("lwsruri", start=b"INVITE sip:user@127.0.0.1; lr SIP/2.0"),
        (*_BAD, 486),
    ),
    Case(
        "lwsstart",
        "3.1.2.9",
        invite("lwsstart", start=b"INVITE  sip:user@127.0.0.1  SIP/2.0"),
        (*_BAD, 486),
    ),
    Case(
        "trws",
        "3.1.2.10",
        request("trws", start=b"OPTIONS sip:user@127.0.0.1 SIP/2.0  "),
        (*_BAD, 200),
    ),
    Case(
        "escruri",
        "3.1.2.11",
        invite("escruri", start=b"INVITE sip:user@127.0.0.1?Route=%3Csip:example.com%3E SIP/2.0"),
        (*_BAD, 486),
    ),
    Case(
        "regbadct",
        "3.1.2.13",
        request(
            "regbadct",
            b"REGISTER",
            b"sip:127.0.0.1",
            Contact=b"sip:user@example.com?Route=%3Csip:sip.example.com%3E",
        ),
        (*_BAD, *_NOT_SERVED),
    ),
    Case(
        "badaspec",
        "3.1.2.14",
        request("badaspec", To=b'"Watson, Thomas" < sip:t.watson@example.org >'),
        (*_BAD, 200),
    ),
    Case(
        "baddn",
        "3.1.2.15",
        request("baddn", From=b"Bell, Alexander <sip:a.g.bell@example.com>;tag=43"),
        (*_BAD, 200),
    ),
    Case(
        "badvers",
        "3.1.2.16",
        request("badvers", start=b"OPTIONS sip:user@127.0.0.1 SIP/7.0"),
        (505, *_BAD),
    ),
    Case("mismatch01", "3.1.2.17", request("mismatch01", CSeq=b"8 INVITE"), (400,)),
    Case(
        "mismatch02",
        "3.1.2.18",
        request("mismatch02", b"NEWMETHOD", CSeq=b"8 INVITE"),
        (400, *_NOT_SERVED),
    ),
    Case(
        "badbranch",
        "3.2.1",
        request("badbranch", Via=b"SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK"),
        (*_BAD, 200),
    ),
    Case(
        "insuf",
        "3.3.1",
        request("insuf", b"INVITE", Call_ID=None, From=None, To=None, body=_SDP),
        _BAD,
    ),
    Case(
        "unkscm",
        "3.3.2",
        request("unkscm", uri=b"nobodyKnowsThisScheme:totallyopaquecontent"),
        (416, SILENCE),
    ),
    Case(
        "bext01",
        "3.3.5",
        request(
            "bext01",
            b"OPTIONS",
            b"sip:user@127.0.0.1",
            b"Require: nothingSupportsThis, nothingSupportsThisEither",
            b"Proxy-Require: noProxiesSupportThis",
        ),
        (420,),
    ),
    Case(
        "multi01",
        "3.3.8",
        invite(
            "multi01",
            b"CSeq: 59 INVITE",
            b"Call-ID: multi01.another@example.net",
            b"From: <sip:other@example.net>;tag=3413415",
            b"To: <sip:another@example.net>",
            b"Max-Forwards: 5",
        ),
        (*_BAD, 486),
    ),
    Case(
        "mcl01",
        "3.3.9",
        request("mcl01", b"OPTIONS", b"sip:user@127.0.0.1", b"Content-Length: 5"),
        (*_BAD, 200),
    ),
)
"""What may be refused, thrown away, or understood all the same; but not more."""


def response(name: str, line: bytes, *extra: bytes) -> bytes:
    """A response to nothing that was ever asked."""
    return CRLF.join(
        [
            line,
            b"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK" + name.encode(),
            b"From: <sip:user@example.com>;tag=1",
            b"To: <sip:user@example.org>;tag=2",
            b"Call-ID: " + name.encode() + b".torture",
            b"CSeq: 35 INVITE",
            *extra,
            b"Content-Length: 0",
            b"",
            b"",
        ]
    )


RESPONSES: Final = (
    Case(
        "unreason",
        "3.1.1.12",
        response("unreason", "SIP/2.0 200 = 2**3 * 5**2 но сто".encode()),
        (SILENCE,),
    ),
    Case("noreason", "3.1.1.13", response("noreason", b"SIP/2.0 100 "), (SILENCE,)),
    Case(
        "scalarlg",
        "3.1.2.5",
        response(
            "scalarlg",
            b"SIP/2.0 503 Service Unavailable",
            b"Retry-After: 949302838503028349304023988",
            b'Warning: 1812 overture "In Progress"',
        ),
        (SILENCE,),
    ),
    Case(
        "bigcode",
        "3.1.2.19",
        response("bigcode", b"SIP/2.0 4294967301 better not break the receiver"),
        (SILENCE,),
    ),
    Case(
        "bcast",
        "3.3.10",
        response(
            "bcast", b"SIP/2.0 200 OK", b"Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23"
        ),
        (SILENCE,),
    ),
)
