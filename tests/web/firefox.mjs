// Debian's Firefox, which speaks WebDriver BiDi (https://w3c.github.io/webdriver-bidi/) by itself: what the
// tests need of it, over one socket.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";

const { WebSocket } = createRequire(new URL("../../web/package.json", import.meta.url))("ws");

const FIREFOX = "/usr/bin/firefox-esr";
/** Nothing that asks the network of its own accord. */
const QUIET = {
    "app.normandy.enabled": false,
    "browser.aboutwelcome.enabled": false,
    "browser.safebrowsing.update.enabled": false,
    "browser.shell.checkDefaultBrowser": false,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": false,
    "extensions.update.enabled": false,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": false,
};

/** Starts a Firefox of its own, with these settings, and gives its one tab. */
export async function startFirefox(settings = {}) {
    assert(existsSync(FIREFOX), `${FIREFOX} is missing; next: ./check.sh tools, or apt-get install firefox-esr`);
    const profile = mkdtempSync(`${tmpdir()}/srft-firefox-`);
    const lines = Object.entries({ ...QUIET, ...settings }).map(([key, value]) => `user_pref("${key}", ${JSON.stringify(value)});`);
    writeFileSync(`${profile}/user.js`, lines.join("\n"));
    const browser = spawn(FIREFOX, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]);
    const address = await new Promise((resolve, reject) => {
        let said = "";
        browser.stderr.on("data", (data) => {
            said += data;
            const found = /WebDriver BiDi listening on (ws:\S+)/.exec(said);
            if (found) resolve(found[1]);
        });
        browser.on("exit", () => reject(new Error(`Firefox ended: ${said}`)));
    });
    const tab = await Tab.open(`${address}/session`);
    const close = async () => {
        const ended = new Promise((resolve) => browser.once("exit", resolve));
        browser.kill();
        await ended;
        rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    };
    return { tab, close };
}

class Tab {
    /** Lines of the console and errors that nobody caught, of the page and its workers. */
    lines = [];
    #socket;
    #context = "";
    #last = 0;
    #waiting = new Map();

    static async open(address) {
        const tab = new Tab(new WebSocket(address));
        await new Promise((resolve, reject) => tab.#socket.once("open", resolve).once("error", reject));
        await tab.#send("session.new", { capabilities: {} });
        await tab.#send("session.subscribe", { events: ["log.entryAdded"] });
        const { contexts } = await tab.#send("browsingContext.getTree", {});
        tab.#context = contexts[0].context;
        return tab;
    }

    constructor(socket) {
        this.#socket = socket;
        socket.on("message", (data) => {
            const { id, method, params, result, error, message } = JSON.parse(data);
            if (method === "log.entryAdded") this.lines.push(`${params.level}: ${params.text}`);
            const waiting = this.#waiting.get(id);
            this.#waiting.delete(id);
            if (error) waiting?.reject(new Error(`${error}: ${message}`));
            else waiting?.resolve(result);
        });
    }

    #send(method, params) {
        const id = ++this.#last;
        this.#socket.send(JSON.stringify({ id, method, params }));
        return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    }

    async goto(url) {
        await this.#send("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
    }

    async resize(width, height) {
        await this.#send("browsingContext.setViewport", { context: this.#context, viewport: { width, height } });
    }

    /** What a function gives in the page, as JSON. */
    async evaluate(body, ...values) {
        const expression = `(async () => JSON.stringify(await (${body})(...${JSON.stringify(values)})))()`;
        const got = await this.#send("script.evaluate", {
            expression,
            target: { context: this.#context },
            awaitPromise: true,
        });
        if (got.type === "exception") throw new Error(got.exceptionDetails.text);
        return got.result.value === undefined ? undefined : JSON.parse(got.result.value);
    }

    /** Waits until a function gives something true in the page. */
    async until(body, ...values) {
        for (;;) {
            const got = await this.evaluate(body, ...values);
            if (got) return got;
            await new Promise((resolve) => setTimeout(resolve, 200));
        }
    }

    /** The visible part as a PNG. */
    async screenshot() {
        const { data } = await this.#send("browsingContext.captureScreenshot", { context: this.#context });
        return Buffer.from(data, "base64");
    }
}
