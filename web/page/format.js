// Numbers and tokens as people read them.

/** A true minus instead of a hyphen. @param {string} text */
const minus = (text) => text.replace(/-/g, "−");

/**
 * Fixed decimals.
 * @param {number} x
 * @param {number} digits
 */
export function fixed(x, digits) {
    const text = x.toFixed(digits);
    return minus(Number(text) === 0 ? text.replace("-", "") : text);
}

/**
 * Fixed decimals with a sign, also +.
 * @param {number} x
 * @param {number} digits
 */
export function signed(x, digits) {
    const text = fixed(x, digits);
    return text.startsWith("−") || Number(text) === 0 ? text : `+${text}`;
}

/**
 * Four significant digits: enough that the numbers of a formula multiply out to its result.
 * @param {number} x
 */
export function significant(x) {
    return minus(String(Number(x.toPrecision(4))));
}

/** A count, with separators between thousands. @param {number} n */
export const grouped = (n) => n.toLocaleString("en-GB");

/** Bytes. @param {number} bytes */
export const size = (bytes) => (bytes < 1e9 ? `${fixed(bytes / 1e6, bytes < 1e7 ? 1 : 0)} MB` : `${fixed(bytes / 1e9, 1)} GB`);

/** Accuracy in percent. @param {number} share */
export const percent = (share) => fixed(100 * share, 1);

/** A probability. @param {number} p */
export function probability(p) {
    if (p > 0.9995 && p < 1) return ">0.999";
    if (p < 0.0005 && p > 0) return "<0.001";
    return fixed(p, 3);
}

/** A chat template's marks, as `<|im_start|>`, `<start_of_turn>`, `[INST]`. */
const MARKS = /<\|?[\w ]+\|?>|<\/?s>|\[\/?INST\]/;
/** Whose turn it is, as templates write it. */
const ROLE = /^(system|developer|user|human|assistant|model)\s*(\n|$)/i;

/**
 * What is asked in a prompt: of a conversation the last message.
 * @param {string} prompt
 */
export function question(prompt) {
    const parts = prompt.split(MARKS).map((part) => part.trim().replace(ROLE, "").trim());
    return parts.filter(Boolean).at(-1) ?? prompt;
}

/**
 * A token made visible: white space and end-of-text get a sign.
 * @param {string} text
 */
export function visible(text) {
    if (/^<.*>$|^\$$/.test(text)) return "■";
    return text.replace(/ /g, "␣").replace(/\n/g, "⏎") || "∅";
}

/** A token as words, for screen readers. @param {string} text */
export function spoken(text) {
    const shown = visible(text);
    if (shown === "■") return "end of text";
    return shown === "␣" ? "space" : text;
}
