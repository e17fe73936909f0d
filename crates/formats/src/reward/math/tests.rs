//! Unit tests of the whole way from text to verdict. What math-verify judges is in `crates/formats/tests/readers/math.rs`.

use super::*;
use crate::random::Stream;

/// The verdict by value alone: a loosely right answer counts as right.
fn verdict(gold: &str, response: &str) -> Verdict {
    by_value(&Gold::parse(gold).unwrap_or_else(|e| panic!("{e}")), response)
}

fn by_value(gold: &Gold, response: &str) -> Verdict {
    match judge(gold, "", response) {
        Verdict::Loose => Verdict::Right,
        verdict => verdict,
    }
}

#[test]
fn what_cannot_be_read_is_told_from_what_is_wrong() {
    let long = format!("\\boxed{{{}1}}", "1+".repeat(1_000));
    let deep = format!("\\boxed{{{}1{}}}", "(".repeat(100), ")".repeat(100));
    let many = format!("\\boxed{{{}1}}", "1,".repeat(100));
    for response in [
        "",
        "\\boxed{}",
        "\\boxed{5",
        "\\boxed{(1, 2}",
        "\\boxed{1 +}",
        "\\boxed{2 3}",
        "\\boxed{1/0}",
        "\\boxed{(-1)!}",
        "\\boxed{\\int x dx}",
        "\\boxed{\\begin{cases} 1 \\\\ 2 \\end{cases}}",
        "\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 \\end{pmatrix}}",
        "\\boxed{\\{1\\} + 1}",
        "\\boxed{1e99999}",
        "\\boxed{x!!!!!!!!!}",
        "\\boxed{5^{\\circ}",
        "\\boxed{5^\\circ^}",
        "first line,\nI don't know",
        &long,
        &deep,
        &many,
        &"word ".repeat(30),
    ] {
        assert_eq!(verdict("5", response), Verdict::Unreadable, "{response}");
    }
    for response in
        ["6", "\\boxed{x}", "\\boxed{10^{10^{10}}}", "the answer is blue", "6.\nI do know"]
    {
        assert_eq!(verdict("5", response), Verdict::Wrong, "{response}");
    }
}

#[test]
fn a_gold_answer_that_cannot_be_read_is_an_error() {
    for gold in
        ["", " ", "\\frac{1}{0}", "(1, 2", "\\sum_{k=1}^n k", "1 +", "…", &"1".repeat(3_000)]
    {
        let error = Gold::parse(gold).unwrap_err();
        assert!(error.what.starts_with("the gold answer") && error.next.is_some(), "{error}");
        assert!(error.what.len() < 300, "{error}");
    }
}

#[test]
fn a_gold_answer_can_be_a_worked_solution() {
    for gold in
        ["so $x = \\boxed{\\frac12}$.", "1 / 2 = 0.5\n#### 0.5", "$\\frac{1}{2}$", "\\(0.5\\)"]
    {
        assert_eq!(verdict(gold, "\\boxed{1/2}"), Verdict::Right, "{gold}");
    }
}

/// Found by fuzzing.
#[test]
fn a_gold_answer_is_right_word_for_word() {
    for gold in
        ["2, Tswer is $3$.", "2 apples, and the rest is $3$", "red is 3, blue 2", "�w=wwww°"]
    {
        assert_eq!(verdict(gold, gold), Verdict::Right, "{gold}");
    }
    assert_eq!(verdict("2, and the rest is $3$", "1, and the rest is $3$"), Verdict::Wrong);
}

