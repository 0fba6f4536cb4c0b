//! What the build resolves to.

/// The safe and the low-level interface must be the same library: two copies would be two sets of code paths, one of
/// them untested.
#[test]
fn there_is_exactly_one_aws_lc_in_the_tree() {
    let lock = include_str!("../../../Cargo.lock");
    let copies = lock.lines().filter(|line| line.starts_with("name = \"aws-lc") && line.contains("sys\""));
    assert_eq!(copies.collect::<Vec<_>>(), ["name = \"aws-lc-sys\""]);
}
