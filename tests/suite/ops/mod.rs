//! Every kernel on both backends, against plain loops in f64.

mod adamw;
mod attention;
mod dropout;
mod head;
mod matmul;
mod model;
mod objective;
mod sampling;
mod step;
mod stored;
mod subgroups;
mod units;
mod vector;
