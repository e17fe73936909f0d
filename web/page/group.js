// The group panel: one prompt of a run's last step, its rollouts and its demonstration, row by row. Every
// token is a button that shows what the update did to it, and why.

import { tellAt } from "./announce.js";
import { byId, fillSelect, h, onPress, select, write } from "./dom.js";
import { fixed, question, signed, spoken, visible } from "./format.js";
import { methodOf } from "./methods.js";
import { candidates, formulas } from "./token-detail.js";
import { tokenRow } from "./tokens.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./formula.js").GroupView} GroupView */
/** @typedef {import("./formula.js").Member} Member */

/** Change, nats, at which a token's colour is full; less than in the strip, since it is one update's. */
const FULL_NATS = 0.5;
/** Time between two updates of the panel while the runs play, ms. */
const PACE = 2000;

export class Group {
    #state;
    #inspect;
    #run = select("group-run");
    #prompt = select("group-prompt");
    #section = byId("group");
    #visible = false;
    /**
     * What to show; without a chosen prompt, one whose rollouts differ.
     * @type {{ run: number, prompt: number | null }}
     */
    #wanted = { run: -1, prompt: null };
    /** The method to begin with. */
    #method = "srft";
    /** When the panel last asked the trainer, and for what. */
    #asked = { at: 0, key: "" };
    /** @type {GroupView | null} */
    #drawn = null;
    /** The runs' `ready` that the choices belong to. @type {State["ready"]} */
    #ready = null;
    /** The token whose terms are shown. @type {{ member: number, token: number }} */
    #chosen = { member: 0, token: 0 };

