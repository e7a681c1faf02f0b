# SPDX-License-Identifier: GPL-3.0-or-later
# What the bridge uses of pjsua2, whose generated module has no type hints.

from types import ModuleType
from typing import SupportsInt

PJSIP_TRANSPORT_UDP: int
PJSIP_TRANSPORT_UDP6: int
PJSIP_TRANSPORT_TCP: int
PJSIP_TRANSPORT_TCP6: int
PJSIP_TRANSPORT_TLS: int
PJSIP_TRANSPORT_TLS6: int
PJ_SSL_SOCK_PROTO_TLS1_2: int
PJ_SSL_SOCK_PROTO_TLS1_3: int
PJSIP_EVENT_RX_MSG: int
PJSIP_TP_STATE_DESTROY: int
PJSIP_TP_STATE_DISCONNECTED: int
PJSIP_TP_STATE_SHUTDOWN: int
PJSIP_EVENT_TSX_STATE: int
PJSIP_INV_STATE_CONNECTING: int
PJSIP_ROLE_UAC: int
PJSIP_TSX_STATE_COMPLETED: int
PJSIP_TSX_STATE_TERMINATED: int
PJSIP_INV_STATE_CONFIRMED: int
PJSIP_INV_STATE_DISCONNECTED: int
PJSIP_SC_OK: int
PJSIP_SC_FORBIDDEN: int
PJSIP_SC_BAD_EVENT: int
PJSIP_SC_DECLINE: int
PJSIP_SC_NOT_ACCEPTABLE_HERE: int
PJSIP_SC_SERVICE_UNAVAILABLE: int
PJMEDIA_SRTP_OPTIONAL: int
PJSUA_DESTROY_NO_NETWORK: int
INVALID_ID: int
PJSUA_100REL_MANDATORY: int
PJSUA_100REL_NOT_USED: int
PJSUA_100REL_OPTIONAL: int
PJSUA_IPV6_DISABLED: int
PJSUA_IPV6_ENABLED_NO_PREFERENCE: int
PJSUA_IPV6_ENABLED_PREFER_IPV4: int
PJSUA_IPV6_ENABLED_PREFER_IPV6: int
PJSUA_SIP_TIMER_ALWAYS: int
PJSUA_SIP_TIMER_INACTIVE: int
PJSUA_SIP_TIMER_OPTIONAL: int
PJSUA_SIP_TIMER_REQUIRED: int

_pjsua2: ModuleType

class Error(Exception):
    status: int
    title: str
    reason: str

class Version:
    full: str

class StringVector:
    def append(self, value: str) -> None: ...

class SipHeader:
    hName: str
    hValue: str

class SipHeaderVector:
    def append(self, value: SipHeader) -> None: ...

class AuthCredInfo:
    def __init__(self, scheme: str, realm: str, user: str, dataType: int, data: str) -> None: ...

class AuthCredInfoVector:
    def append(self, value: AuthCredInfo) -> None: ...

class TlsConfig:
    CaListFile: str
    certFile: str
    privKeyFile: str
    proto: int
    verifyServer: bool
    msecTimeout: int

class TransportConfig:
    port: int
    boundAddress: str
    publicAddress: str
    tlsConfig: TlsConfig

class LogEntry:
    level: int
    msg: str

class LogWriter:
    def __disown__(self) -> object: ...
    def write(self, entry: LogEntry) -> None: ...

class LogConfig:
    msgLogging: int
    level: int
    consoleLevel: int
    decor: int
    writer: LogWriter

class UaConfig:
    maxCalls: int
    threadCnt: int
    mainThreadOnly: bool
    userAgent: str

class MediaConfig:
    threadCnt: int
    hasIoqueue: bool

class EpConfig:
    uaConfig: UaConfig
    logConfig: LogConfig
    medConfig: MediaConfig

class AudDevManager:
    def setNoDev(self) -> object: ...

