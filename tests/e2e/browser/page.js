// SPDX-License-Identifier: GPL-3.0-or-later
// One Matrix client in one page: matrix-js-sdk with its WebRTC calls, steered through `window.mx`.
import * as sdk from "matrix-js-sdk";
import { OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { CallErrorCode, CallEvent } from "matrix-js-sdk/lib/webrtc/call.js";
import { CallEventHandlerEvent } from "matrix-js-sdk/lib/webrtc/callEventHandler.js";
import { delayOffers, onlyCodecs, statistics, trickleAll, videoDirection } from "./peer.js";
import { picture, watchPicture } from "./picture.js";
import { hearInsteadOfMicrophone, play, tone } from "./sound.js";

// Pure tones do not survive the processing that is meant for voices.
const PLAIN_AUDIO = { autoGainControl: false, echoCancellation: false, noiseSuppression: false };

let client = null;
let call = null;
const notes = [];
const calls = [];
const heard = [];

function note(what, ...details) {
    notes.push({ at: Date.now(), what, details });
}

// Options: `crypto`, with end-to-end encryption; if "signed", also without devices that their own users
// have not signed ("exclude insecure devices" in Element); if "verified", without those that nobody verified. More of them change what the browser does.
async function start({ baseUrl, userId, deviceId, accessToken, ...options }) {
    if (options.tricklesAll) trickleAll();
    if (options.offerDelay) delayOffers(options.offerDelay);
    if (options.microphoneHertz) hearInsteadOfMicrophone(options.microphoneHertz);
    client = sdk.createClient({ baseUrl, userId, deviceId, accessToken, fallbackICEServerAllowed: false });
    await client.getMediaHandler().setAudioSettings(PLAIN_AUDIO);
    client.on(CallEventHandlerEvent.Incoming, (incoming) => {
        note("incoming", incoming.callId);
        watch(incoming);
    });
    client.on(sdk.RoomMemberEvent.Membership, (_event, member) => {
        if (member.userId === userId && member.membership === "invite") {
            client.joinRoom(member.roomId).catch((error) => note("join failed", String(error)));
        }
    });
    client.on(sdk.ClientEvent.Event, (event) => heard.push(event));
    if (options.crypto) await encrypt(options.crypto);
    const synced = new Promise((resolve) => {
        client.on(sdk.ClientEvent.Sync, (state) => {
            if (state === "PREPARED" || state === "SYNCING") resolve();
        });
    });
    await client.startClient({ initialSyncLimit: 20 });
    await synced;
}

// Events of a type, our own too, as the homeserver gave them to us.
function said(type) {
    return heard
        .filter((event) => event.getType() === type)
        .map((event) => ({
            room: event.getRoomId(),
            type,
            sender: event.getSender() === client.getUserId() ? "" : event.getSender(),
            content: event.getContent(),
        }));
}

async function encrypt(how) {
    await client.initRustCrypto({ useIndexedDB: false });
    const ours = client.getCrypto();
    ours.globalBlacklistUnverifiedDevices = how === "verified";
    if (how !== "signed") return;
    // Who excludes unsigned devices must have signed their own.
    await ours.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => upload(null) });
    ours.setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
}

function watch(started) {
    // As in a client's interface: what rings meanwhile does not take the place of a call.
    if (!call || call.callHasEnded()) call = started;
    calls.push(started);
    started.on(CallEvent.State, (now, before) => note("state", started.callId, before, now));
    started.on(CallEvent.Error, (error) => note("error", started.callId, error.code, error.message));
    started.on(CallEvent.Hangup, () => note("hangup", started.callId, started.hangupReason));
    started.on(CallEvent.Replaced, (by) => note("replaced", started.callId, by.callId));
    started.on(CallEvent.RemoteHoldUnhold, (held) => note("remote hold", started.callId, held));
    started.on(CallEvent.FeedsChanged, (feeds) => {
        for (const feed of feeds.filter((one) => !one.isLocal())) {
            play(feed.stream);
            watchPicture(feed);
        }
    });
}

function snapshot() {
    return {
        callId: call?.callId ?? null,
        state: call?.state ?? null,
        reason: call?.hangupReason ?? null,
        endedBy: call?.hangupParty ?? null,
        held: call?.isRemoteOnHold() ?? false,
        heldByThem: call?.isLocalOnHold() ?? false,
        dtmf: call?.opponentSupportsDTMF() ?? false,
        tone: tone(),
    };
}

// As a client's interface shows a call: who is seen and heard of the other side.
function theirFeeds() {
    const remote = call?.getRemoteFeeds() ?? [];
    return remote.map((feed) => ({
        purpose: feed.purpose,
        audioMuted: feed.isAudioMuted(),
        videoMuted: feed.isVideoMuted(),
    }));
}

const ENCRYPTION = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

async function room(other, encrypted = false) {
    const made = await client.createRoom({
        is_direct: true,
        preset: "trusted_private_chat",
        invite: [other],
        initial_state: encrypted ? [ENCRYPTION] : [],
    });
    return made.room_id;
}

async function place(roomId, { video = false } = {}) {
    const placed = sdk.createNewMatrixCall(client, roomId);
    watch(placed);
    await (video ? placed.placeVideoCall() : placed.placeVoiceCall());
    return placed.callId;
}

// As Element Web dials what was typed: look it up, take the direct chat or make one, wait for the
// ghost but not for long, call. Null where the lookup finds nobody.
async function dialNumber(typed) {
    const [found] = await client.getThirdpartyUser("m.protocol.pstn", { "m.id.phone": typed });
    if (!found?.userid) return null;
    const roomId = directRoom(found.userid) ?? (await makeDirectRoom(found.userid));
    return { ghost: found.userid, room: roomId, call: await place(roomId) };
}