    /**
     * @param {State} state
     * @param {(run: number, prompt: number) => Promise<unknown>} inspect asks the trainer for a group
     */
    constructor(state, inspect) {
        this.#state = state;
        this.#inspect = inspect;
        this.#run.addEventListener("change", () => this.#want(Number(this.#run.value), null));
        this.#prompt.addEventListener("change", () => this.#want(this.#wanted.run, Number(this.#prompt.value)));
        onPress("group-refresh", () => this.#ask());
        new IntersectionObserver(
            ([entry]) => {
                this.#visible = entry.isIntersecting;
                this.draw();
            },
            { rootMargin: "200px" },
        ).observe(this.#section);
    }

    /** The method to show when the next runs begin. @param {string} method */
    prefer(method) {
        this.#method = method;
    }

    draw() {
        const { runs, ready, group } = this.#state;
        fillSelect(
            this.#run,
            runs.map((run, i) => ({ value: String(i), text: methodOf(run.view.method).name })),
        );
        if (ready && ready !== this.#ready) {
            this.#ready = ready;
            this.#asked.key = "";
            const run = runs.findIndex(({ view }) => view.method === this.#method);
            this.#wanted = { run: Math.max(0, run), prompt: null };
            this.#run.value = String(this.#wanted.run);
        }
        // Ignore an answer if something else was asked for meanwhile.
        const { run, prompt } = this.#wanted;
        const kept = group !== null && !this.#fresh && runs.every((other) => !other.fresh);
        if (kept && group.run !== run) this.#wanted.run = group.run;
        if (kept) this.#run.value = String(group.run);
        const wanted = !group || kept || (group.run === run && (prompt ?? group.prompt) === group.prompt);
        if (wanted && group !== this.#drawn) this.#drawGroup(group);
        this.#run.disabled = this.#prompt.disabled = kept;
        this.#drawStatus(kept);
        const resting = this.#state.phase === "paused" || this.#state.phase === "done";
        if ((this.#visible || resting) && this.#due()) this.#ask();
    }

    /** Whether the rows must stay because someone is reading them. */
    get #held() {
        const body = byId("group-body");
        return this.#state.phase === "playing" && (body.matches(":hover") || body.contains(document.activeElement));
    }

    #due() {
        const { phase } = this.#state;
        if (!this.#fresh || phase === "loading" || phase === "error" || this.#held) return false;
        const key = this.#key();
        if (key === this.#asked.key) return false;
        return phase !== "playing" || performance.now() - this.#asked.at > PACE;
    }

    /** Whether the wanted run has a last step to inspect. */
    get #fresh() {
        return this.#state.runs[this.#wanted.run]?.fresh ?? false;
    }

    #key() {
        return [this.#state.step, this.#wanted.run, this.#wanted.prompt].join();
    }

    /** @param {number} run @param {number | null} prompt */
    #want(run, prompt) {
        this.#wanted = { run, prompt };
        this.#ask();
    }

    #ask() {
        if (!this.#fresh) return;
        this.#asked = { at: performance.now(), key: this.#key() };
        const { run, prompt } = this.#wanted;
        tellAt("group-says", null);
        this.#inspect(run, prompt ?? this.#telling() ?? 0).catch((error) => tellAt("group-says", error.complaint));
    }

    /** A prompt of the step that some rollouts solve and some don't: there the update does most. */
    #telling() {
        const { group, step } = this.#state;
        if (!group || group.run !== this.#wanted.run || group.step < step) return undefined;
        const mixed = group.prompts.findIndex(({ right, rollouts }) => right > 0 && right < rollouts);
        return mixed < 0 ? undefined : mixed;
    }

    /** @param {boolean} kept whether the group is from before a reload */
    #drawStatus(kept) {
        const { group, phase } = this.#state;
        const none = this.#fresh
            ? "Loading the group …"
            : phase === "done"
              ? "The last step is not kept after a reload; a restart opens it again."
              : "It opens after the next step.";
        const what = kept ? ", as before the reload; others open after the next step" : "";
        const text = !group ? none : `Step ${group.step}${what}${this.#held ? ", held while you look" : ""}`;
        write(byId("group-status"), text);
    }

    /** @param {GroupView | null} group */
    #drawGroup(group) {
        const before = this.#drawn;
        this.#drawn = group;
        byId("group-body").hidden = !group;
        if (!group) {
            this.#prompt.replaceChildren();
            return;
        }
        fillSelect(
            this.#prompt,
            group.prompts.map((prompt, i) => ({
                value: String(i),
                text: `${prompt.suite}  ${question(prompt.text)}  (${prompt.rollouts ? `${prompt.right} of ${prompt.rollouts} right` : "no rollouts"})`,
            })),
        );
        this.#prompt.value = String(group.prompt);
        const { suite, text } = group.prompts[group.prompt];
        byId("group-question").replaceChildren(
            h("span", { class: "quiet" }, `${suite} `),
            h("b", { class: "mono", title: text }, question(text)),
            h("span", { class: "quiet" }, " right answer "),
            h("b", { class: "mono" }, group.answer),
        );
        const head = h(
            "div",
            { role: "row", class: "member head" },
            ...["", "response", "reward", "Â", "H", "weight"].map((name) =>
                h("div", { role: "columnheader" }, name || h("span", { class: "hidden" }, "who")),
            ),
        );
        byId("group-rows").replaceChildren(head, ...group.members.map((member, i) => this.#row(member, i)));
        const same = before?.run === group.run && before.step === group.step && before.prompt === group.prompt;
        if (!same) this.#chosen = mostMoved(group);
        this.#choose(this.#chosen.member, this.#chosen.token);
        // The first prompt was not chosen by the visitor: show a more telling one, if there is one.
        if (this.#wanted.prompt === null && group.prompt === 0 && this.#fresh && this.#telling()) this.#ask();
    }

    /** @param {Member} member @param {number} index */
    #row(member, index) {
        const demonstration = member.role === "demonstration";
        const who = demonstration ? "demonstration" : `rollout ${index + 1}`;
        const { right } = member;
        const tokens = member.tokens.map((token) => ({
            text: token.text,
            says: `${token.given ? "given, " : ""}Δ ln p ${signed(token.logp_after - token.logp, 2)}`,
            given: token.given,
            shade: (token.logp_after - token.logp) / FULL_NATS,
        }));
        const weight = h(
            "div",
            { role: "cell", class: member.weight_applies ? "weight" : "weight idle" },
            h("span", { class: "what", "aria-hidden": true }, demonstration ? "w_SFT" : "w_RL"),
            fixed(member.weight, 3),
            h("span", { class: "hidden" }, member.weight_applies ? "" : ", it multiplies nothing here"),
        );
        if (!member.weight_applies) weight.title = "It multiplies nothing here.";
        const value = (/** @type {string} */ what, /** @type {string} */ text) =>
            h("div", { role: "cell", class: "value" }, h("span", { class: "what", "aria-hidden": true }, what), text);
        return h(
            "div",
            { role: "row", class: `member ${demonstration ? "demonstration" : ""}` },
            h(
                "div",
                { role: "rowheader", class: "who" },
                h("span", { class: right ? "verdict right" : "verdict wrong", "aria-hidden": true }, right ? "✓" : "✗"),
                who,
                h("span", { class: "hidden" }, right ? ", right" : ", wrong"),
                member.truncated ? h("span", { class: "quiet" }, " cut") : "",
            ),
            h(
                "div",
                { role: "cell", class: "response" },
                tokenRow(
                    `tokens of ${who}`,
                    tokens,
                    (t) => this.#preview(index, t),
                    (t) => this.#choose(index, t),
                ),
            ),
            value("reward", member.reward === null ? "–" : signed(member.reward, Math.abs(member.signed) < 1 ? 2 : 0)),
            value("Â", signed(member.advantage, 2)),
            value("H", fixed(member.entropy, 2)),
            weight,
        );
    }

    /** @param {number} member @param {number} token */
    #preview(member, token) {
        const view = this.#drawn?.members[member]?.tokens[token];
        if (view) byId("token-candidates").replaceChildren(...candidates(view));
    }

    /** @param {number} m @param {number} t */
    #choose(m, t) {
        const group = this.#drawn;
        const member = group?.members[m];
        const token = member?.tokens[t];
        if (!group || !member || !token) return;
        this.#chosen = { member: m, token: t };
        this.#preview(m, t);
        const settings = this.#state.runs[group.run]?.view.settings ?? {};
        const rows = byId("group-rows").querySelectorAll(".member:not(.head)");
        rows.forEach((row, i) =>
            row
                .querySelectorAll(".token")
                .forEach((element, j) => element.setAttribute("aria-pressed", String(i === m && j === t))),
        );
        write(
            byId("token-title"),
            `${member.role === "demonstration" ? "Demonstration" : `Rollout ${m + 1}`}, ${token.given ? "given " : ""}token ${t + 1}: ${visible(token.text)}`,
        );
        byId("token-title").setAttribute("aria-label", `Token ${t + 1}, ${spoken(token.text)}`);
        byId("token-terms").replaceChildren(...formulas(group, settings, member, token));
    }
}

/** The token that the update moved most. @param {GroupView} group */
function mostMoved({ members }) {
    let most = { member: 0, token: 0, by: -1 };
    members.forEach(({ tokens }, member) =>
        tokens.forEach(({ logp, logp_after }, token) => {
            const by = Math.abs(logp_after - logp);
            if (by > most.by) most = { member, token, by };
        }),
    );
    return { member: most.member, token: most.token };
}
