// Each term of the objective for one token, with its numbers. Computed from what the trainer sent of the
// group, and compared with the trainer's own value of the term.

import { significant } from "./format.js";
import { methodOf } from "./methods.js";

/**
 * @typedef {import("../package/protocol.js").GroupView} GroupView
 * @typedef {import("../package/protocol.js").FormulaView} FormulaView
 * @typedef {import("../package/protocol.js").Member} Member
 * @typedef {import("../package/protocol.js").TokenView} TokenView
 * @typedef {Record<string, string | number | boolean | Array<string>>} Settings
 */

/**
 * @typedef {object} Composed
 * @property {string} name `L_SFT,t`
 * @property {string} equation of the paper
 * @property {string} symbols the formula
 * @property {(string | number)[]} calculation the formula with its numbers
 * @property {number} value what the calculation gives
 * @property {string | null} zero why the term is 0, if it is
 * @property {string | null} mismatch the trainer's value, if it differs
 */

/**
 * The part of `Composed` that each term computes.
 * @typedef {Pick<Composed, "symbols" | "calculation" | "value" | "zero">} Body
 */

/** @param {string} zero @returns {Body} */
const nothing = (zero) => ({ symbols: "", calculation: [], value: 0, zero });

/**
 * The terms for a token.
 * @param {FormulaView} formula
 * @param {Settings} settings of the run, `section.key` → value
 * @param {Member} member
 * @param {TokenView} token
 * @returns {Composed[]}
 */
export function termsOf(formula, settings, member, token) {
    const stage = ofStage(formula, settings);
    const terms = [
        finish("L_SFT,t", "Eq. 8", sft(formula, stage, member, token), token.terms.sft),
        finish("L_RL,demo,t", "Eqs. 9–10", demonstration(formula, stage, member, token), token.terms.rl_demo),
        finish(
            "L_self,t",
            formula.self_term === "advantage" ? "clipped ratio" : "Eqs. 11–12",
            self(formula, member, token),
            token.terms.self,
        ),
        finish("L_entropy,t", "bonus", entropyBonus(formula, member, token), token.terms.entropy),
    ];
    if (formula.kl_coeff > 0 || formula.rollout_kl > 0)
        terms.push(finish("L_KL,t", formula.kl_form, kl(formula, member, token), token.terms.kl));
    return terms;
}

/**
 * The SFT term's divisor with its share μ included, N / μ.
 * @param {FormulaView} formula
 * @param {Member} member
 */
export const sftN = (formula, member) => member.sft_normaliser / formula.sft_share;

/**
 * The other terms' divisor with their share included, N / (1 − μ).
 * @param {FormulaView} formula
 * @param {Member} member
 */
export const rlN = (formula, member) => member.normaliser / formula.rl_share;

/**
 * The settings with the switches of the stage that the step was in, for a method of two stages.
 * @param {FormulaView} formula
 * @param {Settings} settings
 * @returns {Settings}
 */
function ofStage(formula, settings) {
    const method = String(settings["objective.method"]);
    if (!["sft-grpo", "grpo-sft"].includes(method)) return settings;
    const supervised = formula.self_term === "none";
    const name = `the ${supervised ? "SFT" : "RL"} stage of ${methodOf(method).name}`;
    return { ...settings, "objective.method": name, "objective.sft": supervised, "objective.rl_demo": false };
}

/** @param {Settings} settings */
const nameOf = (settings) => methodOf(String(settings["objective.method"])).name;

/**
 * The weight in a token's term: w_SFT for the demonstration, w_RL for a rollout.
 * @param {FormulaView} formula
 * @param {Member} member
 * @param {TokenView} token
 * @returns {Composed}
 */
export function weightOf(formula, member, token) {
    const demonstration = member.role === "demonstration";
    const scale = demonstration ? formula.sft_weight_scale : formula.self_weight_scale;
    const sign = demonstration ? formula.sft_weight_sign : formula.self_weight_sign;
    const name = demonstration ? "w_SFT" : "w_RL";
    const equation = demonstration ? "Eq. 8" : "Eq. 11";
    const weighs = demonstration && formula.sft_token_weight !== "none";
    const phi = weighs ? phiOf(formula.sft_token_weight, token) : 1;
    const shown = weighs ? [" · ", phi] : [];
    if (sign === 0) {
        const symbols = weighs ? `its scale · ${formula.sft_token_weight}` : "its scale alone: no entropy in it";
        const body = { symbols, calculation: [scale, ...shown], value: scale * phi, zero: null };
        return finish(name, equation, body, token.weight);
    }
    const over = { sequence: "this response’s mean H", token: "this token’s H", batch: "the update’s mean H" };
    // The update's mean entropy is not among the group's numbers: it is computed back from the weight.
    const entropy =
        formula.entropy_over === "sequence"
            ? member.entropy
            : formula.entropy_over === "token"
              ? token.entropy
              : Math.log(token.weight / phi / scale) / sign;
    const body = {
        symbols: `${significant(scale)}·exp(${sign < 0 ? "−" : "+"}H), H: ${over[/** @type {keyof typeof over} */ (formula.entropy_over)] ?? ""}${weighs ? `, · ${formula.sft_token_weight}` : ""}`,
        calculation: [scale, " · exp(", sign * entropy, ")", ...shown],
        value: scale * Math.exp(sign * entropy) * phi,
        zero: null,
    };
    return finish(name, equation, body, token.weight);
}

