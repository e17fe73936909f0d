// The worker of published models: another program, and a larger download.

import * as program from "./srft-model.js";
import { work } from "./work.js";

// The address must be a literal: bundlers find no others.
work(program, new URL("./srft-model_bg.wasm", import.meta.url), 12_000_000);
