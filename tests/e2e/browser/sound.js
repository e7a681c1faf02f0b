// SPDX-License-Identifier: GPL-3.0-or-later
// What the client hears, by its strongest frequency; and a microphone that needs no permission.

const streams = new Map();

// Chromium decodes a remote stream only while an element plays it. A stream that is resumed is
// another object with the same id.
export function play(stream) {
    const before = streams.get(stream.id);
    if (before?.stream === stream) return;
    before?.element.remove();
    before?.context.close();
    const element = document.createElement("audio");
    element.autoplay = true;
    element.srcObject = stream;
    document.body.append(element);
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(stream).connect(analyser);
    streams.set(stream.id, { stream, element, context, analyser });
}

// The strongest frequency of what is heard now, of the loudest remote stream.
export function tone() {
    const tones = [...streams.values()].map(({ context, analyser }) => {
        const spectrum = new Float32Array(analyser.frequencyBinCount);
        const samples = new Float32Array(analyser.fftSize);
        analyser.getFloatFrequencyData(spectrum);
        analyser.getFloatTimeDomainData(samples);
        const strongest = spectrum.reduce((best, level, bin) => (level > spectrum[best] ? bin : best), 1);
        const energy = samples.reduce((sum, sample) => sum + sample * sample, 0);
        return {
            hertz: (strongest * context.sampleRate) / analyser.fftSize,
            rms: Math.sqrt(energy / samples.length),
        };
    });
    return tones.reduce((best, one) => (one.rms > best.rms ? one : best), { hertz: 0, rms: 0 });
}

// From now on a tone takes the place of the microphone, whose use nobody is asked to permit. To
// such a page Chromium does not tell this machine's addresses: its candidates are mDNS names.
export function hearInsteadOfMicrophone(hertz) {
    navigator.mediaDevices.getUserMedia = async () => {
        const context = new AudioContext();
        const oscillator = context.createOscillator();
        const destination = context.createMediaStreamDestination();
        oscillator.frequency.value = hertz;
        oscillator.connect(destination);
        oscillator.start();
        return destination.stream;
    };
}
