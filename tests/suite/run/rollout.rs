//! Rollouts of the built-in model on both backends: slots, stops and limits.

use crate::backends::{compare, devices, is_slow};
use burn::tensor::Device;
use pollster::block_on;
use srft::config::CacheDtype;
use srft::model::{Llama, ModelFolder};
use srft::ops::readback;
use srft::ops::sampling::Sampling;
use srft::rollout::{Past, Plan, Response, Stops, TOKENS_PER_PASS, respond, stream};
use srft::score::score;
use srft::text::Tokenizer;
use std::task::{Context, Waker};

const PROMPTS: [&str; 5] = ["5+1=", "812+99=", "7*6=", "3,1,2s", "40-8="];

fn plan<'a>(model: &'a Llama, stops: Stops<'a>) -> Plan<'a> {
    Plan {
        group: 3,
        sampling: Sampling::default(),
        max_new_tokens: 30,
        eos_tokens: &model.config.eos_tokens,
        stops,
        slots: 0,
        cache: CacheDtype::F32,
        seed: 11,
        step: 4,
    }
}

fn sampled(model: &Llama, tokenizer: &Tokenizer, plan: &Plan) -> Vec<Response> {
    let prompts: Vec<Vec<u32>> = PROMPTS.iter().map(|p| tokenizer.encode(p).unwrap()).collect();
    block_on(respond(model, &prompts, plan)).unwrap()
}

/// However few rows are decoded at a time, the same responses come out, with the same statistics, and
/// few readbacks: a look for ids each eight steps, and one of all statistics.
#[test]
fn refilled_slots_change_nothing_and_readbacks_are_bounded() {
    let both = [CacheDtype::F32, CacheDtype::F16];
    let devices = devices();
    for ((backend, device), cache) in devices.iter().flat_map(|d| both.map(|cache| (d, cache))) {
        // A prompt's pass has other last bits among other prompts, so that a half may be rounded to its neighbour.
        let tolerance = if cache == CacheDtype::F16 { 2e-3 } else { 1e-4 };
        let (model, tokenizer) = ModelFolder::tiny().load(device).unwrap();
        let counted = |slots| {
            let before = readback::count();
            let plan = Plan { slots, cache, ..plan(&model, Stops::default()) };
            let responses = sampled(&model, &tokenizer, &plan);
            let looks = readback::count() - before;
            let tokens: usize = responses.iter().map(|r| r.tokens.len()).sum();
            // In the worst case each row is waited for alone.
            let most = if slots == 0 { 30u64.div_ceil(8) + 15 } else { tokens as u64 / 8 + 15 };
            assert!(looks <= most, "{backend}, {slots} slots: {looks} readbacks");
            responses
        };
        let all = counted(0);
        let order: Vec<(usize, usize)> = all.iter().map(|r| (r.prompt, r.sample)).collect();
        assert_eq!(order, (0..5).flat_map(|p| (0..3).map(move |s| (p, s))).collect::<Vec<_>>());
        let lengths: Vec<usize> = all.iter().map(|r| r.tokens.len()).collect();
        assert!(lengths.iter().min().unwrap() + 4 < *lengths.iter().max().unwrap(), "{lengths:?}");
        let few: &[usize] = if is_slow(backend) { &[4] } else { &[1, 2, 4, 7] };
        for &slots in few {
            let what = format!("{backend}, {slots} slots, {cache:?}");
            for (few, all) in counted(slots).iter().zip(&all) {
                assert_eq!((&few.tokens, few.truncated), (&all.tokens, all.truncated), "{what}");
                assert_eq!(few.logprobs.len(), few.tokens.len(), "{what}");
                for (got, expected) in
                    [(&few.logprobs, &all.logprobs), (&few.entropies, &all.entropies)]
                {
                    let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
                    compare(&what, got, &expected, tolerance).unwrap();
                }
            }
        }
    }
}

/// Prompts of more tokens than a pass takes are read in several, and give what they give a few at a time.
#[test]
fn many_prompts_are_read_in_passes() {
    for (backend, device) in devices() {
        let (model, tokenizer) = ModelFolder::tiny().load(&device).unwrap();
        let prompt = |i: usize| format!("{}{i}+1=", "12+34=46;".repeat(8 + i % 2));
        let prompts: Vec<Vec<u32>> =
            (0..64).map(|i| tokenizer.encode(&prompt(i)).unwrap()).collect();
        let tokens: usize = prompts.iter().map(Vec::len).sum();
        assert!(tokens > TOKENS_PER_PASS, "{tokens} tokens are one pass");
        let of = |slots| {
            let plan =
                Plan { group: 2, max_new_tokens: 3, slots, ..plan(&model, Stops::default()) };
            block_on(respond(&model, &prompts, &plan)).unwrap()
        };
        for (few, all) in of(24).iter().zip(&of(0)) {
            assert_eq!(
                (few.prompt, few.sample, &few.tokens),
                (all.prompt, all.sample, &all.tokens)
            );
            let expected: Vec<f64> = all.logprobs.iter().map(|&x| f64::from(x)).collect();
            compare(backend, &few.logprobs, &expected, 1e-4).unwrap();
        }
    }
}

