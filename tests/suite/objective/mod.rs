//! From rewards to the slope of each token: by hand, and against other programs' own code.

mod cases;
mod factors;
mod losses;
mod methods;
mod prefix;
