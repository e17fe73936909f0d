// What the trainer says when something goes wrong: shown, unless the panel that asked shows it; and recovery.

import { complain, forget, reassure } from "./announce.js";

/**
 * @param {import("../package/index.js").Trainer} trainer
 * @param {string[]} toldThere requests whose errors are shown in their own panels; all others are shown at the top
 * @param {{ device: () => string | undefined, recovered: () => void, failed: () => void }} page the device that was asked
 *   for; called when the runs go on, and when they can't
 */
export function tellTroubles(trainer, toldThere, { device: wanted, recovered, failed }) {
    trainer.on("error", (error) => {
        if (!error.of || !toldThere.includes(error.of) || error.fatal) complain(error);
        if (error.fatal) failed();
    });
    trainer.on("recovered", ({ reason, step, device, sparing }) => {
        forget();
        const moved = device === "cpu" && wanted() !== "cpu" ? " It computes on the CPU now." : "";
        const slower = sparing ? " To spare memory, steps compute more again than before, and take longer." : "";
        reassure(
            `The trainer was started again, and the runs went on from step ${step}.`,
            `What had happened: ${reason.what.replace(/\.$/, "")}.${moved}${slower}`,
        );
        recovered();
    });
    trainer.on("lost", ({ reason }) => {
        complain(reason);
        failed();
    });
}
