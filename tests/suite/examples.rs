//! The programs in `examples/` do what their first lines say.

use pollster::block_on;

#[path = "../../examples/generate.rs"]
#[allow(dead_code, reason = "its `main`")]
mod generate;
#[path = "../../examples/loss_term.rs"]
#[allow(dead_code, reason = "its `main`")]
mod loss_term;
#[path = "../../examples/train.rs"]
#[allow(dead_code, reason = "its `main`")]
mod train;
#[path = "../../examples/verifier.rs"]
#[allow(dead_code, reason = "its `main`")]
mod verifier;

#[test]
fn the_training_example_takes_its_steps() {
    let reports = block_on(train::train("cpu")).unwrap();
    let steps: Vec<u32> = reports.iter().map(|r| r.step).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5]);
    assert!(reports.iter().all(|r| r.loss.is_finite() && r.grad_norm > 0.0));
}

#[test]
fn the_verifier_gives_something_to_what_is_nearly_right() {
    let groups = block_on(verifier::train("cpu")).unwrap();
    let episodes: Vec<_> = groups.iter().flat_map(|g| &g.episodes).collect();
    for episode in &episodes {
        // Scores of [0, 1] are rewards of [-1, 1] to the default method.
        assert_eq!(episode.right, episode.reward >= 0.0, "{episode:?}");
    }
    assert!(episodes.iter().any(|e| e.reward.abs() < 1.0), "none is nearly right");
}

#[test]
fn the_loss_term_moves_the_weights() {
    let distances = block_on(loss_term::train("cpu")).unwrap();
    assert_eq!(distances.len(), 3);
    assert!(distances[0] > 0.0 && distances.iter().all(|d| d.is_finite()), "{distances:?}");
}

#[test]
fn the_generator_samples_the_built_in_model() {
    let texts = block_on(generate::generate("cpu", "tiny", "59+63=")).unwrap();
    assert_eq!(texts.len(), 4);
    assert!(texts.iter().any(|text| text.contains('>')), "{texts:?}");
}