class SipRxData:
    pjRxData: SupportsInt
    wholeMsg: str
    srcAddress: str

class OnTransportStateParam:
    hnd: SupportsInt
    state: int

class OnSelectAccountParam:
    rdata: SipRxData
    accountIndex: int

class Endpoint:
    def libVersion(self) -> Version: ...
    def libCreate(self) -> None: ...
    def libInit(self, config: EpConfig) -> None: ...
    def libStart(self) -> None: ...
    def libHandleEvents(self, msec_timeout: int) -> int: ...
    def libDestroy(self, flags: int = ...) -> None: ...
    def audDevManager(self) -> AudDevManager: ...
    def transportCreate(self, type: int, config: TransportConfig) -> int: ...
    def transportClose(self, id: int) -> None: ...
    def onSelectAccount(self, prm: OnSelectAccountParam) -> None: ...
    def onTransportState(self, prm: OnTransportStateParam) -> None: ...

class AccountRegConfig:
    registrarUri: str
    registerOnAdd: bool
    disableRegOnModify: bool
    headers: SipHeaderVector
    timeoutSec: int
    delayBeforeRefreshSec: int
    retryIntervalSec: int
    firstRetryIntervalSec: int
    randomRetryIntervalSec: int

class AccountSipConfig:
    authCreds: AuthCredInfoVector
    proxies: StringVector
    contactUriParams: str
    autoRespondSipMessage: bool
    ipv6Use: int
    transportId: int

class AccountNatConfig:
    contactRewriteUse: int
    contactUseSrcPort: int
    viaRewriteUse: int
    udpKaIntervalSec: int

class AccountCallConfig:
    prackUse: int
    timerUse: int
    timerMinSESec: int
    timerSessExpiresSec: int

class AccountMediaConfig:
    useLoopMedTp: bool
    lockCodecEnabled: bool
    srtpUse: int
    srtpSecureSignaling: int

class AccountMwiConfig:
    enabled: bool
    expirationSec: int

class AccountConfig:
    idUri: str
    regConfig: AccountRegConfig
    sipConfig: AccountSipConfig
    callConfig: AccountCallConfig
    natConfig: AccountNatConfig
    mediaConfig: AccountMediaConfig
    mwiConfig: AccountMwiConfig

class OnIncomingCallParam:
    callId: int
    rdata: SipRxData

class OnRegStateParam:
    rdata: SipRxData
    code: int
    reason: str
    expiration: int

class OnMwiInfoParam:
    rdata: SipRxData

class OnIncomingSubscribeParam:
    code: int

class OnInstantMessageParam:
    contentType: str
    msgBody: str
    rdata: SipRxData

class OnInstantMessageStatusParam:
    toUri: str
    msgBody: str
    code: int

class DeferredResponse:
    def __init__(self, param: OnInstantMessageParam) -> None: ...

class SendResponseParam:
    code: int
    reason: str
    deferredResponse: DeferredResponse

class AccountShutdownParam:
    force: bool

class SendRequestParam:
    method: str
    txOption: SipTxOption

class OnSendRequestParam:
    e: SipEvent

class Account:
    def create(self, config: AccountConfig) -> None: ...
    def modify(self, config: AccountConfig) -> None: ...
    def getId(self) -> int: ...
    def setRegistration(self, renew: bool) -> None: ...
    def shutdown2(self, prm: AccountShutdownParam) -> None: ...
    def sendResponse(self, prm: SendResponseParam) -> None: ...
    def onInstantMessage(self, prm: OnInstantMessageParam) -> None: ...
    def onInstantMessageStatus(self, prm: OnInstantMessageStatusParam) -> None: ...
    def onMwiInfo(self, prm: OnMwiInfoParam) -> None: ...
    def onIncomingSubscribe(self, prm: OnIncomingSubscribeParam) -> None: ...
    def onIncomingCall(self, prm: OnIncomingCallParam) -> None: ...
    def onRegState(self, prm: OnRegStateParam) -> None: ...
    def sendRequest(self, prm: SendRequestParam) -> None: ...
    def onSendRequest(self, prm: OnSendRequestParam) -> None: ...

