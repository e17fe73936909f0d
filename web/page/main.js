// The page's wiring: events of the trainer → state → what is due to be drawn; the visitor → commands.
//
// Elements that stay under their ids: #play #step #restart (buttons), #phase #step-count #speed
// #adapter #self-test (status), #cursor (slider over steps) #follow, #chart-accuracy-in
// #chart-accuracy-out #chart-shift #chart-reward #chart-entropy #chart-weights (figures: an svg with
// g.series[data-series][data-points] > .line, .mark; button.as-table), #probe #strip-table (one row
// for the base, one a run; td.shaded), #group-run #group-prompt #group-refresh #group-rows (.member,
// button.token) #token-candidates #token-terms (<data value> holds exact numbers), #suite #examples
// #evaluate #scores, #prompt #ask-button #answers, #save #load #continued #start-anew,
// #errors (role alert), #announcer (live), #presets a, #methods input, #set-KEY (settings.js),
// #weights-exp #weights-one, #device, #lesson. On <html>: data-state (loading | ready | playing |
// paused | done | error) and data-step.

import { Trainer, TrainerError } from "./srft/client.js";
import { announce, complain, evaluationSays, forget, reassure } from "./announce.js";
import { Ask } from "./ask.js";
import { Charts } from "./charts.js";
import { isOf, noteContinued, offerFiles } from "./checkpoints.js";
import { Controls } from "./controls.js";
import { button, byId, goTo, painter } from "./dom.js";
import { Group } from "./group.js";
import { methodOf } from "./methods.js";
import { presetOf } from "./presets.js";
import { Scores } from "./scores.js";
import { isRunning, startOf } from "./start.js";
import { State } from "./state.js";
import { drawDevice, drawStatus } from "./status.js";
import { Strip } from "./strip.js";
import { offerTheme } from "./theme.js";
import { effective, read, write } from "./url.js";

/** @typedef {import("./url.js").Address} Address */
/** @typedef {import("./start.js").Ready} Ready */

const trainer = Trainer.connect();
const state = new State();
/** What the controls show. @type {Address} */
let draft = read(location.hash);
/** What the present runs were started with, as an address; none before the first. @type {string | null} */
let applied = null;
/** Counts beginnings: one that was overtaken by a later one does nothing more. */
let beginnings = 0;

const isChanged = () => applied !== null && write(draft) !== applied;

const paint = painter({
    status: () => drawStatus(state, isChanged()),
    device: () => drawDevice(state),
    charts: () => charts.draw(),
    cursor: () => {
        charts.drawCursor();
        strip.draw();
    },
    strip: () => strip.draw(),
    group: () => group.draw(),
    scores: () => scores.draw(),
    answers: () => ask.draw(),
    controls: () => controls.draw(draft),
});

const charts = new Charts(
    state,
    () => paint("cursor"),
    () => paint("charts"),
);
const strip = new Strip(state, () => paint("strip"));
const group = new Group(state, (run, prompt) => trainer.send({ type: "inspect", run, prompt }));
const scores = new Scores(state, async (suites, examples) => {
    await trainer.evaluate(examples, suites).catch(() => {});
    scores.wait(false);
    announce("The evaluation is done; its results are in the table.");
});
const ask = new Ask(state, async (prompt, temperature) => {
    await trainer.ask(prompt, temperature).catch(() => {});
    ask.wait(false);
});
const controls = new Controls((address) => {
    draft = address;
    paint("controls", "status");
});

for (const type of /** @type {const} */ (["ready", "state", "step", "strip", "evaluation", "group", "sample"])) {
    trainer.on(type, (event) => {
        const was = state.phase;
        paint(...state.receive(event, performance.now()));
        if (event.type === "evaluation" && !event.asked) milestone(evaluationSays(state));
        if (state.phase === "done" && was !== "done") milestone(`Done: ${state.step} steps of every run.`);
    });
}
trainer.on("error", (error) => {
    complain(error);
    if (error.fatal) fail();
});
trainer.on("recovered", ({ reason, step, device }) => {
    forget();
    reassure(
        `The trainer was started again, and the runs went on from step ${step}.`,
        `What had happened: ${reason.what}${device === "cpu" ? " It computes on the CPU now." : ""}`,
    );
    paint("device");
});
trainer.on("lost", ({ reason }) => {
    complain(reason);
    fail();
});

