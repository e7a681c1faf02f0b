// SPDX-License-Identifier: GPL-3.0-or-later
// A Chromium page for the tests of the media engine: evaluates what it is told.
// One JSON request per line on standard input, {"id": 1, "code": "..."}; one JSON reply per line.
// No code stands for a new page instead of the old one.
import http from "node:http";
import readline from "node:readline";
import { createRequire } from "node:module";

const [modules, executablePath, microphone] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/package.json`)("playwright-core");
const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        `--use-file-for-fake-audio-capture=${microphone}`,
        "--allow-loopback-in-peer-connection",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
});
// A page of http://127.0.0.1 may use the microphone; about:blank may not.
const server = http.createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    response.end("<!doctype html><title>client</title>");
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
let page;
async function renew() {
    await page?.context().close();
    page = await (await browser.newContext()).newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
}
for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, code } = JSON.parse(line);
    let reply;
    try {
        const value = code ? await page.evaluate(`(async () => {${code}})()`) : await renew();
        reply = { id, value: value ?? null };
    } catch (error) {
        reply = { id, error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await browser.close();
server.close();
