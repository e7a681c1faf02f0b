// SPDX-License-Identifier: GPL-3.0-or-later
// Runs Chromium for the tests. One JSON request per line comes in on standard input,
//   {"id": 1, "do": "open"} or {"id": 2, "do": "call", "page": 0, "name": "place", "args": [...]},
// and one JSON reply per line goes out: {"id": 1, "value": ...} or {"id": 1, "error": "..."}.
// Arguments: Chromium's path, the microphone's WAV file, then whatever flags Chromium shall have.
// Ends, and Chromium with it, when its standard input does.
import { readFile } from "node:fs/promises";
import http from "node:http";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";
import { chromium } from "playwright-core";

const [executablePath, microphone, ...moreFlags] = process.argv.slice(2);
const FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${microphone}`,
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ...moreFlags,
];

async function bundle() {
    const built = await esbuild.build({
        entryPoints: [fileURLToPath(new URL("page.js", import.meta.url))],
        bundle: true,
        format: "iife",
        platform: "browser",
        // The second is for the encryption, which loads its WebAssembly from beside the page.
        define: { global: "window", "import.meta.url": "location.href" },
        logLevel: "error",
        write: false,
    });
    return built.outputFiles[0].text;
}

async function serve(script) {
    const module = "@matrix-org/matrix-sdk-crypto-wasm/pkg/matrix_sdk_crypto_wasm_bg.wasm";
    const encryption = await readFile(new URL(`node_modules/${module}`, import.meta.url));
    const empty = "<!doctype html><meta charset=utf-8><title>client</title>";
    const html = `${empty}<body><script src=/page.js></script>`;
    const server = http.createServer((request, response) => {
        const isScript = request.url === "/page.js";
        if (request.url.endsWith(".wasm")) {
            response.writeHead(200, { "content-type": "application/wasm" });
            response.end(encryption);
            return;
        }
        const type = isScript ? "text/javascript" : "text/html";
        response.writeHead(200, { "content-type": `${type}; charset=utf-8` });
        response.end(isScript ? script : request.url === "/" ? html : empty);
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${server.address().port}/`;
}

const [browser, url] = await Promise.all([
    chromium.launch({ executablePath, args: FLAGS, headless: true }),
    bundle().then(serve),
]);
const pages = [];
// Numbers of those that nobody uses. Another page costs as much as a call does: a process, and the
// script to be compiled.
const spare = [];

async function open() {
    const number = spare.pop() ?? (await makeAnother());
    await pages[number].goto(url);
    await isLoaded(pages[number]);
    return number;
}

async function makeAnother() {
    const context = await browser.newContext();
    const page = await context.newPage();
    const number = pages.push(page) - 1;
    page.on("pageerror", (error) => console.error(`page ${number}: ${error.stack}`));
    page.on("console", (message) => {
        if (process.env.BROWSER_LOG || message.type() === "error") {
            console.error(`page ${number}: ${message.type()}: ${message.text()}`);
        }
    });
    return number;
}

// As if its tab were closed; who opens the next one finds nothing of this.
async function close(number) {
    const page = pages[number];
    await page.goto(`${url}empty`);
    const session = await page.context().newCDPSession(page);
    await session.send("Storage.clearDataForOrigin", { origin: new URL(url).origin, storageTypes: "all" });
    await session.detach();
    spare.push(number);
}

// What the page has stored stays; what it had in memory, its calls too, is gone.
async function reload(page) {
    await page.reload();
    await isLoaded(page);
}

async function isLoaded(page) {
    await page.waitForFunction("window.mx !== undefined");
}

async function perform(request) {
    switch (request.do) {
        case "open":
            return open();
        case "reload":
            return reload(pages[request.page]);
        case "close":
            return close(request.page);
        case "call":
            return pages[request.page].evaluate(
                ([name, args]) => window.mx[name](...args),
                [request.name, request.args],
            );
        default:
            throw new Error(`there is no request ${request.do}`);
    }
}

function reply(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
}

reply({ id: 0, value: browser.version() });
for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    perform(request).then(
        (value) => reply({ id: request.id, value: value ?? null }),
        (error) => reply({ id: request.id, error: String(error?.message ?? error) }),
    );
}
await browser.close();
process.exit(0);
