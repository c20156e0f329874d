//! Models of what workers share: loom runs each with every order of its threads' steps (up to three
//! preemptions) and every value that the memory model lets a load see.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p dataplane --release --test loom`
#![cfg(loom)]

mod connection;
mod decision;
mod fdb;

/// Explores a model.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = Some(3);
    b.max_branches = 20_000;
    b.check(model);
}
