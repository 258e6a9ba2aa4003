//! How this server introduces itself to its primary, and asks to go on where it was.

use super::wire::Wire;
use super::{AT_ONCE, Failure, LATER, Link};
use crate::config::{Text, VALKEY_VERSION, os_reason};
use crate::replication::{PrimaryStream, ReplicationId};
use crate::server::primary_link::LinkState;

/// What the primary grants.
pub(super) enum Granted {
    /// The stream from where this server was, in this database.
    Stream(Box<PrimaryStream>, usize),
    /// A snapshot, and the stream after it.
    Snapshot(History),
    /// A snapshot on a connection of its own.
    OwnChannel,
}

/// The place in the primary's history that a snapshot stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    /// Which history.
    pub(super) id: ReplicationId,
    /// The offset; -1 when the primary counts none.
    pub(super) offset: i64,
}

impl History {
    /// That of a primary which says nothing of it.
    const UNKNOWN: Self = Self { id: ReplicationId::NONE, offset: -1 };
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

impl Link {
    /// PING, AUTH and what REPLCONF tells.
    pub(super) async fn introduce(&self, wire: &mut Wire) -> Result<(), Failure> {
        tracing::info!("Non blocking connect for SYNC fired the event.");
        self.send(wire, &[b"PING"]).await?;
        self.set_state(LinkState::Handshake)?;
        let reply = self.reply(wire).await?;
        let accepted: [&[u8]; 4] = [b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
        if !accepted.iter().any(|start| reply.starts_with(start)) {
            tracing::warn!("Error reply to PING from primary: '{}'", text(&reply));
            return Err(LATER);
        }
        tracing::info!("Primary replied to PING, replication can continue...");
        self.authenticate(wire).await?;
        let (port, address) = self.announced_address()?;
        let dual_channel = self.engine()?.server.config.dual_channel_replication_enabled;
        self.tell(wire, "listening-port", &[b"listening-port", port.as_bytes()]).await?;
        if !address.is_empty() {
            self.tell(wire, "ip-address", &[b"ip-address", address.as_bytes()]).await?;
        }
        let mut capabilities: Vec<&[u8]> = vec![b"capa", b"eof", b"capa", b"psync2"];
        if dual_channel {
            capabilities.extend([b"capa".as_slice(), b"dual-channel"]);
        }
        self.tell(wire, "capa", &capabilities).await?;
        self.tell(wire, "VERSION", &[b"version", VALKEY_VERSION.as_bytes()]).await?;
        let id = self.engine()?.server.cluster.as_ref().map(|cluster| cluster.me().id);
        match id {
            Some(id) => {
                self.tell(wire, "SET-CLUSTER-NODE-ID", &[b"set-cluster-node-id", id.as_bytes()]).await
            }
            None => Ok(()),
        }
    }

    /// The port and the address under which the primary shows this server; the address may be empty.
    pub(super) fn announced_address(&self) -> Result<(String, Text), Failure> {
        let config = &self.engine()?.server.config;
        let port = if config.replica_announce_port == 0 { config.port } else { config.replica_announce_port };
        Ok((port.to_string(), config.replica_announce_ip.clone()))
    }

    /// AUTH, if there is a password to tell.
    pub(super) async fn authenticate(&self, wire: &mut Wire) -> Result<(), Failure> {
        let (user, password) = {
            let config = &self.engine()?.server.config;
            (config.primaryuser.clone(), config.primaryauth.clone())
        };
        if password.is_empty() {
            return Ok(());
        }
        let mut request: Vec<&[u8]> = vec![b"AUTH"];
        if !user.is_empty() {
            request.push(user.as_bytes());
        }
        request.push(password.as_bytes());
        self.send(wire, &request).await?;
        let reply = self.reply(wire).await?;
        if reply.starts_with(b"-") {
            tracing::warn!("Unable to AUTH to PRIMARY: {}", text(&reply));
            return Err(LATER);
        }
        Ok(())
    }

    /// A REPLCONF that an older primary may not understand.
    async fn tell(&self, wire: &mut Wire, what: &str, args: &[&[u8]]) -> Result<(), Failure> {
        let mut request: Vec<&[u8]> = vec![b"REPLCONF"];
        request.extend(args);
        self.send(wire, &request).await?;
        let reply = self.reply(wire).await?;
        if reply.starts_with(b"-") {
            tracing::info!("(Non critical) Primary does not understand REPLCONF {what}: {}", text(&reply));
        }
        Ok(())
    }

    pub(super) async fn send(&self, wire: &Wire, request: &[&[u8]]) -> Result<(), Failure> {
        wire.send(request).await.map_err(|error| {
            let reason = os_reason(&error);
            tracing::warn!(
                "Sending command to primary in replication handshake: -Writing to master: {reason}"
            );
            LATER
        })
    }

    pub(super) async fn reply(&self, wire: &mut Wire) -> Result<Vec<u8>, Failure> {
        let line = wire.line().await.map_err(|error| {
            tracing::warn!("Failed to read response from the server: {}", os_reason(&error));
            LATER
        })?;
        self.note_io()?;
        Ok(line)
    }

    /// PSYNC.
    pub(super) async fn ask_for_stream(&self, wire: &mut Wire) -> Result<Granted, Failure> {
        let cached = self.engine()?.server.primary_link.cached();
        let (id, next) = match cached {
            Some(cached) => {
                let (id, next) = (cached.id.to_string(), (cached.offset + 1).to_string());
                tracing::info!("Trying a partial resynchronization (request {id}:{next}).");
                (id, next)
            }
            None => {
                tracing::info!("Partial resynchronization not possible (no cached primary)");
                ("?".to_owned(), "-1".to_owned())
            }
        };
        let mut request: Vec<&[u8]> = vec![b"PSYNC", id.as_bytes(), next.as_bytes()];
        if self.engine()?.server.replication.failover_is_under_way() {
            request.push(b"FAILOVER");
        }
        self.send(wire, &request).await?;
        let reply = loop {
            let line = self.reply(wire).await.inspect_err(|failure| {
                if *failure != Failure::Superseded {
                    tracing::warn!("Primary did not reply to PSYNC, will try later");
                }
            })?;
            // Empty lines say that the primary is alive and has not decided yet.
            if !line.is_empty() {
                break line;
            }
        };
        let granted = self.understand(wire, &reply).await;
        if self.engine()?.server.replication.failover_is_under_way() {
            self.settle_failover(granted.is_ok() && !reply.starts_with(b"-"))?;
        }
        granted
    }

    /// The target of a failover has taken over, or will not.
    fn settle_failover(&self, accepted: bool) -> Result<(), Failure> {
        let mut engine = self.engine()?;
        if accepted {
            engine.server.end_failover(true);
            return Ok(());
        }
        engine.server.abort_failover("Failover target rejected psync request");
        Err(Failure::Superseded)
    }

    async fn understand(&self, wire: &mut Wire, reply: &[u8]) -> Result<Granted, Failure> {
        if let Some(history) = reply.strip_prefix(b"+FULLRESYNC") {
            return Ok(Granted::Snapshot(full_resync(history)));
        }
        if let Some(id) = reply.strip_prefix(b"+CONTINUE") {
            let id = id.strip_prefix(b" ").and_then(ReplicationId::parse);
            let Some((stream, database)) = self.engine()?.server.continue_stream(id) else {
                tracing::warn!("Unexpected reply to PSYNC from primary: {}", text(reply));
                return Err(LATER);
            };
            return Ok(Granted::Stream(Box::new(stream), database));
        }
        if reply.starts_with(b"-NOMASTERLINK") || reply.starts_with(b"-LOADING") {
            tracing::info!(
                "Primary is currently unable to PSYNC but should be in the future: {}",
                text(reply)
            );
            return Err(LATER);
        }
        if reply.starts_with(b"+DUALCHANNELSYNC") {
            tracing::info!("Dual channel replication: PSYNC is not possible, initialize RDB channel.");
            return Ok(Granted::OwnChannel);
        }
        if reply.starts_with(b"-ERR") {
            tracing::info!("Primary does not support PSYNC or is in error state (reply: {})", text(reply));
        } else {
            tracing::warn!("Unexpected reply to PSYNC from primary: {}", text(reply));
        }
        tracing::info!("Retrying with SYNC...");
        wire.send_raw(b"SYNC\r\n").await.map_err(|error| {
            tracing::warn!("I/O error writing to PRIMARY: {}", os_reason(&error));
            AT_ONCE
        })?;
        Ok(Granted::Snapshot(History::UNKNOWN))
    }
}

/// `+FULLRESYNC <id> <offset>`; one that cannot be read means a history that nothing can go on with.
fn full_resync(words: &[u8]) -> History {
    let mut words = words.split(|byte| *byte == b' ').skip(1);
    let id = words.next().and_then(ReplicationId::parse);
    let offset = words.next().and_then(crate::algorithms::numbers::parse_i64);
    let (Some(id), Some(offset)) = (id, offset) else {
        tracing::warn!("Primary replied with wrong +FULLRESYNC syntax.");
        return History::UNKNOWN;
    };
    tracing::info!("Full resync from primary: {id}:{offset}");
    History { id, offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_synchronization_names_the_history_and_the_offset() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let history = full_resync(format!(" {id} 4711").as_bytes());
        assert_eq!((history.id.to_string().as_str(), history.offset), (id, 4711));
        for wrong in ["", " ", " 0123 7", &format!(" {id}"), &format!(" {id} x")] {
            assert_eq!(full_resync(wrong.as_bytes()).offset, -1, "{wrong}");
        }
    }
}
