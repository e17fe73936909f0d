//! A group taken apart: each member with its verdict, its advantage and its part in the update. What
//! `explain`, the page and the report show of a group are views of this.

use super::{Divisors, Update};
use crate::records::{Group, Role, Sequence};

/// A rollout of a group, or its demonstration.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Rollout or demonstration.
    pub role: Role,
    /// The response as text.
    pub response: &'a str,
    /// The beginning of it that the demonstration gave, as text; empty where it was sampled from the prompt.
    pub given_text: &'a str,
    /// How many of the last tokens of its sequence's prompt that is.
    pub given: usize,
    /// Its reward; `None` if there was nothing to judge, or the verifier failed.
    pub reward: Option<f32>,
    /// Whether its answer is right.
    pub right: bool,
    /// Whether the length limit cut it.
    pub truncated: bool,
    /// Â (Eq. 7); 0 without a reward.
    pub advantage: f64,
    /// Its tokens, and the terms that act on it.
    pub sequence: &'a Sequence,
    /// What its token losses are divided by.
    pub divisors: Divisors,
}

impl Update {
    /// The members of each group that the update was assembled from: its rollouts, then the
    /// demonstration where the method uses it.
    pub fn members<'a>(&'a self, groups: &'a [Group]) -> Vec<Vec<Member<'a>>> {
        let mut parts = self.sequences.iter().zip(&self.divisors);
        let of = |(group, advantages): (&'a Group, &'a Vec<f64>)| {
            let parts = parts.by_ref().take(advantages.len());
            let member = |(index, (part, &advantage))| member(group, index, part, advantage);
            parts.zip(advantages).enumerate().map(member).collect()
        };
        groups.iter().zip(&self.advantages).map(of).collect()
    }
}

fn member<'a>(
    group: &'a Group,
    index: usize,
    (sequence, &divisors): (&'a Sequence, &Divisors),
    advantage: f64,
) -> Member<'a> {
    let role = sequence.role;
    let none = Member {
        role,
        response: "",
        given_text: "",
        given: 0,
        reward: None,
        right: false,
        truncated: false,
        advantage,
        sequence,
        divisors,
    };
    match (role, &group.demonstration) {
        (Role::Rollout, _) => {
            let e = &group.episodes[index];
            Member {
                response: &e.response,
                given_text: &e.given_text,
                given: group.given(e).len(),
                reward: Some(e.reward),
                right: e.right,
                truncated: e.truncated,
                ..none
            }
        }
        (Role::Demonstration, shown) => Member {
            response: group.example.demonstration.as_deref().unwrap_or_default(),
            reward: shown.as_ref().and_then(|d| d.reward),
            right: shown.as_ref().is_some_and(|d| d.right),
            ..none
        },
    }
}
