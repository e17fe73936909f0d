// The page for models: a model is brought and looked at, a task is chosen, and runs train adapters over it
// side by side. Panels are those of the other page.
//
// Elements whose ids are stable: #drop #file #folder #kept-models #facts #model-says #keep-model, #data-file
// #columns #verifier, #methods input, #set-KEY (setup.js), #device #needs #start #start-says, #play #step #restart,
// #prompt #ask-button #answers, #chart-reward #chart-entropy #chart-shift, #strip-table, #group-rows, #evaluate
// #scores, #save. On <html>: data-state (loading | ready | playing | paused | done | error), data-step, data-model
// (none | reading | known), and data-scripts once the page is wired.

import { Trainer } from "./srft/client.js";
import { announce, forget, tellAt } from "./announce.js";
import { drawKept, forget as forgetKept, keep, kept, modelAmong, offerBringing } from "./brought.js";
import { Charts } from "./charts.js";
import { offerChat } from "./chat.js";
import { noteContinued, offerSaving, readRuns } from "./checkpoints.js";
import { button, byId, enable, goTo, input, onPress, painter, select, write } from "./dom.js";
import { drawFacts, drawNeeds } from "./facts.js";
import { size } from "./format.js";
import { Group } from "./group.js";
import { methodOf } from "./methods.js";
import { Scores } from "./scores.js";
import { SUMS, isOwn, methods, objection, offerSetup, settings, startOf } from "./setup.js";
import { State } from "./state.js";
import { drawDevice, drawStatus } from "./status.js";
import { Strip } from "./strip.js";
import { offerTheme } from "./theme.js";
import { tellTroubles } from "./troubles.js";

/** @typedef {import("./brought.js").Brought} Brought */
/** @typedef {import("../package/protocol.js").Facts} Facts */
/** @typedef {import("../package/protocol.js").Ready} Ready */

const root = document.documentElement;
const state = new State();
const trainer = Trainer.connect({ program: "model", store: null });
/** How much of the trainer is downloaded. @type {import("./status.js").Download | null} */
let downloaded = null;
/** When the trainer last sent something, ms. */
let heard = performance.now();
/** The model that was brought. @type {{ name: string, parts: Brought[], facts: Facts } | null} */
let model = null;
/** The data that were brought. @type {string | null} */
let data = null;
/** Whether runs are being made. */
let isStarting = false;
/** Counts looks at a model: one that a later has overtaken says nothing. */
let looks = 0;

const paint = painter({
    status: () => {
        if (isStarting || state.ready) drawStatus(state, false, downloaded, (performance.now() - heard) / 1000);
        else drawWaiting();
        enable(button("restart"), state.ready !== null && !isStarting);
        enable(button("start"), model !== null && !isStarting && root.dataset.model === "known");
    },
    device: () => drawDevice(state),
    charts: () => charts.draw(),
    cursor: () => {
        charts.drawCursor();
        strip.draw();
    },
    strip: () => strip.draw(),
    group: () => group.draw(),
    scores: () => scores.draw(),
    answers: () => {},
    example: () => {},
    controls: () => {},
});

const charts = new Charts(
    state,
    () => paint("cursor"),
    () => paint("charts"),
);
const strip = new Strip(state, () => paint("strip"));
const group = new Group(state, (run, prompt) => trainer.inspect(run, prompt));
const scores = new Scores(state, trainer, () => paint("status", "scores"));

/** The bar before there are runs. */
function drawWaiting() {
    const loading = downloaded !== null && downloaded.loaded < downloaded.total;
    const share = loading && downloaded ? downloaded.loaded / downloaded.total : 0;
    byId("progress").style.setProperty("--share", share.toFixed(4));
    const waits = model ? "choose a task, and start" : "bring a model first";
    const far = downloaded && `loading the trainer, ${size(downloaded.loaded)} of ${size(downloaded.total)}`;
    write(byId("phase"), root.dataset.model === "reading" ? "reading the model …" : loading ? `${far}` : waits);
}