function directRooms() {
    return client.getAccountData("m.direct")?.getContent() ?? {};
}

function directRoom(other) {
    const suits = (roomId) => {
        const found = client.getRoom(roomId);
        const members = found?.currentState.getMembers().filter((one) => one.membership !== "leave") ?? [];
        return found?.getMyMembership() === "join" && members.length === 2 && found.getMember(other);
    };
    return (directRooms()[other] ?? []).find(suits);
}

async function makeDirectRoom(other) {
    const guests = { type: "m.room.guest_access", state_key: "", content: { guest_access: "can_join" } };
    const { room_id: made } = await client.createRoom({
        is_direct: true,
        preset: "trusted_private_chat",
        visibility: "private",
        invite: [other],
        initial_state: (await hasDevices(other)) ? [guests, ENCRYPTION] : [guests],
    });
    const direct = directRooms();
    await client.setAccountData("m.direct", { ...direct, [other]: [...(direct[other] ?? []), made] });
    await memberIsKnown(made, other, 1500);
    return made;
}

async function hasDevices(other) {
    const devices = await client.getCrypto()?.getUserDeviceInfo([other], true);
    return (devices?.get(other)?.size ?? 0) > 0;
}

function memberIsKnown(roomId, other, milliseconds) {
    if (client.getRoom(roomId)?.getMember(other)) return Promise.resolve();
    return new Promise((resolve) => {
        const told = (_event, _state, member) => {
            if (member.roomId === roomId && member.userId === other) done();
        };
        const done = () => {
            client.off(sdk.RoomStateEvent.NewMember, told);
            resolve();
        };
        client.on(sdk.RoomStateEvent.NewMember, told);
        setTimeout(done, milliseconds);
    });
}

// What Element Call does when somebody starts a call in a room: it announces a MatrixRTC session.
// `sticky` is how it will do that, by events of MSC4354 instead of state.
function rtcJoin(roomId, { sticky = false, ...config } = {}) {
    const [userId, deviceId] = [client.getUserId(), client.getDeviceId()];
    const focus = { type: "livekit", livekit_service_url: "https://livekit.example.org" };
    rtcSession(roomId).joinRTCSession(
        { userId, deviceId, memberId: sticky ? crypto.randomUUID() : `${userId}:${deviceId}` },
        [focus],
        sticky ? focus : undefined,
        { notificationType: "ring", callIntent: "audio", unstableSendStickyEvents: sticky, ...config },
    );
}

function rtcSession(roomId) {
    return client.matrixRTC.getRoomSession(client.getRoom(roomId));
}

// Does not wait until the call is placed.
function beginToPlace(roomId, options) {
    place(roomId, options).catch((error) => note("place failed", String(error)));
}

// As a person who reaches for the telephone: one that rings already is answered.
async function placeOrAnswer(roomId) {
    if (call?.state !== "ringing") return place(roomId);
    await call.answer(true, false);
    return call.callId;
}

window.mx = {
    start,
    room,
    place,
    beginToPlace,
    placeOrAnswer,
    snapshot,
    theirFeeds,
    picture,
    onlyCodecs,
    videoDirection: () => videoDirection(call.peerConn),
    signalingState: () => call.peerConn.signalingState,
    connection: () => {
        const { signalingState, iceConnectionState, iceGatheringState, connectionState } = call.peerConn;
        return { signalingState, iceConnectionState, iceGatheringState, connectionState };
    },
    statistics: () => statistics(call?.peerConn),
    notes: () => notes,
    said,
    members: (roomId) => client.getRoom(roomId)?.getJoinedMemberCount() ?? 0,
    roomsWith: (other) =>
        client
            .getRooms()
            .filter((one) => one.getMyMembership() === "join" && one.getMember(other)?.membership === "join")
            .map((one) => one.roomId),
    dialPad: async (number) => (await client.getThirdpartyUser("m.protocol.pstn", { "m.id.phone": number }))[0].userid,
    dialNumber,
    rtcJoin,
    rtcLeave: (roomId) => rtcSession(roomId).leaveRoomSession(5000),
    rtcMembers: (roomId) => rtcSession(roomId).memberships.length,
    send: (roomId, type, content) => client.sendEvent(roomId, type, content),
    protocols: () => client.getThirdpartyProtocols(),
    answer: () => call.answer(true, false),
    reject: () => call.reject(),
    hangUp: () => call.hangup(CallErrorCode.UserHangup, false),
    hold: (on) => call.setRemoteOnHold(on),
    mute: (on) => call.setMicrophoneMuted(on),
    camera: (on) => call.setLocalVideoMuted(!on),
    shareScreen: (on) => call.setScreensharingEnabled(on),
    restartIce: () => call.peerConn.restartIce(),
    canTransfer: () => call.opponentCanBeTransferred(),
    transfer: (target) => call.transfer(target),
    transferToCall: (first, second) => calls[first].transferToCall(calls[second]),
    assertedIdentity: () => call.getRemoteAssertedIdentity() ?? null,
    dtmf: async (digit) => {
        // A call is connected a moment before the sender can send keys.
        const sender = call.peerConn.getSenders().find((each) => each.dtmf);
        while (!sender.dtmf.canInsertDTMF) await new Promise((done) => setTimeout(done, 20));
        call.sendDtmfDigit(digit);
    },
    timeline: (roomId) =>
        client
            .getRoom(roomId)
            .getLiveTimeline()
            .getEvents()
            .map((one) => ({
                type: one.getType(),
                wire: one.getWireType(),
                sender: one.getSender(),
                body: one.getContent().body ?? null,
                failed: one.isDecryptionFailure(),
            })),
    callStates: () => calls.map((one) => [one.callId, one.state, one.direction]),
    stop: () => client.stopClient(),
};