/**
 * What weighs a token of L_SFT besides w_SFT.
 * @param {string} weight `objective.sft_token_weight`
 * @param {TokenView} token
 */
function phiOf(weight, token) {
    const p = Math.exp(token.logp);
    if (weight === "p(1-p)") return p * (1 - p);
    if (weight === "p") return p;
    if (weight === "H/3") return token.entropy / 3;
    return Math.min(p / 0.1, 1);
}

/** @param {string} name @param {string} equation @param {Body} body @param {number} reported @returns {Composed} */
function finish(name, equation, body, reported) {
    // The trainer computes in f32, so it may differ by up to a thousandth.
    const close = Math.abs(body.value - reported) <= 1e-3 * Math.abs(reported) + 1e-8;
    const mismatch = close
        ? null
        : `the trainer reports ${significant(reported)}, the formula gives ${significant(body.value)}`;
    return { name, equation, ...body, mismatch };
}

const GIVEN = "it was given, not sampled";

/** Whether a token was given and carries no loss. @param {TokenView} token */
const onlyGiven = (token) => token.given && token.factor === 0;

/** @param {FormulaView} formula @param {Settings} settings @param {Member} member @param {TokenView} token @returns {Body} */
function sft(formula, settings, member, token) {
    if (member.role !== "demonstration") return nothing("only the demonstration is imitated");
    if (settings["objective.sft"] === false) return nothing(`${nameOf(settings)} has no supervised term`);
    const gate = settings["objective.sft_gate"];
    if (gate === "reward" && !member.right)
        return nothing("sft_gate = reward, and the verifier rejects this demonstration");
    if (gate === "advantage" && member.advantage <= 0)
        return nothing("sft_gate = advantage, and this demonstration’s Â is not above 0");
    if (!member.weight_applies && settings["objective.sft_over"] === "prefix")
        return nothing("sft_over = prefix, and its rollouts were given nothing");
    if (!member.weight_applies) return nothing("sft_gate = unsolved, and this prompt is solved");
    const n = sftN(formula, member);
    return {
        symbols: "w_SFT · (−ln p) / N",
        calculation: [token.weight, " · ", -token.logp, " / ", n],
        value: (token.weight * -token.logp) / n,
        zero: null,
    };
}

/** @param {FormulaView} formula @param {Member} member @param {TokenView} token @returns {Body} */
function kl(formula, member, token) {
    const demonstrates = member.role === "demonstration";
    const lambda = demonstrates ? formula.kl_coeff : formula.rollout_kl;
    if (lambda === 0) return nothing(demonstrates ? "kl_coeff = 0" : "rollout_kl = 0");
    if (onlyGiven(token)) return nothing(GIVEN);
    if (token.logp_base === null || (demonstrates && !member.weight_applies))
        return nothing("only what carries loss is held to the base");
    const n = demonstrates ? sftN(formula, member) : rlN(formula, member);
    const log = token.logp_base - token.logp;
    if (formula.kl_form === "k1") {
        return {
            symbols: "λ · (−ln r) / N, r = p_base/p",
            calculation: [lambda, " · ", -log, " / ", n],
            value: (lambda * -log) / n,
            zero: null,
        };
    }
    const rho = formula.kl_form === "k3-ratio" ? (token.ratio ?? 1) : 1;
    const times = formula.kl_form === "k3-ratio" ? [" · ", rho] : [];
    return {
        symbols: `λ · ${times.length ? "ρ · " : ""}(r − 1 − ln r) / N, r = p_base/p`,
        calculation: [lambda, ...times, " · (", Math.exp(log), " − 1 − ", log, ") / ", n],
        value: (lambda * rho * (Math.expm1(log) - log)) / n,
        zero: null,
    };
}

