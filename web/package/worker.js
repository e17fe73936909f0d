// The worker of the built-in model.

import * as program from "./srft.js";
import { work } from "./work.js";

// The address must be a literal: bundlers find no others.
work(program, new URL("./srft_bg.wasm", import.meta.url), 8_000_000);
