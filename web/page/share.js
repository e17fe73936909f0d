// Sharing: the address of the present runs, and the code that shows them in a page of someone else's.

import { byId, input, onPress, write } from "./dom.js";

/** @param {string} address after the # @param {boolean} embedded */
function linkTo(address, embedded) {
    const url = new URL(location.href);
    url.search = embedded ? "?embed" : "";
    url.hash = address;
    return url.href;
}

/** @param {() => string} address of the present runs */
export function offerSharing(address) {
    /** @param {string} id @param {string} says @param {() => string} text */
    const copies = (id, says, text) => {
        const before = byId(id).textContent ?? "";
        onPress(id, async () => {
            const done = await copy(text());
            write(byId(id), done ? "Copied" : before);
            write(byId("share-says"), done ? says : `This browser does not let the page copy. Here it is: ${text()}`);
            if (!done) byId("share-says").scrollIntoView({ block: "center" });
            setTimeout(() => write(byId(id), before), 2000);
        });
    };
    copies("copy-link", "The link is copied.", () => linkTo(address(), false));
    copies("share-link", "The link is copied.", () => linkTo(address(), false));
    copies("copy-embed", "The code is copied.", () => codeFor(address()));
    input("embed-code").addEventListener("focus", () => input("embed-code").select());
}

/** Shows the code of the present runs. @param {string} address */
export function drawSharing(address) {
    const code = codeFor(address);
    if (input("embed-code").value !== code) input("embed-code").value = code;
    byId("whole").setAttribute("href", linkTo(address, false));
}

/** @param {string} address */
function codeFor(address) {
    const source = linkTo(address, true).replace(/&/g, "&amp;");
    return `<iframe src="${source}" title="A language model learns sums, three ways" width="100%" height="640" loading="lazy"></iframe>`;
}

/** @param {string} text */
async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        return false; // not over plain http, or not permitted
    }
}
