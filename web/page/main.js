// The page's wiring: the trainer's events → state → what has to be drawn; the visitor → commands.
//
// Elements whose ids are stable: #play #step #restart (buttons), #phase #step-count #speed
// #adapter #self-test (status), #example-prompt #example-answers #example-next #verdict #again, #copy-link
// #share-link #copy-embed #embed-code, #why (details), #cursor (slider over steps) #follow, #chart-accuracy-in #chart-accuracy-out #chart-shift #chart-reward #chart-entropy
// #chart-weights (figures: an svg with g.series[data-series][data-points] > .line, .mark;
// button.as-table), #probe #strip-table (one row for the base, one a run; td.shaded), #group-run
// #group-prompt #group-refresh #group-rows (.member, button.token) #token-candidates #token-terms
// (<data value> holds exact numbers), #suite #examples #evaluate #scores, #prompt #ask-button #answers,
// #save #load #continued #start-anew, #errors (role alert), #ask-says #evaluate-says #files-say
// #group-says (what went wrong there), #announcer (live), #presets a, #methods input, #set-KEY
// (settings.js), #weights-exp #weights-one, #device, #lesson. On <html>: data-state (loading | ready |
// playing | paused | done | error), data-step, and data-scripts once the page is wired.

import { Trainer, TrainerError } from "./srft/client.js";
import { announce, complain, evaluationSays, forget, tellAt } from "./announce.js";
import { Ask } from "./ask.js";
import { Charts } from "./charts.js";
import { isAt, isOf, noteContinued, offerFiles } from "./checkpoints.js";
import { Controls } from "./controls.js";
import { byId, goTo, onPress, painter, write } from "./dom.js";
import { Example } from "./example.js";
import { explain } from "./glossary.js";
import { Group } from "./group.js";
import { drawLesson, drawNow } from "./lesson.js";
import { methodOf } from "./methods.js";
import { presetOf } from "./presets.js";
import { Scores } from "./scores.js";
import { drawSharing, offerSharing } from "./share.js";
import { isRunning, startOf } from "./start.js";
import { State } from "./state.js";
import { drawDevice, drawStatus } from "./status.js";
import { Strip } from "./strip.js";
import { TabStore, keepGroup, keptGroup } from "./tabs.js";
import { offerTheme } from "./theme.js";
import { tellTroubles } from "./troubles.js";
import { effective, read, write as addressText } from "./url.js";
import { verdictOf } from "./verdict.js";

/** @typedef {import("../package/index.js").Checkpoint} Checkpoint */
/** @typedef {import("./url.js").Address} Address */
/** @typedef {import("./start.js").Ready} Ready */

const state = new State();
const store = new TabStore();
const trainer = Trainer.connect({ store, beside: () => state.keepsake });
/** How much of the trainer is downloaded. @type {import("./status.js").Download | null} */
let download = null;
/** When the trainer last sent something, or was told to begin, ms. */
let heard = performance.now();
/** What only the page knew of the runs before the present ones. @type {import("./state.js").Keepsake} */
let before = { strips: [] };
/** What the controls show. @type {Address} */
let draft = read(location.hash);
/** The present runs' settings, as an address; null before the first runs. @type {string | null} */
let applied = null;
/** Counts calls of `begin`: one that a later call has overtaken does nothing more. */
let beginnings = 0;

const isChanged = () => applied !== null && addressText(draft) !== applied;

const paint = painter({
    status: () => {
        drawStatus(state, isChanged(), download, (performance.now() - heard) / 1000);
        const verdict = verdictOf(state);
        byId("again").hidden = verdict === null;
        const soon = "What was seen will be said here, after about two minutes on a CPU.";
        write(/** @type {Element} */ (byId("verdict").firstElementChild), verdict ?? soon);
    },
    device: () => drawDevice(state),
    example: () => example.draw(),
    charts: () => {
        charts.draw();
        drawNow(running(), now);
    },
    cursor: () => {
        charts.drawCursor();
        strip.draw();
    },
    strip: () => strip.draw(),
    group: () => group.draw(),
    scores: () => scores.draw(),
    answers: () => ask.draw(),
    controls: () => {
        controls.draw(draft);
        drawLesson(running(), now);
        drawSharing(addressText(running()));
    },
});

