// σ of u(g) = linear · g + cubic · g³, of an `info` that has both.

fn sigmoid_of(g: f32) -> f32 {
    // Beyond 80, e^−u leaves the range of normal numbers; σ is 0 or 1 there.
    return 1.0 / (1.0 + exp(-clamp(g * (info.linear + info.cubic * g * g), -80.0, 80.0)));
}
