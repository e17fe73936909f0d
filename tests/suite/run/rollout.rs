//! Rollouts of the built-in model on both backends: slots, stops and limits.

use crate::backends::{compare, devices, is_slow};
use burn::tensor::Device;
use pollster::block_on;
use srft::model::{Llama, ModelFolder};
use srft::ops::readback;
use srft::ops::sampling::Sampling;
use srft::rollout::{Plan, Response, Stops, respond};
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
    for (backend, device) in devices() {
        let (model, tokenizer) = ModelFolder::tiny().load(&device).unwrap();
        let counted = |slots| {
            let before = readback::count();
            let plan = Plan { slots, ..plan(&model, Stops::default()) };
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
            let what = format!("{backend}, {slots} slots");
            for (few, all) in counted(slots).iter().zip(&all) {
                assert_eq!((&few.tokens, few.truncated), (&all.tokens, all.truncated), "{what}");
                assert_eq!(few.logprobs.len(), few.tokens.len(), "{what}");
                for (got, expected) in
                    [(&few.logprobs, &all.logprobs), (&few.entropies, &all.entropies)]
                {
                    let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
                    compare(&what, got, &expected, 1e-4).unwrap();
                }
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