/** @param {FormulaView} formula @param {Settings} settings @param {Member} member @param {TokenView} token @returns {Body} */
function demonstration(formula, settings, member, token) {
    if (member.role !== "demonstration") return nothing("it acts on the demonstration only");
    if (settings["objective.rl_demo"] === false)
        return nothing(`${nameOf(settings)} does not reinforce demonstrations`);
    if (member.reward === null) return nothing("the verifier could not judge this demonstration");
    if (member.advantage === 0) return nothing("Â = 0: every reward of the group is the same");
    const p = Math.exp(token.logp);
    const n = rlN(formula, member);
    const gamma = formula.shaping;
    if (gamma === null) {
        return {
            symbols: "−Â · p / N",
            calculation: [-member.advantage, " · ", p, " / ", n],
            value: (-member.advantage * p) / n,
            zero: null,
        };
    }
    return {
        symbols: `−Â · p/(p + ${gamma}) / N`,
        calculation: [-member.advantage, " · ", p, " / (", p, " + ", gamma, ") / ", n],
        value: (-member.advantage * p) / (p + gamma) / n,
        zero: null,
    };
}

/** @param {FormulaView} formula @param {Member} member @param {TokenView} token @returns {Body} */
function self(formula, member, token) {
    if (member.role === "demonstration") return nothing("it acts on the policy’s own rollouts only");
    const n = rlN(formula, member);
    if (formula.self_term === "none") return nothing("self_term = none: there are no rollouts to learn from");
    if (Math.exp(token.logp) > formula.max_prob) return nothing(`max_prob = ${formula.max_prob}, and p is above it`);
    if (onlyGiven(token)) return nothing(GIVEN);
    if (token.factor === 0 && formula.advantage_of === "rewards")
        return nothing("top_entropy or clip_cov: this token is left out");
    if (formula.self_term === "signed") {
        // A reward between right and wrong acts by its size, |v|.
        const size = Math.abs(member.signed);
        if (size === 0) return nothing("the reward is halfway between right and wrong: v = 0");
        const times = size < 1 ? "|v| · " : "";
        const shown = size < 1 ? [size, " · "] : [];
        if (!member.weight_applies) {
            return {
                symbols: `${times}ln p / N (${size < 1 ? "v < 0" : "wrong"}: no weight)`,
                calculation: [...shown, token.logp, " / ", n],
                value: (size * token.logp) / n,
                zero: null,
            };
        }
        return {
            symbols: `${times}w_RL · (−ln p) / N (${size < 1 ? "v > 0" : "right"})`,
            calculation: [...shown, token.weight, " · ", -token.logp, " / ", n],
            value: (size * token.weight * -token.logp) / n,
            zero: null,
        };
    }
    const taught = formula.advantage_of === "teacher";
    const advantage = formula.advantage_of === "rewards" ? member.advantage : token.factor;
    if (advantage === 0) return nothing(taught ? "Â = 0: the teacher says the same" : "Â = 0: every reward of the group is the same");
    if (token.ratio === null) return nothing(taught ? "there is no teacher" : "rl_gate = solved, and this prompt is not");
    const ratio = token.ratio;
    const whose = formula.ratio === "sequence" ? " (ρ: the response’s)" : "";
    const held = Math.min(1 + formula.clip_high, Math.max(1 - formula.clip_low, ratio));
    const weight = member.weight_applies ? token.weight : 1;
    if (formula.clip === "weight") {
        return {
            symbols: `−w · clip(ρ) · Â · ln p / N${whose}`,
            calculation: [-weight, " · ", held, " · ", advantage, " · ", token.logp, " / ", n],
            value: (-weight * held * advantage * token.logp) / n,
            zero: null,
        };
    }
    if (formula.dual_clip > 0 && advantage < 0 && ratio > formula.dual_clip) {
        return {
            symbols: `−w · c · Â / N, c = dual_clip${whose}`,
            calculation: [-weight, " · ", formula.dual_clip, " · ", advantage, " / ", n],
            value: (-weight * formula.dual_clip * advantage) / n,
            zero: null,
        };
    }
    return {
        symbols: `−w · min(ρ·Â, clip(ρ, ${significant(1 - formula.clip_low)}, ${significant(1 + formula.clip_high)})·Â) / N${whose}`,
        calculation: [
            -weight,
            " · min(",
            ratio,
            " · ",
            advantage,
            ", ",
            held,
            " · ",
            advantage,
            ") / ",
            n,
        ],
        value: (-weight * Math.min(ratio * advantage, held * advantage)) / n,
        zero: null,
    };
}

/** @param {FormulaView} formula @param {Member} member @param {TokenView} token @returns {Body} */
function entropyBonus(formula, member, token) {
    if (formula.entropy_coeff === 0) return nothing("entropy_coeff = 0: there is no bonus");
    if (member.role === "demonstration") return nothing("the bonus is for rollouts only");
    if (onlyGiven(token)) return nothing(GIVEN);
    return {
        symbols: "−entropy_coeff · H / N",
        calculation: [-formula.entropy_coeff, " · ", token.entropy, " / ", rlN(formula, member)],
        value: (-formula.entropy_coeff * token.entropy) / rlN(formula, member),
        zero: null,
    };
}
