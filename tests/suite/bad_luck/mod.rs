//! Bad input and bad luck, through the program: the exit code (2 input, 3 machine, 4 numbers), a
//! message with place, reason and next step, no panic, and nothing lost that was saved.

mod input;
#[cfg(unix)]
mod machine;
mod numbers;
mod resume;

const INPUT: i32 = 2;
#[cfg(unix)]
const MACHINE: i32 = 3;
const NUMBERS: i32 = 4;