const charts = new Charts(
    state,
    () => paint("cursor"),
    () => paint("charts"),
);
const now = (/** @type {string} */ chart) => charts.says(chart);
/** The address of the present runs. */
const running = () => (applied === null ? draft : read(applied));
const strip = new Strip(state, () => paint("strip"));
const group = new Group(state, (run, prompt) => trainer.inspect(run, prompt));
const scores = new Scores(state, trainer, () => paint("status", "scores"));
const ask = new Ask(state, (prompt, temperature) => trainer.ask(prompt, temperature));
const example = new Example(state, (prompt) => trainer.ask(prompt));
const controls = new Controls((address) => {
    draft = address;
    paint("controls", "status");
});

for (const type of /** @type {const} */ (["ready", "state", "step", "strip", "evaluation", "evaluating", "group"])) {
    trainer.on(type, (event) => {
        heard = performance.now();
        const was = state.phase;
        if (event.type === "ready") before = state.keepsake;
        paint(...state.receive(event, performance.now()));
        if (event.type === "evaluation" && !event.asked) milestone(evaluationSays(state));
        if (state.phase === "done" && was !== "done") {
            paint("example");
            milestone(`Done: ${state.step} steps of every run. ${evaluationSays(state) ?? ""}`);
        }
    });
}
trainer.on("loading", (event) => {
    heard = performance.now();
    download = event;
    paint("status");
});
tellTroubles(trainer, ["ask", "evaluate", "inspect", "save", "load"], {
    device: () => effective(running()).dev,
    recovered: () => paint(...state.restore(before, null), "device", "example"),
    failed: fail,
});

/** @param {string | null} text */
function milestone(text) {
    if (!text) return;
    announce(text);
    charts.describe();
}

function fail() {
    state.phase = "error";
    state.pausing = false;
    paint("status", "device", "group");
}

/**
 * The stored checkpoint of runs with this address, from this tab or from a closed one.
 * @param {Address} address
 * @returns {Promise<{ kept: Checkpoint | undefined, note: string }>}
 */
async function keptOf(address) {
    try {
        const own = await store.get();
        if (isOf(own, address)) return { kept: own, note: "" };
        const { found, elsewhere } = await store.inherit((url) => isAt(url, address));
        const note = "Another tab runs the same; this one has runs of its own.";
        return { kept: found, note: elsewhere ? note : "" };
    } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return { kept: undefined, note: `What this browser may have kept cannot be read: ${why}. The runs start anew.` };
    }
}

/**
 * Starts the runs that the draft describes, or resumes them from a checkpoint, and plays.
 * @param {{ anew?: boolean }} [how]
 */
async function begin({ anew = true } = {}) {
    const mine = ++beginnings;
    const address = draft;
    const device = effective(address).dev ?? "auto";
    applied = addressText(address);
    heard = performance.now();
    group.prefer(presetOf(address.preset)?.run ?? "srft");
    state.phase = "loading";
    forget();
    noteContinued("", null);
    paint("status", "device", "controls");
    try {
        // This also ends an earlier `begin` that hangs.
        if (mine > 1) await trainer.stop();
        let { kept, note } = anew ? { kept: undefined, note: "" } : await keptOf(address);
        if (mine !== beginnings) return;
        state.phase = "loading";
        let ready = kept ? await trainer.load(kept.bytes, device).catch(damaged) : null;
        if (ready instanceof TrainerError) {
            note = `The kept runs cannot be read (${ready.complaint.what}); these start anew.`;
            ready = null;
        }
        if (mine !== beginnings) return;
        if (ready && isRunning(ready, address)) {
            paint(...state.restore(/** @type {any} */ (kept?.beside), keptGroup(applied)));
            noteContinued(`Continued from step ${ready.step}, as this browser had kept it.`, () => begin());
        } else {
            forget();
            ready = await trainer.start(startOf(address));
            if (mine === beginnings) noteContinued(note, null);
        }
        if (mine === beginnings) begun(ready, presetOf(address.preset)?.title);
    } catch {
        // An error event has shown what went wrong.
        if (mine === beginnings) fail();
    }
}