#[test]
fn how_values_are_read() {
    for (gold, given, right) in [
        ("\\cot x", "\\frac{\\cos x}{\\sin x}", true),
        ("\\csc^2 x", "1 + \\cot^2 x", true),
        ("\\log_28", "3", true),
        ("\\frac12x", "x/2", true),
        ("\\frac{12}3", "4", true),
        ("√12", "2\\sqrt{3}", true),
        ("2^{-1}", "2^-1", true),
        ("2^3^2", "512", true),
        ("x^{2}!", "(x^2)!", true),
        ("\\begin{pmatrix}1&2\\end{pmatrix}^T", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", true),
        ("\\{\\pm 1, 2\\}", "\\{1, -1, 2\\}", true),
        ("(\\pm 1, 2)", "(1,2), (-1,2)", true),
        ("1 \\mp 2 \\pm 3", "2, 0", true),
        ("(1,2), (3,4)", "1,2;3,4", true),
        ("12:00", "12:00 pm", true),
        ("12:00", "1:00", false),
        ("0.1\\overline{6}", "\\frac16", true),
        ("e_1", "e_1", true),
        ("e_1", "e_2", false),
        ("\\mathrm{e}", "e", true),
        ("sinx", "\\sin x", true),
        ("||x|-1|", "|1-|x||", true),
        ("\\\\frac{1}{2}", "0.5", true), // doubled backslashes
        ("\\{x<1, x>2\\}", "(-\\infty,1)\\cup(2,\\infty)", true),
        ("(a,b)\\cup(c,d)", "(c,d)\\cup(a,b)", true),
        ("(a,b)\\cup(c,d)", "(c,d)\\cup(a,e)", false),
        ("\\{a\\}\\cup[b,c]", "[b,c]\\cup\\{a\\}", true),
        ("x=1", "1=x", true),
        ("x^2=25", "25", false),
        ("x+y=z", "z", true),
        ("0<f(x)<1", "(0,1)", true),
        ("|x|<1", "(-\\infty,1)", false),
        ("\\frac{x}{x}", "1", true),
        ("(-1)^{2n}", "1", false),                // true for whole n only
        ("\\ln x^2", "2\\ln x", false),           // true for positive x only
        ("\\sqrt[3]{-x}", "-\\sqrt[3]{x}", true), // real roots
        ("x^{1/3}x^{1/6}", "\\sqrt{x}", true),    // principal roots
        ("10^{20}\\pi", "10^{20}\\pi + 1", true), // beyond f64
        ("10^{20}", "10^{20}+1", false),
        ("10^{9999}", "10^{9999}", true),
        ("10^{9999}", "10 \\cdot 10^{9998}", false), // too large to be known
        ("x<0", "99!x<x", true),
        ("y=99!x", "x=\\frac{y}{99!}", true),
        ("3z=3+9i", "z=1+3i", true),
        ("iz=x", "z=x", false),
        ("\\frac{1}{10^{160}\\pi}", "\\frac{10^{-160}}{\\pi}", true),
        ("\\frac{1}{10^{160}\\pi}", "\\frac{1}{10^{160}e}", false),
        ("\\binom{110}{n}", "\\binom{111}{n}", false),
        ("9^{-9999}", "9^{-9999}", true),
        ("9^{-9999}", "8^{-9999}", false), // below f64
        ("9^{-9999}", "0", false),
        ("10^{-400}\\pi", "10^{-400}e", false),
        ("1-.9^{9999}", "-.9^{9999}+1", true),
        ("9^{-9999}x \\cdot 0", "0", true),
        ("Größe", "größe", true),
        // As in crates/formats/tests/readers/math.rs, where math-verify judges otherwise.
        ("2i", "(1+i)^2", true),
        ("2i", "\\sqrt{-4}", true),
        ("\\frac{1-i}{2}", "\\frac{1}{1+i}", true),
        ("\\frac{1-i}{2}", "0.5-0.5i", true),
        ("(-\\infty,2)\\cup(3,\\infty)", "(-∞,2)∪(3,∞)", true),
        ("x \\le 3", "x≤3", true),
        ("90^\\circ", "90°", true),
        ("5", "€5", true),
        ("1200", "1.2e+3", true),
        ("3t", "t+2t", true),
        ("10", "\\binom53", true),
    ] {
        let expected = if right { Verdict::Right } else { Verdict::Wrong };
        assert_eq!(verdict(gold, &format!("\\boxed{{{given}}}")), expected, "{gold}, {given}");
    }
}

/// Numbers with a fraction in words, labels before an answer, a pause before it.
#[test]
fn answers_as_people_say_them() {
    for (gold, response, right) in [
        ("2.5", "two and a half", true),
        ("5/2", "The answer is two and a half.", true),
        ("2.5", "It takes two and a half hours.", true),
        ("2.5", "\\boxed{\\text{two and a half}}", true),
        ("-2.5", "minus two and a half", true),
        ("2500000", "two and a half million", true),
        ("2.5", "2 and a half", true),
        ("3.25", "three and a quarter", true),
        ("105.75", "one hundred and five and three-quarters", true),
        ("5/3", "one and two thirds", true),
        ("1/2", "one half", true),
        ("1/2", "one-half", true),
        ("1/2", "half", true),
        ("0.25", "a quarter", true),
        ("2/3", "two thirds", true),
        ("2/3", "So it is two-thirds.", true),
        ("2", "two and a half", false),
        ("2.5", "two", false),
        ("1/2", "two and a half", false),
        ("5", "twenty fifth", false),
        ("3", "two thirds", false),
        ("2, 1/2", "two and a half", false),
        ("8", "A: 8", true),
        ("x+1", "A: x+1", true),
        ("8", "Q: What is 3 + 5? A: 8", true),
        ("8", "3 + 5 = 8\nA: 8", true),
        ("-8", "A: -8", true),
        ("8", "Result: 8", true),
        ("8", "Answer - 8", true),
        ("8", "Final answer – 8.", true),
        ("-8", "Answer - 8", false),
        ("8", "A: 8\nB: 9", false),
        ("8", "Step: 8", false),
        ("8", "the answer is... 8!", true),
        ("8", "The answer is ... 8!", true),
        ("8", "the answer is… 8!", true),
        ("8", "So the result is... 8!", true),
        ("40320", "8!", true),
        ("40320", "the answer is... 8!", false),
        (".5", "the answer is... .5", true),
    ] {
        let verdict = judge(&Gold::parse(gold).unwrap(), "", response);
        assert_eq!(verdict == Verdict::Right, right, "{gold}: {response}");
    }
    // A gold answer in words equals its number, and the other way round.
    for (words, number) in
        [("two and a half", "2.5"), ("three and a quarter", "13/4"), ("two thirds", "\\frac23")]
    {
        assert_eq!(judge(&Gold::parse(words).unwrap(), "", number), Verdict::Right, "{words}");
        assert_eq!(judge(&Gold::parse(words).unwrap(), "", words), Verdict::Right, "{words}");
    }
}

/// Answers of every kind.
const SAMPLES: [&str; 40] = [
    "42",
    "-3/4",
    "0.125",
    "1\\frac{1}{2}",
    "50\\%",
    "1,234,567",
    "1.2\\times 10^{3}",
    "(1, 2)",
    "\\{1, 2, 3\\}",
    "[0, 1)",
    "(-\\infty, 2) \\cup [3, \\infty)",
    "\\mathbb{R} \\setminus \\{0\\}",
    "\\begin{pmatrix} 1 & x \\\\ 0 & 2 \\end{pmatrix}",
    "\\pm \\sqrt{2}",
    "x = 5",
    "x = 1, y = 2",
    "1 < x \\le 2",
    "x \\ne 0",
    "y = 2x + 1",
    "2 \\text{ or } 3",
    "\\frac{\\sqrt{2}}{2}",
    "2\\pi",
    "e^{i\\pi}",
    "3 + 4i",
    "x^2 + 2x + 1",
    "(x+1)^2",
    "\\sin^2 x + \\cos^2 x",
    "\\log_2 8",
    "5!",
    "|x - 2|",
    "\\binom{5}{2}",
    "\\text{blue}",
    "blue",
    "no solution",
    "\\emptyset",
    "-\\infty",
    "10^{10^9}",
    "90^\\circ",
    "5 \\text{ cm}",
    "(0,1),(2,3)",
];

#[test]
fn every_answer_equals_itself_and_equality_has_two_sides() {
    let read: Vec<Answer> = SAMPLES.iter().map(|text| read(text, true).unwrap()).collect();
    for (a, first) in read.iter().zip(SAMPLES) {
        assert!(a.accepts(a), "{first}");
        for (b, second) in read.iter().zip(SAMPLES) {
            // Tuples and sets are not symmetric: a gold tuple is ordered, a gold set is not.
            let tuple = |v: &Value| matches!(v, Value::Tuple(_));
            if tuple(&a.value) == tuple(&b.value) {
                assert_eq!(a.accepts(b), b.accepts(a), "{first}, {second}");
            }
        }
    }
}

#[test]
fn every_part_finds_the_partner_that_leaves_one_to_the_others() {
    // 50% equals .5 and 50, which differ; .333333 equals both fractions, which also differ.
    for gold in [
        "(1,x)\\cup(50%,x)\\cup(.5,x)\\cup(2,x)\\cup(50,x)",
        "(1,x)\\cup(.333333,x)\\cup(1/3,x)\\cup(2,x)\\cup(333333/1000000,x)",
        "x<1<50%<50<50<59",
        "x<1<50%<50%<50<50%<.5<9",
    ] {
        assert_eq!(verdict(gold, gold), Verdict::Right, "{gold}");
    }
    for (gold, given, right) in [
        ("(50%,x)\\cup(50,x)\\cup(.5,x)", "(.5,x)\\cup(50%,x)\\cup(50,x)", true),
        ("(50%,x)\\cup(50,x)", "(.5,x)\\cup(.5,x)", false),
        ("(50,x)\\cup(.5,x)", "(50%,x)\\cup(7,x)", false),
    ] {
        let expected = if right { Verdict::Right } else { Verdict::Wrong };
        assert_eq!(verdict(gold, given), expected, "{gold}, {given}");
    }
}

/// An expression of numbers and variables in two spellings.
fn two_spellings(stream: &mut Stream, depth: u32) -> [String; 2] {
    let kind = if depth == 0 { stream.below(3) } else { 3 + stream.below(5) };
    let mut part = || two_spellings(stream, depth - 1);
    match kind {
        0 => ["x".into(), "x".into()],
        1 => ["y".into(), "{y}".into()],
        2 => {
            let n = stream.between(2, 9);
            [format!("\\frac{{{n}}}{{7}}"), format!("{}/{}", 3 * n, 21)]
        }
        3 => {
            let [[a, a2], [b, b2]] = [part(), part()];
            [format!("({a}+{b})"), format!("\\left({b2} - -({a2})\\right)")]
        }
        4 => {
            let [[a, a2], [b, b2]] = [part(), part()];
            [format!("{a}\\cdot {b}"), format!("({b2})({a2})")]
        }
        5 => {
            let [[a, a2], [b, b2]] = [part(), part()];
            [
                format!("\\frac{{{a}}}{{1+({b})^2}}"),
                format!("\\left(({b2})({b2})+1\\right)^{{-1}}\\left({a2}\\right)"),
            ]
        }
        6 => part().map(|a| format!("-({a})")),
        _ => {
            let [a, a2] = part();
            [format!("\\sqrt{{({a})^2}}"), format!("|{a2}|")]
        }
    }
}

#[test]
fn rewriting_keeps_a_value_and_adding_to_it_does_not() {
    let mut stream = Stream::new(2, 1, 0);
    for round in 0..600 {
        let [a, b] = two_spellings(&mut stream, 1 + round % 4);
        assert_eq!(verdict(&a, &format!("\\boxed{{{b}}}")), Verdict::Right, "{a}, {b}");
        let other = format!("\\boxed{{{b}+\\frac{{1}}{{1000}}}}");
        assert_eq!(verdict(&a, &other), Verdict::Wrong, "{a}, {b}");
    }
}

/// Pieces that mutations insert.
const PIECES: [&str; 60] = [
    "\\",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "|",
    "^",
    "_",
    "!",
    "%",
    "&",
    ",",
    ";",
    ":",
    "=",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    ".",
    "'",
    "$",
    " ",
    "\n",
    "0",
    "1",
    "7",
    "999",
    "x",
    "e",
    "i",
    "π",
    "−",
    "²",
    "é",
    "🦀",
    "\u{0}",
    "\\frac",
    "\\sqrt",
    "\\boxed{",
    "\\text{",
    "\\left",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\pm",
    "\\cup",
    "\\{",
    "\\}",
    "\\sin",
    "\\log_",
    "\\infty",
    "\\\\",
    "^{",
    "\\overline{",
    "and",
    "answer is ",
];

#[test]
fn no_text_can_make_it_panic() {
    let mut stream = Stream::new(1, 1, 0);
    let mut below = |bound: usize| stream.below(bound as u32) as usize;
    let mut readable = 0;
    for _ in 0..40_000 {
        let mut text: Vec<char> = SAMPLES[below(SAMPLES.len())].chars().collect();
        for _ in 0..below(6) {
            let at = below(text.len() + 1);
            match below(3) {
                0 => text.truncate(at),
                1 => drop(text.splice(at..at, PIECES[below(PIECES.len())].chars())),
                _ => drop(text.drain(at..(at + 1 + below(3)).min(text.len()).max(at))),
            }
        }
        let text: String = text.into_iter().collect();
        let boxed = format!("\\boxed{{{text}}}");
        judge(&Gold::parse("1").unwrap(), "", &text);
        if let Ok(gold) = Gold::parse(&boxed) {
            readable += 1;
            assert_eq!(by_value(&gold, &boxed), Verdict::Right, "{text}");
        }
    }
    // The test would prove little if nearly all answers, or none, were readable.
    assert!((8_000..36_000).contains(&readable), "{readable}");
}

#[test]
fn work_is_bounded() {
    assert_eq!(final_answer(&"\\boxed{".repeat(50_000)), None);
    let repeat = |piece: &str, times: usize| piece.repeat(times);
    // What is searched at many places must be searched only nearby; otherwise this takes hours.
    let (done, waited) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let gold = Gold::parse("12").unwrap();
        let pieces = [
            "answer ",
            "answer (",
            "the answer is ",
            "12 is the answer ",
            "*a ",
            " **a",
            "_a ",
            "<|",
            "a. ",
        ];
        for text in pieces.map(|piece| piece.repeat(60_000)) {
            judge(&gold, &text, &text);
        }
        judge(&gold, "", &("the answer is 12".to_string() + &")".repeat(300_000)));
        let _ = done.send(());
    });
    let limit = std::time::Duration::from_secs(600);
    waited.recv_timeout(limit).expect("work that grows as the text does");
    for text in [
        repeat("9^", 900) + "9",
        repeat("(", 60) + "x" + &repeat("!!)", 60),
        repeat("500!+", 100) + "1",
        repeat("500!*", 100) + "1",
        repeat("\\binom{4000000000}{999}+", 80) + "1",
        repeat("\\cot(", 60) + "x" + &repeat(")", 60),
        repeat("1\\frac{", 50) + "x" + &repeat("}{1}", 50),
        repeat("\\{\\pm", 60) + "1" + &repeat(",1\\}", 60),
        repeat("\\{x,", 45) + "y" + &repeat("\\}", 45),
        repeat("-", 1_900) + "1",
        repeat("x,", 90) + "y",
        repeat("x<", 90) + "y",
        repeat("1/", 900) + "x",
        repeat("\\sqrt[64]{", 100) + &repeat("9", 800) + &repeat("}", 100),
        "0.".to_string() + &repeat("3", 1_900),
        "9".repeat(600) + "^{" + &"9".repeat(600) + "}",
    ] {
        if let Ok(answer) = read(&text, true) {
            answer.accepts(&answer);
            read("(x+1)^2", true).unwrap().accepts(&answer);
        }
    }
}