for (const type of /** @type {const} */ (["ready", "state", "step", "strip", "evaluation", "evaluating", "group"])) {
    trainer.on(type, (event) => {
        heard = performance.now();
        const was = state.phase;
        paint(...state.receive(event, performance.now()));
        if (state.phase === "done" && was !== "done") {
            announce(`Done: ${state.step} steps of every run.`);
            charts.describe();
        }
    });
}
trainer.on("loading", (event) => {
    heard = performance.now();
    downloaded = event;
    paint("status");
});
tellTroubles(trainer, ["bring", "look", "start", "load", "ask", "evaluate", "inspect", "save"], {
    device: () => select("device").value,
    recovered: () => paint("device"),
    failed: fail,
});

function fail() {
    state.phase = "error";
    state.pausing = isStarting = false;
    paint("status", "device", "group");
}

/** @param {unknown} error */
const complaintOf = (error) => /** @type {import("./announce.js").Refusal} */ (error).complaint ?? String(error);

/** Takes files that the visitor brought. @param {Brought[]} files */
async function take(files) {
    tellAt("model-says", null);
    const [first] = files;
    if (files.length === 1 && first.path.endsWith(".zip")) return load(first);
    if (files.length === 1 && /\.(jsonl|ndjson|json|csv)$/.test(first.path) && model) return takeData(first.file);
    const found = modelAmong(files);
    if (typeof found === "string") return tellAt("model-says", `${found}.`);
    await bring(found.model, found.parts);
}

/**
 * Brings a model to the trainer and looks at it.
 * @param {string} name
 * @param {Brought[]} parts
 */
async function bring(name, parts) {
    const mine = ++looks;
    const bytes = parts.reduce((sum, { file }) => sum + file.size, 0);
    root.dataset.model = "reading";
    write(byId("reading"), `Reading ${name}, ${size(bytes)} …`);
    byId("known").hidden = true;
    paint("status");
    try {
        await trainer.bring(SUMS);
        for (const { path, file } of parts) await trainer.bring(path, file);
        const facts = await trainer.look(name, [], "cpu");
        if (mine !== looks) return;
        model = { name, parts, facts };
        root.dataset.model = "known";
        drawFacts(facts);
        input("keep-model").checked = (await kept()).some(({ path }) => path === name);
        write(byId("keep-says"), parts.length > 1 ? "Only a GGUF file of one part can be kept." : "");
        input("keep-model").disabled = parts.length > 1 || !name.endsWith(".gguf");
        announce(`The model is ${facts.architecture}, ${size(facts.bytes)}.`);
        needs();
    } catch (error) {
        if (mine !== looks) return;
        model = null;
        root.dataset.model = "none";
        tellAt("model-says", complaintOf(error));
    }
    write(byId("reading"), "");
    paint("status");
}

/** Lists the models that the browser keeps. */
const showKept = () => drawKept((brought) => bring(brought.path, [brought]));

/** Says what the chosen runs need, or what is wrong with the choices. */
async function needs() {
    if (!model || isStarting) return;
    const wrong = objection(data);
    tellAt("start-says", wrong);
    if (wrong) return;
    const mine = looks;
    try {
        // The data are read when the runs are made.
        const chosen = settings(model.name, data).filter((setting) => !setting.startsWith("data."));
        const facts = await trainer.look(model.name, chosen, "cpu");
        if (mine === looks) drawNeeds(facts, methods().length, trainer.workers);
    } catch (error) {
        if (mine === looks) tellAt("start-says", complaintOf(error));
    }
}

/** @param {File} file */
async function takeData(file) {
    tellAt("start-says", null);
    try {
        await trainer.bring(file.name, file);
        data = file.name;
        write(byId("data-name"), `${file.name}, ${size(file.size)}`);
        const [line] = (await file.slice(0, 4096).text()).split("\n");
        write(byId("data-peek"), line);
        byId("data-peek").hidden = false;
        const own = /** @type {HTMLInputElement} */ (document.querySelector('[name="task"][value="own"]'));
        own.checked = true;
        byId("own-task").hidden = false;
        await needs();
    } catch (error) {
        tellAt("start-says", complaintOf(error));
    }
}

