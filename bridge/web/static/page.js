// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps a page as it is now: the server sends its middle anew whenever something has changed.
"use strict";

const live = document.getElementById("live");
const connection = document.getElementById("connection");

function show(html) {
    const open = [...live.querySelectorAll("details[open]")].map((each) => each.id);
    const focused = live.contains(document.activeElement) ? pathTo(document.activeElement) : null;
    const known = live.querySelectorAll(".ladder li").length;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    live.replaceChildren(fresh.content);
    for (const id of open) {
        document.getElementById(id)?.setAttribute("open", "");
    }
    if (known > 0) {
        [...live.querySelectorAll(".ladder li")].slice(known).forEach((each) => each.classList.add("new"));
    }
    focused?.()?.focus({ preventScroll: true });
    offerToOpenAll();
}

// How to find what had the focus again: within what has a name, or among its like.
function pathTo(element) {
    const named = element.closest("[id]");
    if (named !== live && named.tagName === "DETAILS") {
        const tag = element.tagName;
        return () => document.getElementById(named.id)?.querySelector(tag);
    }
    const link = element.getAttribute("href");
    if (link !== null) {
        return () => live.querySelector(`a[href="${CSS.escape(link)}"]`);
    }
    const number = [...live.querySelectorAll(element.tagName)].indexOf(element);
    return () => live.querySelectorAll(element.tagName)[number];
}

function follow(url) {
    const source = new EventSource(url);
    source.addEventListener("part", (event) => {
        connection.textContent = "";
        show(JSON.parse(event.data));
    });
    source.addEventListener("over", () => {
        connection.textContent = "The call has ended.";
        source.close();
    });
    source.addEventListener("error", () => {
        connection.textContent =
            source.readyState === EventSource.CLOSED
                ? "This page is not kept up to date any more; load it again."
                : "The bridge does not answer; trying again.";
    });
}

function offerToOpenAll() {
    for (const button of document.querySelectorAll("[data-open]")) {
        const all = document.getElementById(button.dataset.open)?.getElementsByTagName("details") ?? [];
        button.hidden = all.length === 0;
        button.textContent = [...all].every((each) => each.open) ? "Close all" : "Open all";
        button.onclick = () => {
            const open = ![...all].every((each) => each.open);
            [...all].forEach((each) => (each.open = open));
            offerToOpenAll();
        };
    }
}

offerToOpenAll();
if (live?.dataset.live) {
    follow(live.dataset.live);
}
