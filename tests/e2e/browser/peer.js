// SPDX-License-Identifier: GPL-3.0-or-later
// Limits to what the browser's own WebRTC offers, and what it says of a connection.

// From now on, offer and take only codecs of these names.
export function onlyCodecs(names) {
    const add = RTCPeerConnection.prototype.addTrack;
    RTCPeerConnection.prototype.addTrack = function (...args) {
        const sender = add.apply(this, args);
        const known = RTCRtpReceiver.getCapabilities("audio").codecs;
        const wanted = known.filter((codec) => names.includes(codec.mimeType.split("/")[1]));
        const transceiver = this.getTransceivers().find((one) => one.sender === sender);
        if (sender.track?.kind === "audio") transceiver.setCodecPreferences(wanted);
        return sender;
    };
}

// From now on, each offer takes so many milliseconds to write.
export function delayOffers(delay) {
    const create = RTCPeerConnection.prototype.createOffer;
    RTCPeerConnection.prototype.createOffer = async function (...args) {
        await new Promise((resolve) => setTimeout(resolve, delay));
        return create.apply(this, args);
    };
}

export async function statistics(connection) {
    const found = { sent: 0, received: 0, lost: 0, codec: "", local: "", remote: "" };
    const report = await connection?.getStats();
    report?.forEach((entry) => {
        if (entry.type === "transport") {
            const pair = report.get(entry.selectedCandidatePairId);
            found.local = endpoint(report.get(pair?.localCandidateId));
            found.remote = endpoint(report.get(pair?.remoteCandidateId));
        }
        if (entry.kind !== "audio") return;
        if (entry.type === "outbound-rtp") found.sent = entry.packetsSent;
        if (entry.type === "inbound-rtp") {
            found.received = entry.packetsReceived;
            found.lost = entry.packetsLost;
            found.codec = report.get(entry.codecId)?.mimeType ?? "";
        }
    });
    return found;
}

function endpoint(candidate) {
    return candidate ? `${candidate.address ?? ""}:${candidate.port}` : "";
}

// What became of the video that we offered last: a direction, or "none" when it was declined.
export function videoDirection(connection) {
    const offered = connection.getTransceivers().filter((one) => one.receiver.track.kind === "video");
    return offered.at(-1)?.currentDirection ?? "none";
}

// From now on, descriptions are sent without candidates, which come a little later, one by one; that
// there are no more is not said.
export function trickleAll(delay = 600) {
    const prototype = RTCPeerConnection.prototype;
    const described = Object.getOwnPropertyDescriptor(prototype, "localDescription");
    Object.defineProperty(prototype, "localDescription", {
        ...described,
        get() {
            const { type, sdp } = described.get.call(this) ?? {};
            const bare = sdp?.replace(/^a=(candidate|end-of-candidates).*\r\n/gm, "");
            return type ? new RTCSessionDescription({ type, sdp: bare }) : null;
        },
    });
    const listen = prototype.addEventListener;
    prototype.addEventListener = function (type, listener, ...more) {
        if (type !== "icecandidate") return listen.call(this, type, listener, ...more);
        const later = (event) => {
            if (event.candidate?.candidate) setTimeout(() => listener(event), delay);
        };
        return listen.call(this, type, later, ...more);
    };
}
