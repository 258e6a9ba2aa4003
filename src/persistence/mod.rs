//! The forked child and its frames, snapshot save and load.
//!
//! A snapshot is one walk over `&Keyspace` into a sink; the same walk serves SAVE, the forked child and the memory profile.
//! [`State`] is what the server knows of saving and loading; it changes only on the engine thread.
#![deny(clippy::indexing_slicing)]

pub mod aof;
mod background;
mod child;
mod codec;
mod decode;
mod frames;
mod load;
mod receive;
mod save;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod watch;

pub use background::{
    EndedRewrite, EndedSlotExport, EndedSnapshot, SlotExportPlan, Start, TransferPlan, WatchedChild,
    sweep_stale_files,
};
pub use child::{ChildKind, PendingUsage};
pub use codec::{dump_payload, stored_form, write_value};
pub use decode::{Decoder, Expired, Item, Loaded, Origin};
pub use frames::warm_up;
pub use load::{LoadError, LoadOptions, Loader};
pub use receive::{Batch, Finished, Outcome, Transfer, TransferScales, create_temporary};
pub use save::{
    History, LastUsePolicy, NoObserver, Observer, SaveError, SaveOptions, SlotImport, delay, save_file,
    write_snapshot,
};
pub use state::{Due, LoadProgress, LoadingMode, Scheduled, State};
pub use streams::{Receiver, Streams};
pub use watch::{News, watch};
