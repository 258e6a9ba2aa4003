//! Inputs that nobody honest sends, made by changing honest ones: each target says what must hold for any bytes.
//!
//! `cargo test --test fuzz` tries a few thousand inputs of each target, from a fixed seed (`FUZZ_SEED`, `FUZZ_RUNS`).
//! `FUZZ_SECONDS=600 cargo test --test fuzz -- --exact rdb` goes on for so long; `tests/fuzz/run` does it with the code's
//! branches counted, so that inputs which reach something new are kept and changed further. What fails is kept in a file,
//! whose path the failure names; `FUZZ_INPUT=<file>` tries that file alone. What has failed once stands in `found/`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs, unreachable_pub)]

mod coverage;
mod harness;
mod mutation;
#[path = "../support/mod.rs"]
mod support;
mod targets;

use harness::fuzz;
use targets::{aof, config, listpack, payload, resp, scripts, snapshot};

#[test]
fn rdb() {
    fuzz("rdb", &snapshot::grammar(), &mut snapshot::target());
}

#[test]
fn restore() {
    let mut target = payload::Target::new();
    let grammar = target.grammar();
    fuzz("restore", &grammar, &mut |input| target.run(input));
}

#[test]
fn aof_tail() {
    fuzz("aof_tail", &aof::grammar(), &mut aof::target());
}

#[test]
fn listpacks() {
    fuzz("listpacks", &listpack::grammar(), &mut listpack::run);
}

#[test]
fn requests() {
    fuzz("requests", &resp::grammar(), &mut resp::run);
}

#[test]
fn config_file() {
    fuzz("config_file", &config::grammar(), &mut config::target());
}

#[test]
fn scripts() {
    let (grammar, mut target) = scripts::scripts();
    fuzz("scripts", &grammar, &mut |input| target.run(input));
}

#[test]
fn json() {
    let (grammar, mut target) = scripts::json();
    fuzz("json", &grammar, &mut |input| target.run(input));
}

#[test]
fn packed() {
    let (grammar, mut target) = scripts::packed();
    fuzz("packed", &grammar, &mut |input| target.run(input));
}

#[test]
fn structs() {
    let (grammar, mut target) = scripts::structs();
    fuzz("structs", &grammar, &mut |input| target.run(input));
}

#[test]
fn bits() {
    let (grammar, mut target) = scripts::bits();
    fuzz("bits", &grammar, &mut |input| target.run(input));
}

#[test]
fn patterns() {
    let (grammar, mut target) = scripts::patterns();
    fuzz("patterns", &grammar, &mut |input| target.run(input));
}
