// The bar that is always in sight: what computes, how far it is, and the buttons that move it.

import { button, byId, write } from "./dom.js";
import { fixed } from "./format.js";

/** @typedef {import("./state.js").State} State */

const PHASES = {
    loading: "loading the trainer and testing its kernels …",
    ready: "ready",
    playing: "playing",
    paused: "paused",
    done: "done",
    error: "stopped by an error",
};

/** @param {number} speed steps a second */
const pace = (speed) =>
    speed < 0.5 ? `${fixed(1 / speed, 1)} s a step` : `${fixed(speed, speed < 10 ? 1 : 0)} steps/s`;

/** @param {State} state @param {boolean} changed whether settings wait for a restart */
export function drawStatus(state, changed) {
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
    button("play").disabled = !movable;
    button("step").disabled = !movable || playing;
    button("restart").disabled = loading;
    write(byId("restart-text"), changed ? "Restart to apply" : "Restart");
    byId("restart").classList.toggle("due", changed);
    byId("progress").style.setProperty("--share", steps ? (step / steps).toFixed(4) : "0");
    write(byId("phase"), PHASES[phase]);
    write(byId("step-count"), ready && !loading ? `step ${step} of ${steps}` : "");
    const speed = playing ? state.speed : null;
    write(byId("speed"), speed === null ? "" : pace(speed));
}

/** What computes, and that it computes rightly. @param {State} state */
export function drawDevice({ ready, phase }) {
    if (!ready) {
        write(byId("adapter"), phase === "error" ? "no trainer" : "looking for a GPU …");
        return;
    }
    const { adapter, self_test: kernels, model } = ready;
    const cpu = adapter.backend === "flex";
    write(
        byId("adapter"),
        cpu ? `CPU (SIMD)` : `${adapter.backend === "webgpu" ? "WebGPU" : adapter.backend} · ${adapter.name}`,
    );
    byId("adapter").title = adapter.reason;
    write(
        byId("device-note"),
        adapter.is_gpu
            ? ""
            : cpu
              ? "No GPU is in use here; on one it would go faster."
              : "This GPU is computed by the CPU: good for a test, slow for training.",
    );
    const count = kernels.length;
    write(
        byId("self-test"),
        count ? `self-test: ${count} kernel${count === 1 ? "" : "s"} passed` : "self-test: no kernels on this device",
    );
    byId("self-test").title = kernels.join(", ");
    write(
        byId("model"),
        `${model.parameters.toLocaleString("en-GB")} parameters, ${model.layers} layers, width ${model.hidden}, ${model.vocabulary} symbols`,
    );
    write(byId("max-entropy"), `ln ${model.vocabulary} = ${fixed(Math.log(model.vocabulary), 2)}`);
}