/**
 * Makes runs, and plays them.
 * @param {() => Promise<Ready>} make
 * @param {string} where errors are told
 */
async function begin(make, where) {
    tellAt(where, null);
    forget();
    isStarting = true;
    heard = performance.now();
    state.phase = "loading";
    paint("status");
    try {
        if (state.ready) await trainer.stop();
        state.phase = "loading";
        const ready = await make();
        isStarting = false;
        byId("running").hidden = false;
        paint("status", "device", "charts", "strip", "group", "scores");
        const names = ready.runs.map((run) => methodOf(run.method).name).join(", ");
        announce(`Training starts: ${names}, ${ready.steps} steps, on ${ready.adapter.name}.`);
        goTo(byId("chat"));
        if (ready.step < ready.steps) trainer.send({ type: "resume" });
        else state.phase = "done";
        return true;
    } catch (error) {
        isStarting = false;
        state.phase = state.ready ? "paused" : "ready";
        tellAt(where, complaintOf(error));
        paint("status");
        return false;
    }
}

/** Goes on with the runs of a zip. @param {Brought} brought */
async function load({ path, file }) {
    const bytes = await readRuns(file);
    if (typeof bytes === "string") return tellAt("model-says", bytes);
    if (await begin(() => trainer.load(bytes, select("device").value), "model-says")) noteContinued(`Loaded ${path}.`, null);
}

async function start() {
    const wrong = objection(data);
    if (!model || wrong) return tellAt("start-says", wrong);
    const { name, parts } = model;
    noteContinued("", null);
    await begin(async () => {
        // A model is let go once it is loaded: for another device it is brought again.
        if (state.ready) for (const { path, file } of parts) await trainer.bring(path, file);
        return trainer.start(startOf(name, data));
    }, "start-says");
}

offerSetup(needs);
offerChat(state, (prompt, temperature, tokens) => trainer.ask(prompt, temperature, tokens));
offerBringing(take);
offerTheme();
showKept();
byId("training").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
});
input("data-file").addEventListener("change", () => {
    const file = input("data-file").files?.[0];
    if (file) takeData(file);
    input("data-file").value = "";
});
input("keep-model").addEventListener("change", async () => {
    if (!model) return;
    const [part] = model.parts;
    write(byId("keep-says"), "…");
    if (input("keep-model").checked) write(byId("keep-says"), await keep(part));
    else {
        await forgetKept(part.path);
        write(byId("keep-says"), "");
    }
    await showKept();
});
onPress("play", () => {
    state.pausing = state.phase === "playing";
    trainer.send({ type: state.pausing ? "pause" : "resume" });
    paint("status");
});
onPress("step", () => trainer.send({ type: "step" }));
onPress("restart", start);
offerSaving(() => trainer.save({ adapters: true }));
setInterval(() => paint("status"), 5000); // silence is told, too

root.dataset.model = "none";
paint("status");
root.dataset.scripts = "wired";
fromAddress();

/** A model that the host serves: `#model=PATH`, relative to this page. */
async function fromAddress() {
    const path = new URLSearchParams(location.hash.slice(1)).get("model");
    if (!path) return;
    const url = new URL(path, location.href);
    const name = url.pathname.replace(/^.*\//, "");
    if (url.origin !== location.origin) return tellAt("model-says", `${path} is on another site; this page reads models of its own site alone.`);
    write(byId("reading"), `Fetching ${name} …`);
    try {
        const response = await fetch(url);
        if (!response.ok) throw new Error(`the server answered ${response.status}`);
        const file = new File([await response.blob()], name);
        await bring(name, [{ path: name, file }]);
    } catch (error) {
        write(byId("reading"), "");
        tellAt("model-says", `${path} could not be fetched: ${error instanceof Error ? error.message : error}.`);
    }
}
