//! Analyses as pictures: plain SVG without scripts, fonts or links, which any browser shows.

use super::dynamics::{Dynamics, Point};
use super::token_shift::{Bins, ResponseShift, TokenShift};
use std::fmt::{Display, Write};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 20.0;
const LINE: f64 = 22.0;
/// Width of a character in browsers' default monospace fonts at 14 px.
const CHARACTER: f64 = 8.43;
const INK: &str = "#1d1c1a";
const QUIET: &str = "#5f5c56";
const EDGE: &str = "#8a867d";
/// The colours of the runs, in turn.
const RUNS: [&str; 6] = ["#6236c4", "#9a5200", "#0a6b72", "#8f2f62", "#4a5d10", "#2455a8"];

/// The colour of a change in probability: blue up, red down, white none. The root of |Δp| makes small
/// changes visible.
pub fn colour(delta_p: f64) -> [u8; 3] {
    let full: [f64; 3] = if delta_p > 0.0 { [79.0, 134.0, 234.0] } else { [217.0, 84.0, 75.0] };
    let share = delta_p.abs().min(1.0).sqrt();
    full.map(|channel| (255.0 + (channel - 255.0) * share).round() as u8)
}

/// A token as it is shown: byte-level and SentencePiece spellings of white space replaced by what they
/// mean.
pub fn shown(token: &str) -> String {
    let plain = |c: char| match c {
        'Ġ' | '▁' => ' ',
        'Ċ' | '\n' => '↵',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    };
    token.chars().map(plain).collect()
}

/// Up to `strips` responses with their tokens coloured by Δp, above the distribution of Δp over all
/// responses.
pub fn token_shift(shift: &TokenShift, strips: usize) -> String {
    let mut svg = Svg::new();
    svg.heading(format_args!("Token shift from {} to {}", shift.base, shift.model));
    svg.legend();
    for response in shift.shown(strips) {
        svg.strip(response);
    }
    let all = &shift.all;
    svg.line(format_args!(
        "{} tokens of {} responses: mean |Δ ln p| {:.4} nats, |Δp| > 0.1 in {:.1}%, > 0.5 in {:.1}%",
        all.tokens,
        all.responses,
        all.mean_abs_delta_logp,
        100.0 * all.share_above_0_1,
        100.0 * all.share_above_0_5
    ));
    svg.bars("Δp", &all.delta_p);
    svg.bars("Δ ln p, nats", &all.delta_logp);
    svg.finish()
}

/// Each run's path through its distances, for every two references; with one reference, its distance
/// over steps.
pub fn dynamics(dynamics: &Dynamics) -> String {
    const SIDE: f64 = 240.0;
    const STRIDE: f64 = 310.0;
    let mut svg = Svg::new();
    svg.heading("Learning dynamics");
    svg.line(format_args!("Distance: {}", dynamics.metric));
    for (path, colour) in dynamics.paths.iter().zip(RUNS.iter().cycle()) {
        svg.circle(MARGIN + 6.0, svg.y - 5.0, colour, colour, "");
        let last = path.points.last().map_or(0, |p| p.step);
        svg.text(
            MARGIN + 18.0,
            INK,
            format_args!("{} ({}), to step {last}", path.run, path.method),
        );
        svg.y += LINE;
    }
    svg.line("Each path goes from its hollow end to its filled end.");
    svg.y += 0.5 * LINE;
    let names: Vec<&str> = dynamics.references.iter().map(|r| r.name.as_str()).collect();
    let k = names.len();
    let pairs: Vec<(usize, usize)> = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j))).collect();
    let axis = |i: usize| (format!("d to {}, nats", names[i]), move |p: &Point| p.distances[i]);
    let top = svg.y;
    if k == 1 {
        let (label, value) = axis(0);
        svg.panel(dynamics, (MARGIN, top, SIDE), ["step", &label], |p| {
            [f64::from(p.step), value(p)]
        });
    }
    for (index, &(i, j)) in pairs.iter().enumerate() {
        let ((x_label, x), (y_label, y)) = (axis(i), axis(j));
        let (row, column) = ((index / 3) as f64, (index % 3) as f64);
        let place = (MARGIN + column * STRIDE, top + row * STRIDE, SIDE);
        svg.panel(dynamics, place, [&x_label, &y_label], |p| [x(p), y(p)]);
    }
    svg.y = top + STRIDE * pairs.len().max(1).div_ceil(3) as f64;
    svg.finish()
}

/// A picture that is filled from top to bottom.
struct Svg {
    body: String,
    y: f64, // baseline of the next line
}

impl Svg {
    fn new() -> Self {
        Self { body: String::new(), y: MARGIN + 16.0 }
    }

    fn put(&mut self, element: std::fmt::Arguments) {
        self.body.write_fmt(element).expect("writing to a string");
        self.body.push('\n');
    }

