//! Every test of the core from outside, in one program: linking takes longer than running them.

mod dependencies;
mod index;
mod known_answers;
mod legacy;
mod refusals;
mod segments;
mod wraps;