/** Whether an error says that the file cannot be read; any other error is thrown. @param {unknown} error */
function damaged(error) {
    if (error instanceof TrainerError && !error.complaint.fatal) return error;
    throw error;
}

/** @param {Ready} ready @param {string} [title] of the preset */
function begun(ready, title) {
    controls.learn(ready, effective(draft));
    paint("device", "controls", "status");
    const names = ready.runs.map((run) => methodOf(run.method).name).join(", ");
    milestone(`${title ? `${title}. ` : ""}Training starts: ${names}, ${ready.steps} steps, on ${ready.adapter.name}.`);
    if (ready.step < ready.steps) trainer.send({ type: "resume" });
    else state.phase = "done";
}

/** @param {Uint8Array} bytes @param {string} name */
async function loadFile(bytes, name) {
    const mine = ++beginnings;
    const was = state.phase;
    const hadRuns = state.ready !== null && was !== "error";
    try {
        if (was === "playing") await trainer.pause();
        state.phase = "loading";
        forget();
        paint("status");
        const ready = await trainer.load(bytes, effective(draft).dev ?? "auto");
        if (mine !== beginnings) return;
        draft = controls.addressOf(ready);
        applied = addressText(draft);
        history.pushState(null, "", `#${applied}`);
        trainer.keep(); // with this address: a reload finds it
        noteContinued(`Loaded ${name}: at step ${ready.step} of ${ready.steps}, with the file’s settings.`, null);
        paint("device", "controls", "status");
        milestone(`Loaded ${name}, step ${ready.step}.`);
    } catch (error) {
        if (mine !== beginnings) return;
        if (error instanceof TrainerError) tellAt("files-say", error.complaint);
        // A file that is not a saved run leaves the present runs as they were.
        const harmless = hadRuns && error instanceof TrainerError && !error.complaint.fatal;
        if (harmless) state.phase = was === "playing" ? "paused" : was;
        else fail();
        paint("status");
    }
}

/** Makes the address the draft, and shows which of its parts are ignored. @param {string} hash */
function takeAddress(hash) {
    const { unknown, ...address } = read(hash);
    draft = address;
    return () => {
        if (unknown.length === 0) return;
        complain({
            what: `The address has settings that this page does not take: ${unknown.join(", ")}`,
            place: "after the # in the address",
            next: "they were ignored; the rest applies",
        });
    };
}

byId("settings-form").addEventListener("submit", (event) => event.preventDefault());
onPress("play", () => {
    state.pausing = state.phase === "playing";
    trainer.send({ type: state.pausing ? "pause" : "resume" });
    paint("status");
});
onPress("step", () => trainer.send({ type: "step" }));
onPress("restart", () => {
    if (isChanged()) history.pushState(null, "", `#${addressText(draft)}`);
    begin();
});
onPress("again", () => {
    const seed = Number(effective(draft).seed ?? state.runs[0]?.view.settings["run.seed"] ?? 0);
    draft = { ...draft, own: { ...draft.own, seed: String(seed + 1) } };
    history.pushState(null, "", `#${addressText(draft)}`);
    begin();
});
// Presets are links: they go into the history, and scroll to the lesson and what it is about.
document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest?.("a");
    const hash = link?.getAttribute("href") ?? "";
    if (!link || !hash.startsWith("#") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.classList.contains("word") && explain(link)) return;
    if (!hash.startsWith("#preset=")) return goTo(byId(hash.slice(1)));
    draft = read(hash);
    if (location.hash !== hash) history.pushState(null, "", hash);
    begin();
    drawLesson(draft, now);
    goTo(byId("lesson"));
});
addEventListener("popstate", () => {
    const tell = takeAddress(location.hash);
    if (addressText(draft) !== applied) begin().then(tell);
    else tell();
});
setInterval(() => paint("status"), 5000); // silence is told, too
addEventListener("pagehide", () => keepGroup(applied, state.group));

offerTheme();
offerSharing(() => addressText(running()));
offerFiles(() => trainer.save(), loadFile);
const tell = takeAddress(location.hash);
begin({ anew: false }).then(tell);
document.documentElement.dataset.scripts = "wired";
