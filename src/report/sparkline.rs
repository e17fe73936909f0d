//! A curve in one line of text, and the lines that a terminal shows during training.

use crate::metrics::{StepReport, mean};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Columns of a line's name and current value.
const NAME: usize = 9;
const VALUE: usize = 9;
/// Most columns of a curve.
const WIDEST: usize = 72;

type Metric = fn(&StepReport) -> Option<f64>;

/// The values as blocks from the lowest (▁) to the highest (█), in at most `width` columns, each
/// showing the mean of its values. If all values are equal, they are drawn at half height; a column
/// without a finite value is blank.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let columns = values.len().min(width);
    let column = |i: usize| {
        let of = &values[i * values.len() / columns..(i + 1) * values.len() / columns];
        let finite: Vec<f64> = of.iter().copied().filter(|v| v.is_finite()).collect();
        (!finite.is_empty()).then(|| mean(finite.into_iter()))
    };
    let means: Vec<Option<f64>> = (0..columns).map(column).collect();
    let low = means.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: f64| match high - low {
        0.0 => BLOCKS[3],
        span => BLOCKS[((value - low) / span * 7.0).round() as usize],
    };
    means.iter().map(|value| value.map_or(' ', block)).collect()
}

/// What a run shows during training: the last value and the curve of reward, entropy, weights and loss
/// terms, one line each and at most `width` columns wide. What was always 0, or never has a value, is
/// left out.
pub fn live_lines(reports: &[StepReport], width: usize) -> Vec<String> {
    let curves: [(&str, Metric); 10] = [
        ("reward", |r| r.reward),
        ("entropy", |r| r.entropy),
        ("w_SFT", |r| r.w_sft),
        ("w_RL", |r| r.w_rl),
        ("loss", |r| Some(r.loss)),
        ("L_SFT", |r| Some(r.loss_sft)),
        ("L_RL,demo", |r| Some(r.loss_rl_demo)),
        ("L_self", |r| Some(r.loss_self)),
        ("bonus", |r| Some(r.loss_entropy)),
        ("KL", |r| Some(r.loss_kl)),
    ];
    let width = width.min(WIDEST);
    let line = |(name, value): (&str, Metric)| {
        let values: Vec<Option<f64>> = reports.iter().map(value).collect();
        let last = *values.last().filter(|_| values.iter().flatten().any(|&v| v != 0.0))?;
        let last = last.map_or("–".into(), |v| format!("{v:+.4}"));
        let drawn: Vec<f64> = values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect();
        let curve = sparkline(&drawn, width.saturating_sub(NAME + VALUE + 2));
        let whole = format!("{name:<NAME$}{last:>VALUE$}  {curve}");
        Some(whole.chars().take(width).collect::<String>().trim_end().to_string())
    };
    curves.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_rise_with_the_values() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 20), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[-1.0, 1.0, -1.0], 20), "▁█▁");
    }

    #[test]
    fn more_values_than_columns_are_averaged() {
        // Means of the pairs: 1, 0.5, 0.
        assert_eq!(sparkline(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 3), "█▅▁");
        // Five values in two columns: the mean of 0, 0 and that of 3, 3, 3.
        assert_eq!(sparkline(&[0.0, 0.0, 3.0, 3.0, 3.0], 2), "▁█");
    }

    #[test]
    fn what_cannot_be_drawn_is_blank() {
        assert_eq!(sparkline(&[], 5), "");
        assert_eq!(sparkline(&[1.0, 2.0], 0), "");
        assert_eq!(sparkline(&[0.2; 3], 5), "▄▄▄");
        assert_eq!(sparkline(&[f64::NAN; 2], 5), "  ");
        assert_eq!(sparkline(&[0.0, f64::NAN, f64::INFINITY, 1.0], 5), "▁  █");
    }

    #[test]
    fn live_lines_fit_every_terminal() {
        let reports: Vec<StepReport> = (0u8..100)
            .map(|step| StepReport {
                reward: Some(f64::from(step) / 100.0),
                loss: -12_345.678_9,
                loss_self: -12_345.678_9,
                ..Default::default()
            })
            .collect();
        for width in 0..100 {
            let lines = live_lines(&reports, width);
            assert_eq!(lines.len(), 3, "reward, loss, L_self; the others were 0 throughout");
            assert!(lines.iter().all(|l| l.chars().count() <= width), "{width}: {lines:?}");
        }
        // Twenty columns of five steps each.
        assert_eq!(live_lines(&reports, 40)[0], "reward     +0.9900  ▁▁▂▂▂▃▃▄▄▄▅▅▅▆▆▇▇▇██");
        assert!(live_lines(&[], 80).is_empty());
        // A step that sampled nothing has no reward: the curve has a gap, and there is no number.
        let mut gap = reports.clone();
        gap[99].reward = None;
        assert_eq!(live_lines(&gap, 120)[0].split_whitespace().nth(1), Some("–"));
    }
}
