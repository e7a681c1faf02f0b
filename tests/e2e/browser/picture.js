// SPDX-License-Identifier: GPL-3.0-or-later
// What the client sees: the number that the tests' camera films, in its upper half as bright bars.

import { CallFeedEvent } from "matrix-js-sdk/lib/webrtc/callFeed.js";

const WIDTH = 160;
const HEIGHT = 96;
const BITS = 8;
const watched = new WeakSet();
let element = null;

// As a client's interface: somebody without a picture has no place for one.
export function watchPicture(feed) {
    if (watched.has(feed)) return;
    watched.add(feed);
    feed.on(CallFeedEvent.MuteStateChanged, () => show(feed));
    feed.on(CallFeedEvent.NewStream, () => show(feed));
    show(feed);
}

function show(feed) {
    element?.remove();
    element = null;
    if (feed.isVideoMuted()) return;
    element = document.createElement("video");
    element.autoplay = true;
    element.muted = true;
    element.srcObject = feed.stream;
    document.body.append(element);
    // What it shows may come into the stream only later.
    element.play().catch(() => {});
}

// The number of the picture that is seen now, or -1.
export function picture() {
    if (!element?.videoWidth) return -1;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [WIDTH, HEIGHT];
    const context = canvas.getContext("2d");
    context.drawImage(element, 0, 0, WIDTH, HEIGHT);
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) {
        const x = (bit + 0.5) * (WIDTH / BITS);
        const [red, green, blue] = context.getImageData(x, HEIGHT / 4, 1, 1).data;
        if (red + green + blue > 375) number |= 1 << bit;
    }
    return number;
}