    fn text(&mut self, x: f64, fill: &str, text: impl Display) {
        let (y, text) = (self.y, escaped(text));
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{fill}\">{text}</text>"));
    }

    fn line(&mut self, text: impl Display) {
        self.text(MARGIN, QUIET, text);
        self.y += LINE;
    }

    fn heading(&mut self, text: impl Display) {
        let (y, text) = (self.y, escaped(text));
        self.put(format_args!(
            "<text x=\"{MARGIN}\" y=\"{y:.1}\" fill=\"{INK}\" font-size=\"18\" font-weight=\"600\">{text}</text>"
        ));
        self.y += 1.3 * LINE;
    }

    fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str, title: impl Display) {
        let title = escaped(title);
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\"><title>{title}</title></rect>"
        ));
    }

    fn circle(&mut self, x: f64, y: f64, stroke: &str, fill: &str, title: impl Display) {
        let title = escaped(title);
        self.put(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" stroke=\"{stroke}\" stroke-width=\"1.5\" \
             fill=\"{fill}\"><title>{title}</title></circle>"
        ));
    }

    fn legend(&mut self) {
        const STEPS: [f64; 9] = [-1.0, -0.5, -0.1, -0.01, 0.0, 0.01, 0.1, 0.5, 1.0];
        for (i, delta) in STEPS.into_iter().enumerate() {
            let x = MARGIN + 60.0 * i as f64;
            self.rect([x, self.y - 15.0, 58.0, 20.0], &hex(colour(delta)), "");
            let sign = if delta > 0.0 { "+" } else { "" };
            self.text(x + 6.0, INK, format_args!("{sign}{delta}"));
        }
        self.text(MARGIN + 552.0, QUIET, "Δp = p after − p before");
        self.y += 1.5 * LINE;
    }

    fn strip(&mut self, response: &ResponseShift) {
        self.line(format_args!("{}: {}", response.suite, shown(&response.prompt)));
        let mut x = MARGIN;
        for (t, token) in response.tokens.iter().enumerate() {
            let text = shown(token);
            let width = CHARACTER * text.chars().count().max(1) as f64 + 8.0;
            if x + width > WIDTH - MARGIN && x > MARGIN {
                (x, self.y) = (MARGIN, self.y + 1.1 * LINE);
            }
            let (before, after) = (response.before[t], response.after[t]);
            let title = format!(
                "{text}: p {before:.4} → {after:.4}, Δ ln p {:+.3} nats",
                response.delta_logp[t]
            );
            let fill = hex(colour(response.delta_p[t]));
            self.rect([x, self.y - 15.0, width - 1.0, 20.0], &fill, title);
            self.text(x + 3.5, INK, text);
            x += width;
        }
        self.y += 1.5 * LINE;
    }

    /// Shares of tokens as horizontal bars.
    fn bars(&mut self, what: &str, bins: &Bins) {
        const START: f64 = 220.0;
        const FULL: f64 = 600.0;
        self.y += 0.5 * LINE;
        self.line(format_args!("{what}: share of the tokens"));
        for (name, share) in bins.rows() {
            self.text(MARGIN, INK, &name);
            self.rect([START, self.y - 13.0, FULL * share, 16.0], EDGE, "");
            self.text(START + FULL * share + 6.0, INK, format_args!("{:.1}%", 100.0 * share));
            self.y += LINE;
        }
    }

    /// A square of `side` with every run's path by two coordinates, from 0.
    fn panel(
        &mut self,
        dynamics: &Dynamics,
        (left, top, side): (f64, f64, f64),
        labels: [&str; 2],
        at: impl Fn(&Point) -> [f64; 2],
    ) {
        let points = || dynamics.paths.iter().flat_map(|path| &path.points);
        let most = [0, 1].map(|axis| round_up(points().map(|p| at(p)[axis]).fold(0.0, f64::max)));
        let place = |p: &Point| {
            let [x, y] = at(p);
            (left + 10.0 + side * x / most[0], top + side * (1.0 - y / most[1]))
        };
        self.rect([left + 10.0, top, side, side], "#f7f6f3", "");
        self.y = top - 6.0;
        self.text(left + 10.0, QUIET, format_args!("↑ {}, to {}", labels[1], most[1]));
        self.y = top + side + 18.0;
        self.text(left + 10.0, QUIET, format_args!("→ {}, to {}", labels[0], most[0]));
        for (path, colour) in dynamics.paths.iter().zip(RUNS.iter().cycle()) {
            let line = path.points.iter().map(|p| {
                let (x, y) = place(p);
                format!("{x:.1},{y:.1}")
            });
            let line = line.collect::<Vec<_>>().join(" ");
            self.put(format_args!(
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
            ));
            for (i, point) in path.points.iter().enumerate() {
                let ((x, y), [a, b]) = (place(point), at(point));
                // The path goes from the hollow end to the last, filled point.
                let fill = if i + 1 == path.points.len() { colour } else { "#ffffff" };
                let title = format!("{}, step {}: {a:.4}, {b:.4}", path.run, point.step);
                self.circle(x, y, colour, fill, title);
            }
        }
    }

    fn finish(self) -> String {
        let height = self.y + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             width=\"{WIDTH}\" height=\"{height:.0}\" font-size=\"14\" \
             font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
             xml:space=\"preserve\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text for XML; what XML 1.0 cannot hold becomes U+FFFD.
fn escaped(text: impl Display) -> String {
    let mut safe = String::new();
    for c in text.to_string().chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{FFFE}' | '\u{FFFF}' => safe.push('\u{FFFD}'),
            c if c.is_control() => safe.push('\u{FFFD}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A round number at or just above the largest value of an axis; 1 if that is 0.
fn round_up(most: f64) -> f64 {
    const ROUND: [f64; 8] = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(most.log10().floor());
    let above = ROUND.into_iter().map(|m| m * power).find(|&m| m >= most);
    let above = above.unwrap_or(10.0 * power);
    format!("{above:.3e}").parse().unwrap_or(above) // 0.6, not 0.6000000000000001
}
