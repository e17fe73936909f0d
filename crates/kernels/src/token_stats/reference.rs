//! What `token_stats.wgsl` and `token_stats_backward.wgsl` compute, in plain f64 loops: the oracle.

/// Log-probability of the target (nats; 0 where it is −1) and entropy (nats) of each row.
///
/// `logits` is [N, V] row by row, `targets` `[N]`; V = `columns`.
pub fn forward(logits: &[f64], targets: &[i32], columns: usize) -> Vec<[f64; 2]> {
    let mut stats = Vec::with_capacity(targets.len());
    for (row, &target) in logits.chunks(columns).zip(targets) {
        let log_p = log_softmax(row);
        let entropy = -log_p.iter().map(|l| l.exp() * l).sum::<f64>();
        stats.push([if target < 0 { 0.0 } else { log_p[target as usize] }, entropy]);
    }
    stats
}

/// dlogits [N, V] from `gradient` [N, 2], the upstream (g_logp, g_H) of each row:
/// g_logp·(onehot − p) − g_H·p·(ln p + H), without the first part where the target is −1.
pub fn backward(logits: &[f64], targets: &[i32], columns: usize, gradient: &[f64]) -> Vec<f64> {
    let mut d_logits = Vec::with_capacity(logits.len());
    for ((row, &target), g) in logits.chunks(columns).zip(targets).zip(gradient.chunks(2)) {
        let log_p = log_softmax(row);
        let entropy = -log_p.iter().map(|l| l.exp() * l).sum::<f64>();
        for (column, l) in log_p.iter().enumerate() {
            let one_hot = if column as i32 == target { 1.0 } else { 0.0 };
            let from_logp = if target < 0 { 0.0 } else { g[0] * (one_hot - l.exp()) };
            d_logits.push(from_logp - g[1] * l.exp() * (l + entropy));
        }
    }
    d_logits
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    row.iter().map(|x| x - max - log_sum).collect()
}
