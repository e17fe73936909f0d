// Ranges and ticks of an axis, and the index of a step among a line's points.

/**
 * Index of the last point at or before a step (null: the last point); −1 if there is none.
 * @param {number[]} x
 * @param {number | null} step
 */
export function indexAt(x, step) {
    let i = x.length - 1;
    if (step !== null) while (i >= 0 && x[i] > step) i--;
    return i;
}

/**
 * A range that covers the least range and all values, rounded outwards.
 * @param {[number, number]} least
 * @param {{ y: number[], raw?: number[] }[]} lines
 * @returns {[number, number]}
 */
export function covering([low, high], lines) {
    for (const { y, raw } of lines) {
        for (const value of raw ?? y) {
            if (value < low) low = value;
            if (value > high) high = value;
        }
    }
    const unit = niceStep(high - low, 4);
    return [Math.floor(low / unit + 1e-9) * unit, Math.ceil(high / unit - 1e-9) * unit];
}

/** 1, 2 or 5 times a power of ten. @param {number} span @param {number} parts */
function niceStep(span, parts) {
    const rough = span / Math.max(1, parts);
    const power = 10 ** Math.floor(Math.log10(rough));
    return power * ([1, 2, 5].find((m) => m * power >= rough - 1e-9) ?? 10);
}

/**
 * Round values in a range, about `most` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} most
 */
export function ticks(low, high, most) {
    const unit = niceStep(high - low, most);
    const values = [];
    for (let i = Math.ceil(low / unit - 1e-9); i * unit <= high + 1e-9 * unit; i++)
        values.push(Number((i * unit).toPrecision(12)));
    return values;
}
