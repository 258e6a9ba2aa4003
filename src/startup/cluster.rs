//! Becoming a node of a cluster at start, and taking over the slots of the keys that were loaded.

use crate::config::os_reason;
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
    let cluster = match file::load(path) {
        Ok(Some(cluster)) => {
            tracing::info!("Node configuration loaded, I'm {}", cluster.id);
            cluster
        }
        Ok(None) => {
            let cluster = Cluster::default();
            tracing::info!("No cluster configuration found, I'm {}", cluster.id);
            cluster
        }
        Err(error) => return Err(describe(&error, &path.display().to_string())),
    };
    keyspace.count_slots();
    server.cluster = Some(Box::new(cluster));
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
        FileError::OtherNodes(id) => format!(
            "The cluster config file {path} knows of node {id}: clusters of several nodes are not supported by \
             Weighbridge."
        ),
    }
}

/// After loading: keys whose slots nobody serves are this node's.
pub(super) fn take_slots(engine: &mut Engine) {
    let Engine { keyspace, server } = engine;
    if let Some(cluster) = &mut server.cluster
        && cluster.take_slots_of_keys(keyspace)
    {
        server.cluster_changed();
    }
}
