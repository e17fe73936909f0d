// The task's problems: what they look like, and which answers are right.

/** @typedef {import("../package/protocol.js").Answer} Answer */

const sorted = (/** @type {string} */ digits) => [...digits].sort().join("");

/** The eight suites, as crates/formats/src/data/builtin has them: the shape of a prompt, and its answer. @type {[RegExp, (...parts: any[]) => string | number][]} */
const SHAPES = [
    [/^(\d\d?)\+(\d\d?)=$/, (a, b) => +a + +b],
    [/^(\d\d?)-(\d\d?)=$/, (a, b) => +a - +b],
    [/^(\d\d?)\*(\d)=$/, (a, b) => a * b],
    [/^(\d{1,3})%(\d)=$/, (a, b) => a % b],
    [/^s(\d{4})=$/, (n) => sorted(n)],
    [/^(\d\d)\+(\d\d)-(\d\d)=$/, (a, b, c) => +a + +b - c],
    [/^(\d\d)\+(\d)\*(\d)=$/, (a, b, c) => +a + b * c],
    [/^s(\d{3})%(\d)=$/, (n, m) => +sorted(n) % m],
];

/**
 * The right answer to a prompt; null if it is not a problem of the task.
 * @param {string} prompt
 * @returns {string | null}
 */
export function answerTo(prompt) {
    for (const [shape, solve] of SHAPES) {
        const parts = shape.exec(prompt);
        const answer = parts && String(solve(...parts.slice(1)));
        if (answer !== null) return /^\d+$/.test(answer) ? answer : null; // no negative numbers, no n % 0
    }
    return null;
}

/**
 * Splits a response in two: the working, and the answer after the marker.
 * @param {Answer} answer
 */
export function read({ tokens }) {
    const text = tokens
        .map((token) => token.text)
        .filter((text) => !/^<.+>$|^\$$/.test(text)) // end of text
        .join("");
    const marker = text.indexOf(">");
    return marker < 0 ? { working: text, answer: "" } : { working: text.slice(0, marker), answer: text.slice(marker + 1) };
}

/**
 * Whether a response is right, judged as the verifier does: by what follows the one marker.
 * @param {string} prompt
 * @param {Answer} answer
 * @returns {boolean | null} null if the prompt is not a problem of the task
 */
export function isRight(prompt, answer) {
    const right = answerTo(prompt);
    return right === null ? null : !answer.truncated && read(answer).answer === right;
}
