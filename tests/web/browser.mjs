// SPDX-License-Identifier: GPL-3.0-or-later
// Chromium for the tests of the admin page: does what it is told, with Playwright's `page`.
// One JSON request per line on standard input, {"id": 1, "code": "..."}; one JSON reply per line.
import readline from "node:readline";
import { createRequire } from "node:module";

const [modules, executablePath, options] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/package.json`)("playwright-core");
const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
});
const page = await (await browser.newContext(JSON.parse(options))).newPage();
const complaints = [];
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
        complaints.push(message.text());
    }
});
const AsyncFunction = (async () => {}).constructor;
for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, code } = JSON.parse(line);
    let reply;
    try {
        const value = await new AsyncFunction("page", "complaints", code)(page, complaints);
        reply = { id, value: value ?? null };
    } catch (error) {
        reply = { id, error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await browser.close();
