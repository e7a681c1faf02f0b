# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: the models, how they are read and checked, and the files generated from them."""

from bridge.config.base import NumberStyle, Port, Seconds, Section, Transport
from bridge.config.bounds import Bounds
from bridge.config.load import (
    InvalidConfig,
    Problem,
    checked,
    load,
    outdated,
    parse,
    secrets_of,
)
from bridge.config.models import (
    PORTS_PER_WORKER,
    Api,
    AppService,
    AutoJoin,
    Config,
    Database,
    Encryption,
    EncryptionMode,
    Homeserver,
    Logging,
    Media,
    Permission,
    Portals,
    Shutdown,
    TurnServer,
    Web,
)
from bridge.config.renewal import Effect, differences, effect_of, merged
from bridge.config.routing import Caller, InboundRule, Limits, Numbers, OutboundRule
from bridge.config.sip import Accounts, Sip, SipTransport, Trunk, TrunkTls
from bridge.config.voicemail import LEAST_DELAY, Voicemail

__all__ = [
    "LEAST_DELAY",
    "PORTS_PER_WORKER",
    "Accounts",
    "Api",
    "AppService",
    "AutoJoin",
    "Bounds",
    "Caller",
    "Config",
    "Database",
    "Effect",
    "Encryption",
    "EncryptionMode",
    "Homeserver",
    "InboundRule",
    "InvalidConfig",
    "Limits",
    "Logging",
    "Media",
    "NumberStyle",
    "Numbers",
    "OutboundRule",
    "Permission",
    "Port",
    "Portals",
    "Problem",
    "Seconds",
    "Section",
    "Shutdown",
    "Sip",
    "SipTransport",
    "Transport",
    "Trunk",
    "TrunkTls",
    "TurnServer",
    "Voicemail",
    "Web",
    "checked",
    "differences",
    "effect_of",
    "load",
    "merged",
    "outdated",
    "parse",
    "secrets_of",
]