/// What rollouts report of each token is what the pass that scores texts says of it.
#[test]
fn a_rollouts_statistics_are_the_scoring_passes() {
    for ((backend, device), cache) in
        devices().iter().flat_map(|d| [(d, CacheDtype::F32), (d, CacheDtype::F16)])
    {
        let tolerance = if cache == CacheDtype::F16 { 1e-2 } else { 1e-4 };
        let (model, tokenizer) = ModelFolder::tiny().load(device).unwrap();
        // Refilled in the middle of a group.
        let plan = Plan { slots: 8, cache, ..plan(&model, Stops::default()) };
        let responses = sampled(&model, &tokenizer, &plan);
        let prompt = |r: &Response| tokenizer.encode(PROMPTS[r.prompt]).unwrap();
        let pairs = responses.iter().map(|r| (prompt(r), r.tokens.clone())).collect();
        let scored = block_on(score(&model, pairs, 256)).unwrap();
        for (response, scored) in responses.iter().zip(&scored) {
            for (got, want) in
                [(&response.logprobs, &scored.logprobs), (&response.entropies, &scored.entropies)]
            {
                let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
                compare(&format!("{backend}, {cache:?}"), got, &want, tolerance).unwrap();
            }
        }
    }
}

#[test]
fn stops_and_limits_end_a_response() {
    for (backend, device) in devices() {
        let (model, tokenizer) = ModelFolder::tiny().load(&device).unwrap();
        let free = sampled(&model, &tokenizer, &plan(&model, Stops::default()));
        let texts = [">".to_string()];
        let stopped = sampled(&model, &tokenizer, &plan(&model, Stops::new(&tokenizer, &texts)));
        let mut cut = 0;
        for (free, stopped) in free.iter().zip(&stopped) {
            let text = tokenizer.decode(&free.tokens);
            match text.find('>') {
                Some(at) => {
                    cut += 1;
                    assert_eq!(tokenizer.decode(&stopped.tokens), text[..=at], "{backend}");
                    assert!(!stopped.truncated && stopped.logprobs.len() == stopped.tokens.len());
                    let expected = free.logprobs.iter().map(|&x| f64::from(x));
                    let expected: Vec<f64> = expected.take(stopped.tokens.len()).collect();
                    compare(backend, &stopped.logprobs, &expected, 1e-4).unwrap();
                }
                None => assert_eq!(free.tokens, stopped.tokens, "{backend}"),
            }
        }
        assert!(cut > 5, "{backend}: {cut} responses have the stop");
        let short = Plan { max_new_tokens: 3, ..plan(&model, Stops::default()) };
        for (short, free) in sampled(&model, &tokenizer, &short).iter().zip(&free) {
            assert_eq!(short.tokens, free.tokens[..free.tokens.len().min(3)], "{backend}");
            assert_eq!(short.truncated, free.tokens.len() > 3, "{backend}");
        }
    }
}

/// Ctrl-C in Python and a page's Cancel end a rollout by dropping it; nothing of it stays.
#[test]
fn a_rollout_can_be_dropped_between_tokens() {
    let (model, tokenizer) = ModelFolder::tiny().load(&Device::flex()).unwrap();
    let plan = plan(&model, Stops::default());
    let expected = sampled(&model, &tokenizer, &plan);
    let prompts: Vec<Vec<u32>> = PROMPTS.iter().map(|p| tokenizer.encode(p).unwrap()).collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut dropped = Box::pin(respond(&model, &prompts, &plan));
    for token in 0..10 {
        assert!(dropped.as_mut().poll(&mut context).is_pending(), "at token {token}");
    }
    drop(dropped);
    assert_eq!(sampled(&model, &tokenizer, &plan), expected);
}

/// A response streamed to `prompt`, and the pieces that were told.
fn streamed(
    model: &Llama,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    plan: &Plan,
    past: &mut Past,
) -> (Response, Vec<String>) {
    let mut pieces = Vec::new();
    let told = |piece: &str| {
        pieces.push(piece.to_string());
        Ok(true)
    };
    let response = block_on(stream(model, tokenizer, prompt, plan, past, told)).unwrap();
    (response, pieces)
}

