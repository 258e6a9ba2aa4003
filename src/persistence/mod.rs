//! The forked child and its frames, snapshot save and load.

mod state;

pub use state::State;