class CallSetting:
    audioCount: int
    videoCount: int
    textCount: int
    customCallId: str

class SipTxOption:
    targetUri: str
    localUri: str
    contentType: str
    msgBody: str
    headers: SipHeaderVector

class BuddyConfig:
    uri: str
    subscribe: bool

class SendInstantMessageParam:
    contentType: str
    content: str
    txOption: SipTxOption

class Buddy:
    def create(self, account: Account, config: BuddyConfig) -> None: ...
    def sendInstantMessage(self, prm: SendInstantMessageParam) -> None: ...

class SdpSession:
    wholeSdp: str

class CallOpParam:
    opt: CallSetting
    statusCode: int
    reason: str
    txOption: SipTxOption
    sdp: SdpSession
    def __init__(self, useDefaultCallSetting: bool = False) -> None: ...

class CallSendRequestParam:
    method: str
    txOption: SipTxOption

class CallInfo:
    state: int
    lastStatusCode: int
    lastReason: str

class SipTransaction:
    method: str
    role: int
    state: int
    statusCode: int
    statusText: str

class TsxStateEventSrc:
    rdata: SipRxData

class TsxStateEvent:
    src: TsxStateEventSrc
    prevState: int
    tsx: SipTransaction
    type: int

class RxMsgEvent:
    rdata: SipRxData

class SipEventBody:
    tsxState: TsxStateEvent
    rxMsg: RxMsgEvent

class SipEvent:
    type: int
    body: SipEventBody

class OnCallStateParam:
    e: SipEvent

class OnCallTsxStateParam:
    e: SipEvent

class OnCallSdpCreatedParam:
    sdp: SdpSession
    remSdp: SdpSession

class OnCallRxReinviteParam:
    offer: SdpSession
    rdata: SipRxData
    isAsync: bool
    statusCode: int

class OnCallRxOfferParam:
    offer: SdpSession
    statusCode: int

class OnCallTransferStatusParam:
    statusCode: int
    finalNotify: bool

class OnCallTransferRequestParam:
    statusCode: int

class OnCallReplaceRequestParam:
    rdata: SipRxData
    statusCode: int
    opt: CallSetting
    newCall: Call | None

class Call:
    def __init__(self, account: Account, call_id: int = ...) -> None: ...
    def getId(self) -> int: ...
    def getInfo(self) -> CallInfo: ...
    def makeCall(self, uri: str, prm: CallOpParam) -> None: ...
    def answer(self, prm: CallOpParam) -> None: ...
    def hangup(self, prm: CallOpParam) -> None: ...
    def sendRequest(self, prm: CallSendRequestParam) -> None: ...
    def reinvite(self, prm: CallOpParam) -> None: ...
    def xfer(self, dest: str, prm: CallOpParam) -> None: ...
    def xferReplaces(self, dest_call: Call, prm: CallOpParam) -> None: ...
    def onInstantMessage(self, prm: OnInstantMessageParam) -> None: ...
    def onCallTransferStatus(self, prm: OnCallTransferStatusParam) -> None: ...
    def onCallState(self, prm: OnCallStateParam) -> None: ...
    def onCallTsxState(self, prm: OnCallTsxStateParam) -> None: ...
    def onCallSdpCreated(self, prm: OnCallSdpCreatedParam) -> None: ...
    def onCallRxReinvite(self, prm: OnCallRxReinviteParam) -> None: ...
    def onCallRxOffer(self, prm: OnCallRxOfferParam) -> None: ...
    def onCallTransferRequest(self, prm: OnCallTransferRequestParam) -> None: ...
    def onCallReplaceRequest(self, prm: OnCallReplaceRequestParam) -> None: ...