/// A streamed response is the first sample of a rollout of one prompt, told token by token; on the CPU bit
/// for bit.
#[test]
fn what_streams_is_what_a_rollout_gives() {
    let texts = [">".to_string(), "+2".to_string()];
    for (backend, device) in devices() {
        let (model, tokenizer) = ModelFolder::tiny().load(&device).unwrap();
        let (mut stopped, mut cut) = (0, 0);
        let few = if is_slow(backend) { 2 } else { PROMPTS.len() };
        for stops in [Stops::default(), Stops::new(&tokenizer, &texts)] {
            for (seed, prompt) in (0..).zip(PROMPTS).take(few) {
                let short = Plan { group: 1, max_new_tokens: 9, seed, ..plan(&model, stops) };
                let prompt = tokenizer.encode(prompt).unwrap();
                let rollout = block_on(respond(&model, std::slice::from_ref(&prompt), &short))
                    .unwrap()
                    .remove(0);
                let past = &mut Past::default();
                let (response, pieces) = streamed(&model, &tokenizer, &prompt, &short, past);
                let whole = stops.text(&tokenizer, &rollout.tokens);
                assert_eq!(pieces.concat(), whole, "{backend} {pieces:?}");
                assert_eq!(pieces.len(), rollout.tokens.len(), "{backend}: a piece a token");
                if backend == "flex" {
                    assert_eq!(response, rollout);
                }
                assert_eq!(response.tokens, rollout.tokens, "{backend}");
                assert_eq!(response.truncated, rollout.truncated, "{backend}");
                stopped += usize::from(whole != tokenizer.decode(&rollout.tokens));
                cut += usize::from(rollout.truncated);
            }
        }
        let both = stopped > 0 && cut > 0;
        assert!(both || few < 5, "{backend}: {stopped} stopped, {cut} cut");
    }
}

/// Turns that go on from what was read are answered as if all had been read anew; so is a turn that differs
/// from the past, or that is shorter.
#[test]
fn a_past_that_is_kept_changes_nothing() {
    for (backend, device) in devices() {
        let (model, tokenizer) = ModelFolder::tiny().load(&device).unwrap();
        let plan = Plan { group: 1, max_new_tokens: 12, ..plan(&model, Stops::default()) };
        let mut past = Past::default();
        let first = "812+99=";
        let ids = tokenizer.encode(first).unwrap();
        let (said, _) = streamed(&model, &tokenizer, &ids, &plan, &mut past);
        let went_on = format!("{first}{};7*6=", tokenizer.decode(&said.tokens));
        let prompts = [&went_on, "812+99=3;5+1=", &went_on, "5+1=", "812+99=", &went_on];
        for prompt in &prompts[..if is_slow(backend) { 2 } else { 6 }] {
            let prompt = tokenizer.encode(prompt).unwrap();
            let (kept, _) = streamed(&model, &tokenizer, &prompt, &plan, &mut past);
            let (anew, _) = streamed(&model, &tokenizer, &prompt, &plan, &mut Past::default());
            assert_eq!(kept.tokens, anew.tokens, "{backend}");
            let expected: Vec<f64> = anew.logprobs.iter().map(|&x| f64::from(x)).collect();
            compare(backend, &kept.logprobs, &expected, 1e-4).unwrap();
        }
    }
}

#[test]
fn a_stream_ends_where_it_is_told_to() {
    let (model, tokenizer) = ModelFolder::tiny().load(&Device::flex()).unwrap();
    let plan = Plan { group: 1, ..plan(&model, Stops::default()) };
    let prompt = tokenizer.encode("812+99=").unwrap();
    let (whole, _) = streamed(&model, &tokenizer, &prompt, &plan, &mut Past::default());
    let (mut past, mut pieces) = (Past::default(), 0);
    let told = |_: &str| {
        pieces += 1;
        Ok(pieces < 3)
    };
    let response = block_on(stream(&model, &tokenizer, &prompt, &plan, &mut past, told)).unwrap();
    assert_eq!((&response.tokens[..], response.truncated), (&whole.tokens[..3], true));
    assert_eq!(response.logprobs, whole.logprobs[..3]);
    // What was said stays: the next turn goes on from it.
    let (again, _) = streamed(&model, &tokenizer, &prompt, &plan, &mut past);
    assert_eq!(again.tokens, whole.tokens);
    for prompt in [vec![], vec![1; 128]] {
        let error = block_on(stream(&model, &tokenizer, &prompt, &plan, &mut past, |_| Ok(true)));
        assert!(error.unwrap_err().what.contains("the model takes 1 to 127"));
    }
}
