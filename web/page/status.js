// The status bar: the device, the progress, and the buttons to play, step and restart.

import { button, byId, enable, write } from "./dom.js";
import { fixed, grouped } from "./format.js";

/** @typedef {import("./state.js").State} State */

const PHASES = {
    loading: "testing the trainer’s kernels on this device …",
    ready: "ready",
    playing: "playing",
    paused: "paused",
    done: "done",
    error: "stopped by an error",
};

/** @param {number} speed steps a second */
const pace = (speed) =>
    speed < 0.5 ? `${fixed(1 / speed, 1)} s per step` : `${fixed(speed, speed < 10 ? 1 : 0)} steps/s`;

/** The page's name, before which its title tells how far the runs are. */
const NAME = document.title;

/** Seconds without progress or any message, after which the visitor is told what to do. */
const STALLED = 15;
const SILENT = 60;

/** @param {State} state @param {Download | null} download @param {number} silence s */
function phaseOf({ phase, base, step, pausing, evaluating }, download, silence) {
    if (phase === "loading" && (download === null || download.loaded < download.total)) {
        const far = download && `, ${megabytes(download.loaded)} of ${megabytes(download.total)} MB`;
        const stalled = silence > STALLED ? `; no data for ${fixed(silence, 0)} s, Restart tries again` : " …";
        return `loading the trainer${far ?? ""}${stalled}`;
    }
    if (phase === "playing" && silence > SILENT && !pausing) {
        return `playing, but silent for ${fixed(silence, 0)} s; Pause goes back to the last checkpoint`;
    }
    if (pausing) return "pausing after this step …";
    if (evaluating) return `evaluating, ${grouped(evaluating.done)} of ${grouped(evaluating.of)} problems …`;
    if (phase === "playing" && step === 0 && !base) return "playing, the base is evaluated first …";
    return PHASES[phase];
}

const megabytes = (/** @type {number} */ bytes) => fixed(bytes / 1e6, 1);

/** @typedef {{ loaded: number, total: number }} Download */

/**
 * @param {State} state
 * @param {boolean} changed whether changed settings wait for a restart
 * @param {Download | null} download until the trainer is loaded
 * @param {number} silence since the trainer last sent something, s
 */
export function drawStatus(state, changed, download, silence) {
    const { phase, ready } = state;
    const loading = phase === "loading";
    const step = loading ? 0 : state.step;
    const { dataset } = document.documentElement;
    dataset.state = phase;
    dataset.step = String(step);
    const steps = ready?.steps ?? 0;
    const playing = phase === "playing";
    const movable = ready !== null && (phase === "playing" || phase === "paused" || phase === "ready");
    byId("play").setAttribute("data-icon", playing ? "pause" : "play");
    write(byId("play-text"), playing ? "Pause" : "Play");
    enable(button("play"), movable);
    enable(button("step"), movable && !playing);
    write(byId("restart-text"), changed ? "Restart to apply" : "Restart");
    byId("restart").classList.toggle("due", changed);
    const share = loading && download ? Math.min(1, download.loaded / download.total) : steps ? step / steps : 0;
    byId("progress").style.setProperty("--share", share.toFixed(4));
    write(byId("phase"), phaseOf(state, download, silence));
    document.title = steps && !loading && phase !== "error" ? `${step}/${steps} · ${NAME}` : NAME;
    write(byId("step-count"), ready && !loading ? `step ${step} of ${steps}` : "");
    const speed = playing ? state.speed : null;
    write(byId("speed"), speed === null ? "" : pace(speed));
}

/** The device, and that its kernels passed their self-test. @param {State} state */
export function drawDevice({ ready, phase }) {
    if (!ready) {
        write(byId("adapter"), phase === "error" ? "no trainer" : "looking for a GPU …");
        return;
    }
    const { adapter, self_test: kernels, share, model } = ready;
    const cpu = adapter.backend === "flex";
    const workers = share.of > 1 ? `, ${share.of} workers` : "";
    write(
        byId("adapter"),
        cpu ? `CPU (SIMD${workers})` : `${adapter.backend === "webgpu" ? "WebGPU" : adapter.backend} · ${adapter.name}`,
    );
    byId("adapter").title = adapter.reason;
    write(
        byId("device-note"),
        adapter.is_gpu
            ? ""
            : cpu
              ? "No GPU in use."
              : "This GPU is software on the CPU: good for a test, slow for training.",
    );
    const count = kernels.length;
    write(
        byId("self-test"),
        count ? `self-test: ${count} kernel${count === 1 ? "" : "s"} passed` : "self-test: no kernels on this device",
    );
    byId("self-test").title = kernels.join(", ");
    write(
        byId("model"),
        `${grouped(model.parameters)} parameters, ${model.layers} layers, width ${model.hidden}, ${model.vocabulary} symbols`,
    );
    write(byId("max-entropy"), `ln ${model.vocabulary} = ${fixed(Math.log(model.vocabulary), 2)}`);
}
