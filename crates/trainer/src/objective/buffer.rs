//! ReLIFT's buffer (arXiv 2506.07527): right demonstrations of prompts that no rollout solved, held until
//! there are enough for a step of SFT. See `config/methods/relift.rs`.

use crate::records::{Group, Origin};

/// The demonstrations held, the latest first; a checkpoint keeps them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buffer {
    /// Groups without rollouts.
    pub held: Vec<Group>,
}

impl Buffer {
    /// The first `size` demonstrations, once there are that many: the next step imitates them.
    pub fn due(&self, size: usize) -> Option<Vec<Group>> {
        (size > 0).then(|| self.held.get(..size))?.map(<[Group]>::to_vec)
    }

    /// Updates the buffer after a step on `groups`: drops the demonstrations that the step imitated, or adds
    /// those of prompts that no rollout solved. A prompt without a judged rollout is not added.
    pub fn settle(&mut self, groups: &[Group], size: usize) {
        if size == 0 {
            return;
        }
        if groups.iter().all(|g| g.origin == Origin::Held) {
            self.held.drain(..size.min(self.held.len()));
            return;
        }
        let unsolved = groups.iter().filter(|g| {
            let is_right = g.demonstration.as_ref().is_some_and(|d| d.right);
            is_right && !g.episodes.is_empty() && g.episodes.iter().all(|e| !e.right)
        });
        let bare = |g: &Group| Group {
            origin: Origin::Held,
            episodes: Vec::new(),
            unscored: Vec::new(),
            tried: Vec::new(),
            ..g.clone()
        };
        self.held.splice(0..0, unsolved.map(bare));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Demonstration, Episode, Example};

    /// A group: its prompt, whether its demonstration is right, and which rollouts are.
    fn group(prompt: &str, right: bool, rollouts: &[bool]) -> Group {
        let episode = |&right: &bool| Episode {
            tokens: vec![7],
            logprobs: vec![0.0],
            entropies: vec![0.0],
            right,
            ..Episode::default()
        };
        Group {
            origin: Origin::Drawn,
            example: Example { prompt: prompt.into(), ..Example::default() },
            prompt_tokens: vec![1],
            episodes: rollouts.iter().map(episode).collect(),
            demonstration: Some(Demonstration {
                tokens: vec![8],
                reward: Some(1.0),
                right,
                ..Demonstration::default()
            }),
            ..Group::default()
        }
    }

    fn names(groups: &[Group]) -> Vec<&str> {
        groups.iter().map(|g| g.example.prompt.as_str()).collect()
    }

    #[test]
    fn unsolved_prompts_with_right_demonstrations_wait_until_there_are_enough() {
        let mut buffer = Buffer::default();
        let first = [
            group("a", true, &[false, false]),
            group("solved", true, &[false, true]),
            group("taught wrong", false, &[false, false]),
            group("unscored", true, &[]),
        ];
        buffer.settle(&first, 2);
        assert_eq!((names(&buffer.held), buffer.due(2)), (vec!["a"], None));
        let second = ["b", "c"].map(|name| group(name, true, &[false]));
        buffer.settle(&second, 2);
        assert_eq!(names(&buffer.held), ["b", "c", "a"], "the latest first");
        let due = buffer.due(2).unwrap();
        assert_eq!(names(&due), ["b", "c"]);
        assert!(due.iter().all(|g| g.episodes.is_empty() && g.origin == Origin::Held));
        // A step in which no rollout could be judged leaves the buffer as it is.
        buffer.settle(&[group("unscored", true, &[])], 2);
        assert_eq!(names(&buffer.held), ["b", "c", "a"]);
        buffer.settle(&due, 2);
        assert_eq!((names(&buffer.held), buffer.due(2)), (vec!["a"], None));
    }

    #[test]
    fn without_a_size_nothing_is_held() {
        let mut buffer = Buffer::default();
        buffer.settle(&[group("a", true, &[false])], 0);
        assert_eq!((buffer.held.len(), buffer.due(0)), (0, None));
    }
}
