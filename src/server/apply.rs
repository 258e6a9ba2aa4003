//! What a changed option brings about outside of the configuration itself: limits of encodings, access clocks, events.

use super::{Server, Task};
use crate::config::{Config, MaxmemoryPolicy};
use crate::keyspace::Keyspace;
use crate::keyspace::access::AccessPolicy;

/// Brings about the effects of options that were changed, given by their primary names. To be called after the
/// start-up configuration was read (with every name) and after each CONFIG SET.
///
/// # Errors
/// The option whose effect failed, and why; the caller takes the whole change back and calls this again.
pub fn apply_config(
    keyspace: &mut Keyspace,
    server: &mut Server,
    changed: &[&'static str],
) -> Result<(), (&'static str, String)> {
    server.limits = super::limits(&server.config);
    keyspace.access_policy = access_policy(&server.config);
    server.events.wanted = server.config.notify_keyspace_events;
    if changed.iter().any(|name| matches!(*name, "bind" | "port")) {
        server.ask(Task::Rebind);
    }
    Ok(())
}

/// How accesses are recorded, which follows from the eviction policy.
fn access_policy(config: &Config) -> AccessPolicy {
    match config.maxmemory_policy {
        MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => {
            AccessPolicy::Lfu { log_factor: config.lfu_log_factor, decay_minutes: config.lfu_decay_time }
        }
        _ => AccessPolicy::Lru,
    }
}
