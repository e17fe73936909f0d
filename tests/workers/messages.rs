//! Messages, and the identities that follow from a token.

use srft::random::Stream;
use srft::score::Scored;
use srft_team::remote::keys::{Keys, Role};
use srft_team::remote::message::{Answer, Request, bits, bytes_of, decode, encode, words_of};

#[test]
fn a_message_arrives_bit_by_bit_and_a_cut_one_is_refused() {
    let scored = Scored {
        tokens: vec![1, 70_000],
        logprobs: vec![f32::NAN, -0.0, 1.0e-41],
        entropies: vec![f32::INFINITY, 0.1],
    };
    let answer = Answer::Scores(vec![scored]);
    let lists: [&[u32]; 3] = [&[1, 2, 3], &[], &[u32::MAX]];
    let words = encode(&answer, &lists);
    let (back, found): (Answer, _) = decode(&words).unwrap();
    let (Answer::Scores(one), Answer::Scores(two)) = (&answer, &back) else { panic!() };
    assert_eq!(bits(&one[0].logprobs), bits(&two[0].logprobs));
    assert_eq!(bits(&one[0].entropies), bits(&two[0].entropies));
    assert_eq!(found, lists);
    for length in 0..words.len() {
        assert!(decode::<Answer>(&words[..length]).is_err(), "{length}");
    }
    assert!(decode::<Answer>(&[&words[..], &[0]].concat()).is_err());
    assert!(decode::<Request>(&words).is_err());
}

#[test]
fn bytes_are_words_and_back() {
    for length in 0..9u8 {
        let bytes: Vec<u8> = (1..=length).collect();
        assert_eq!(bytes_of(&words_of(&bytes), bytes.len()), bytes);
    }
}

/// Whatever arrives is read or refused.
#[test]
fn no_message_breaks_the_reader() {
    let request = Request::Missing { files: vec!["0".repeat(64), "1".repeat(64)] };
    let whole = encode(&request, &[&[7, 8], &[9]]);
    let mut stream = Stream::new(3, 1, 0);
    for _ in 0..20_000 {
        let mut words = whole.clone();
        for _ in 0..=stream.below(3) {
            let at = stream.below(words.len() as u32) as usize;
            words[at] = match stream.below(3) {
                0 => stream.below(u32::MAX),
                1 => u32::MAX,
                _ => words[at] ^ 1 << stream.below(32),
            };
        }
        let _ = decode::<Request>(&words);
        let _ = decode::<Answer>(&words);
    }
}

#[test]
fn both_sides_of_a_token_know_each_other_and_no_one_else() {
    let token = "0123456789abcdef0123456789abcdef";
    let keys = Keys::of(token).unwrap();
    let again = Keys::of(&format!("  {token}\n")).unwrap();
    assert_eq!(keys.worker().public(), again.worker().public());
    let coordinators = keys.all(Role::Coordinator);
    assert!(coordinators.contains(&again.asks(Role::Coordinator).public()));
    assert!(!coordinators.contains(&keys.worker().public()));
    let other = Keys::of(&token.replace('f', "e")).unwrap();
    assert_ne!(keys.worker().public(), other.worker().public());
    assert!(!coordinators.contains(&other.asks(Role::Coordinator).public()));
    assert!(!format!("{keys:?}").contains(token));
    assert!(Keys::of("too short").unwrap_err().to_string().contains("9 characters"));
}
