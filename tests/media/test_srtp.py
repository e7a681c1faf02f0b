# SPDX-License-Identifier: GPL-3.0-or-later
"""SRTP in place does what the library's public interface does."""

import gc
import hmac
from hashlib import sha1

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pylibsrtp import Error, Policy, Session

from bridge.media.embedded.srtp import ARRIVAL, SIZE, TRAILER, protector, sender, unprotector
from bridge.sdp.sdes import KEY_LENGTHS
from tests.simulators.rtp import Sender

KEY = bytes(range(30))
OUTBOUND, INBOUND = Policy.SSRC_ANY_OUTBOUND, Policy.SSRC_ANY_INBOUND


def session(direction: int) -> Session:
    """A session with the one key of these tests."""
    return Session(Policy(key=KEY, ssrc_type=direction))


def arrive(packet: bytes) -> int:
    """Let a packet lie where packets are received."""
    ARRIVAL[: len(packet)] = packet
    return len(packet)


def test_what_is_protected_in_place_is_what_the_library_makes() -> None:
    ours, theirs = protector(session(OUTBOUND)), session(OUTBOUND)
    for packet in Sender(0).packets([b"a", b"bc" * 80, b""]):
        assert bytes(ours(packet.write())) == theirs.protect(packet.write())


def test_what_was_protected_is_read_in_place() -> None:
    encrypt, decrypt = session(OUTBOUND), unprotector(session(INBOUND))
    for packet in Sender(0).packets([b"a", b"bc" * 80]):
        found = decrypt(arrive(encrypt.protect(packet.write())))
        assert found.obj is ARRIVAL.obj
        assert bytes(found) == packet.write()


def test_a_packet_that_is_passed_on_is_protected_where_it_lies() -> None:
    packet = Sender(0).next(b"relayed").write()
    size = arrive(packet)
    found = protector(session(OUTBOUND))(ARRIVAL[:size])
    assert bytes(found) == session(OUTBOUND).protect(packet)
    assert found.obj is ARRIVAL.obj


def test_a_packet_of_our_own_leaves_what_has_arrived_alone() -> None:
    arrived, ours = (Sender(0).next(payload).write() for payload in (b"arrived", b"ours"))
    size = arrive(arrived)
    assert bytes(protector(session(OUTBOUND))(ours)) == session(OUTBOUND).protect(ours)
    assert bytes(ARRIVAL[:size]) == arrived


def test_a_context_lives_as_long_as_what_uses_it() -> None:
    encrypt, decrypt = protector(session(OUTBOUND)), unprotector(session(INBOUND))
    gc.collect()
    packet = Sender(0).next(b"x" * 160).write()
    assert bytes(decrypt(arrive(bytes(encrypt(packet))))) == packet


def test_a_forged_or_repeated_packet_is_an_error() -> None:
    encrypt, decrypt = session(OUTBOUND), unprotector(session(INBOUND))
    first, second = (encrypt.protect(p.write()) for p in Sender(0).packets([b"x" * 20] * 2))
    decrypt(arrive(first))
    with pytest.raises(Error, match="replay"):
        decrypt(arrive(first))
    with pytest.raises(Error, match="auth"):
        decrypt(arrive(second[:-1] + bytes([second[-1] ^ 1])))
    decrypt(arrive(second))


def test_a_packet_that_would_outgrow_the_buffer_is_refused() -> None:
    encrypt = protector(session(OUTBOUND))
    longest = SIZE - TRAILER - 12
    assert len(encrypt(Sender(0).next(bytes(longest)).write())) <= SIZE
    with pytest.raises(ValueError, match="too long"):
        encrypt(Sender(0).next(bytes(longest + 1)).write())


# --- the suites, against RFC 3711, RFC 6188 and RFC 7714 written down once more ---------------


def keystream(key: bytes, start: int, length: int) -> bytes:
    """AES in counter mode (RFC 3711 4.1.1)."""
    return Cipher(AES(key), CTR(start.to_bytes(16, "big"))).encryptor().update(bytes(length))


def derived(master: bytes, salt: bytes, label: int, length: int) -> bytes:
    """A session key (RFC 3711 4.3.1); a shorter salt is filled up (RFC 7714 section 11)."""
    start = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ label << 48
    return keystream(master, start << 16, length)


def expected(packet: bytes, suite: str, master: bytes) -> bytes:
    """The first packet of a source, encrypted: its rollover counter is 0."""
    if "GCM" in suite:
        return sealed(packet, master[:-12], master[-12:])
    key, salt = master[:-14], master[-14:]
    cipher, authentication, salting = (
        derived(key, salt, label, length) for label, length in ((0, len(key)), (1, 20), (2, 14))
    )
    ssrc, sequence = int.from_bytes(packet[8:12], "big"), int.from_bytes(packet[2:4], "big")
    start = int.from_bytes(salting, "big") << 16 ^ ssrc << 64 ^ sequence << 16
    stream = keystream(cipher, start, len(packet) - 12)
    encrypted = packet[:12] + bytes(a ^ b for a, b in zip(packet[12:], stream, strict=True))
    tag = 4 if suite.endswith("_32") else 10
    return encrypted + hmac.digest(authentication, encrypted + bytes(4), sha1)[:tag]


def sealed(packet: bytes, key: bytes, salt: bytes) -> bytes:
    """The same by AES-GCM (RFC 7714 sections 8.1 and 9.1)."""
    cipher, salting = derived(key, salt, 0, len(key)), derived(key, salt, 2, 12)
    number = bytes(2) + packet[8:12] + bytes(4) + packet[2:4]
    start = bytes(a ^ b for a, b in zip(number, salting, strict=True))
    return packet[:12] + AESGCM(cipher).encrypt(start, packet[12:], packet[:12])


@pytest.mark.parametrize("suite", KEY_LENGTHS)
def test_each_suite_is_what_its_name_says(suite: str) -> None:
    master = bytes(range(100, 100 + KEY_LENGTHS[suite]))
    packet = Sender(0, ssrc=0xDECAFBAD, sequence=4711).next(bytes(range(160))).write()
    assert sender(suite, master).protect(packet) == expected(packet, suite, master)


@pytest.mark.parametrize("suite", KEY_LENGTHS)
def test_a_number_is_used_again_only_where_that_gives_no_key_away(suite: str) -> None:
    encrypt = protector(sender(suite, bytes(KEY_LENGTHS[suite])))
    encrypt(Sender(0, ssrc=1, sequence=7).next(b"one").write())
    again = Sender(0, ssrc=1, sequence=7).next(b"another").write()
    if "GCM" not in suite:
        assert encrypt(again)
        return
    with pytest.raises(Error, match="replay"):
        encrypt(again)