/** @param {string | null} text */
function milestone(text) {
    if (!text) return;
    announce(text);
    charts.describe();
}

function fail() {
    state.phase = "error";
    paint("status", "device", "group");
}

/**
 * Starts the runs that the draft describes, or goes on from a checkpoint of the same, and plays.
 * @param {{ anew?: boolean }} [how]
 */
async function begin({ anew = true } = {}) {
    const mine = ++beginnings;
    const address = draft;
    const device = effective(address).dev ?? "auto";
    const hadRuns = state.ready !== null && state.phase !== "error";
    applied = write(address);
    state.phase = "loading";
    forget();
    noteContinued("", null);
    paint("status", "device", "controls");
    try {
        if (hadRuns) await trainer.stop();
        const kept = anew ? undefined : await trainer.store?.get().catch(() => undefined);
        let ready = kept && isOf(kept, address) ? await trainer.load(kept.bytes, device).catch(() => null) : null;
        if (mine !== beginnings) return;
        if (ready && isRunning(ready, address)) {
            noteContinued(`Continued from step ${ready.step}, as this browser had kept it.`, () => begin());
        } else {
            forget();
            ready = await trainer.start(startOf(address));
        }
        if (mine === beginnings) begun(ready, presetOf(address.preset)?.title);
    } catch {
        // An error event has told what went wrong.
        if (mine === beginnings) fail();
    }
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
    const before = state.phase;
    const hadRuns = state.ready !== null && before !== "error";
    try {
        if (before === "playing") await trainer.pause();
        state.phase = "loading";
        forget();
        paint("status");
        const ready = await trainer.load(bytes, effective(draft).dev ?? "auto");
        if (mine !== beginnings) return;
        draft = controls.addressOf(ready);
        applied = write(draft);
        history.pushState(null, "", `#${applied}`);
        noteContinued(`Loaded ${name}: at step ${ready.step} of ${ready.steps}, with the file’s settings.`, null);
        paint("device", "controls", "status");
        milestone(`Loaded ${name}, step ${ready.step}.`);
    } catch (error) {
        if (mine !== beginnings) return;
        // A file that is none leaves the runs as they were.
        const harmless = hadRuns && error instanceof TrainerError && !error.complaint.fatal;
        if (harmless) state.phase = before === "playing" ? "paused" : before;
        else fail();
        paint("status");
    }
}

byId("settings-form").addEventListener("submit", (event) => event.preventDefault());
button("play").addEventListener("click", () => trainer.send({ type: state.phase === "playing" ? "pause" : "resume" }));
button("step").addEventListener("click", () => trainer.send({ type: "step" }));
button("restart").addEventListener("click", () => {
    if (isChanged()) history.pushState(null, "", `#${write(draft)}`);
    begin();
});
// Presets are links: they go into the history, and to the part that changes.
document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest?.("a");
    const hash = link?.getAttribute("href") ?? "";
    if (!hash.startsWith("#") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (!hash.startsWith("#preset=")) return goTo(byId(hash.slice(1)));
    draft = read(hash);
    if (location.hash !== hash) history.pushState(null, "", hash);
    begin();
    goTo(byId(presetOf(draft.preset)?.target ?? "charts"));
});
addEventListener("popstate", () => {
    draft = read(location.hash);
    if (write(draft) !== applied) begin();
});
byId("settings").toggleAttribute("open", matchMedia("(min-width: 1000px)").matches);

offerTheme();
offerFiles(() => trainer.save(), loadFile);
const { unknown } = read(location.hash);
begin({ anew: false }).then(() => {
    if (unknown.length)
        complain({
            what: `The address has settings that this page does not know: ${unknown.join(", ")}`,
            place: "after the # in the address",
            next: "they were left out; the rest holds",
        });
});
