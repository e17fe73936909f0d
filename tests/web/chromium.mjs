// How the tests and the bench start Debian's Chromium.

export const CHROMIUM = "/usr/bin/chromium";

/** No sandbox, since CI runs as root, and nothing that asks the network of its own accord. */
export const QUIET = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/** WebGPU computed by SwiftShader, on the CPU: slow, but the browser's own compiler and rules. */
export const SWIFTSHADER = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
