// One trainer in a worker of its own, as a page would have it: commands in, results out.

const sides = {
    srft: () => import("./srft.js"),
    "jax-js": () => import("./jax.js"),
    "TensorFlow.js": () => import("./tensorflow.js"),
};
let trainer;

const commands = {
    async open({ side, ...rest }) {
        trainer = await (await sides[side]()).open(rest);
    },
    step: () => trainer.step(),
    method: async (request) => (await sides.srft()).method(request),
};

onmessage = async ({ data: { command, ...rest } }) => {
    try {
        postMessage({ result: await commands[command](rest) });
    } catch (error) {
        postMessage({ error: error?.stack ?? String(error) });
    }
};
