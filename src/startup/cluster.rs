//! Becoming a node of a cluster at start.

use crate::config::os_reason;
use crate::memory;
use crate::server::Engine;
use crate::server::cluster::file::{self, FileError};
use crate::server::cluster::{BUS_PORT_OFFSET, Cluster};

/// Becomes the node that the node file says, or a new one.
///
/// # Errors
/// Why the server cannot run as a node, for the log.
pub(super) fn open(engine: &mut Engine) -> Result<(), String> {
    let Engine { keyspace, server } = engine;
    let config = &server.config;
    if !config.cluster_enabled {
        return Ok(());
    }
    if config.cluster_port == 0 && config.port > u16::MAX - BUS_PORT_OFFSET {
        let text = "Cluster bus port number too high: it is the port plus 10000, which must be below 65536.";
        return Err(text.to_owned());
    }
    let path = config.cluster_config_file.as_path();
    let name = path.display().to_string();
    let lock = file::lock(path).map_err(|error| describe(&error, &name))?;
    let cluster = match file::load(path, server.now_ms) {
        Ok(Some(cluster)) => {
            tracing::info!("Node configuration loaded, I'm {}", cluster.me().id);
            cluster
        }
        Ok(None) => {
            let cluster = Cluster::new(server.now_ms);
            tracing::info!("No cluster configuration found, I'm {}", cluster.me().id);
            cluster
        }
        Err(error) => return Err(describe(&error, &name)),
    };
    keyspace.index_slots();
    let queue = server.background.threads.spawn("cluster", memory::register_thread);
    let queue = queue.map_err(|error| os_reason(&error))?;
    server.enter_cluster(cluster, queue, lock);
    server
        .save_cluster()
        .map_err(|error| format!("Could not write the cluster config file: {}", os_reason(&error)))
}

fn describe(error: &FileError, path: &str) -> String {
    match error {
        FileError::Unreadable(error) => {
            format!("Loading the cluster node config from {path}: {}", os_reason(error))
        }
        FileError::Corrupt(line) => {
            format!("Unrecoverable error: corrupted cluster config file \"{line}\".")
        }
        FileError::Unlockable(error) => {
            format!("Can't open {path} in order to acquire a lock: {}", os_reason(error))
        }
        FileError::InUse => format!(
            "Sorry, the cluster configuration file {path} is already used by a different Cluster node. Please make sure \
             that different nodes use different cluster configuration files."
        ),
    }
}
