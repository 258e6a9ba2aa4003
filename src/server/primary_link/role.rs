//! Becoming a replica, and becoming a primary again.

use super::LinkState;
use super::Retry;
use crate::config::{ReplicaOf, Text};
use crate::log;
use crate::persistence::Origin;
use crate::replication::{CachedPrimary, ReplicationId};
use crate::resp::CommandError;
use crate::server::blocking::Blocked;
use crate::server::command::flag;
use crate::server::replication::PrimaryAddress;
use crate::server::slot_migration::Direction;
use crate::server::{ClientKey, Server};

impl Server {
    /// Makes this server a replica of another one. `running` is the client whose request asks for it.
    pub fn follow(&mut self, host: &[u8], port: u16, running: Option<ClientKey>) {
        self.begin_to_follow(host, port);
        self.end_waits_of_primary(running);
    }

    fn begin_to_follow(&mut self, host: &[u8], port: u16) {
        let was_primary = self.replication.primary.take().is_none();
        self.drop_primary_client();
        self.replication.primary = Some(PrimaryAddress { host: host.to_vec(), port });
        self.config.replicaof = ReplicaOf(Some((Text::new(host), port)));
        self.role_changed();
        self.cancel_attempt(Retry::Later);
        if was_primary {
            self.discard_cached_primary();
            tracing::info!(
                "Before turning into a replica, using my own primary parameters to synthesize a cached primary: I may \
                 be able to synchronize with the new primary with just a partial transfer."
            );
            let (id, offset) = (self.replication.id, self.replication.offset());
            self.primary_link.cached = Some(CachedPrimary { id, offset, database: 0 });
        }
        self.primary_link.state = LinkState::Connect;
        tracing::info!("Connecting to PRIMARY {}:{port}", String::from_utf8_lossy(host));
        self.connect_to_primary();
    }

    /// The same as a node of a cluster, whose configuration file names no primary. `full_sync`: the data is of another
    /// shard, so that nothing of it can be gone on from. `ends_waits`: clients that wait for keys are sent on.
    pub(in crate::server) fn follow_in_cluster(
        &mut self,
        host: &[u8],
        port: u16,
        full_sync: bool,
        ends_waits: bool,
    ) {
        let loaded = self.primary_link.cached.filter(|cached| cached.id == self.replication.id);
        self.begin_to_follow(host, port);
        self.config.replicaof = ReplicaOf(None);
        if let (true, Some(loaded)) = (self.primary_link.cached.is_some(), loaded) {
            // What was loaded says which database the stream had selected.
            self.primary_link.cached = Some(loaded);
        }
        if full_sync {
            self.discard_cached_primary();
        }
        if ends_waits {
            self.end_unserved_waits();
        }
    }

    /// The same for a failover: clients that wait go on waiting until it is known who serves them.
    pub(in crate::server) fn follow_for_failover(&mut self, target: &PrimaryAddress) {
        self.begin_to_follow(&target.host, target.port);
    }

    /// Takes the primary that the configuration names: this server is its replica from its start, and connects when it
    /// has loaded what it has.
    pub fn follow_configured(&mut self) {
        if let Some((host, port)) = &self.config.replicaof.0 {
            self.replication.primary = Some(PrimaryAddress { host: host.as_bytes().to_vec(), port: *port });
            log::set_replica(true);
        }
    }

    /// The snapshot that is loaded at start says of which history it is a part: a replica may go on from there, and those
    /// who followed this server, if it is a primary, may go on with it.
    pub fn resume_history(&mut self, origin: &Origin) {
        let Some((id, offset, database)) = origin.complete() else { return };
        let Some(id) = ReplicationId::parse(id) else { return };
        // As a node of a cluster this server does not follow anybody before it has loaded.
        let is_replica = self.cluster.as_ref().is_some_and(|cluster| cluster.me().is_replica());
        if self.replication.is_replica() || is_replica {
            if self.primary_link.cached.is_none() {
                self.replication.id = id;
                self.replication.set_offset(offset);
                self.primary_link.cached = Some(CachedPrimary { id, offset, database });
            }
        } else if !self.replication.has_stream() {
            self.replication.second_id = id;
            self.replication.second_offset = offset + 1;
            self.replication.set_offset(offset);
            self.create_stream();
        }
    }

    /// The data is loaded: the link to the primary may come up.
    pub fn begin_following(&mut self) {
        if self.replication.is_replica() && self.primary_link.state == LinkState::None {
            self.primary_link.state = LinkState::Connect;
        }
    }

    /// Makes this server a primary, if it is none.
    pub fn unfollow(&mut self) {
        if self.replication.primary.take().is_none() {
            return;
        }
        self.config.replicaof = ReplicaOf(None);
        self.drop_primary_client();
        self.discard_cached_primary();
        self.cancel_attempt(Retry::Later);
        self.replication.shift_id();
        // They have to be told of the new history, with which they can go on where they are.
        self.drop_replicas();
        self.primary_link.state = LinkState::None;
        self.primary_link.down_since_ms = 0;
        self.replication.begin_time_without_replicas(self.now_ms);
        self.role_changed();
        self.fail_slot_migrations(Some(Direction::Import), "A failover occurred during slot import");
    }

    /// What the role decides elsewhere: who is fed by whom, the kernel's score, the letter in the log.
    fn role_changed(&mut self) {
        let is_replica = self.replication.is_replica();
        log::set_replica(is_replica);
        self.propagation.set_replicas_listen(self.replication.listens());
        // A refusal is in the log.
        let _ = self.oom_score.apply(&self.config, is_replica);
    }

    /// Ends the connection to the primary now, and keeps where its stream was.
    fn drop_primary_client(&mut self) {
        let Some(key) = self.primary_link.client.take() else { return };
        let Some(record) = self.clients.get_mut(key) else { return };
        let (stream, database) = (record.primary.take(), record.database);
        record.discard_transaction();
        self.clients.close(key, None);
        if let Some(stream) = stream {
            self.primary_lost(&stream, database);
        }
    }

    /// Clients that wait for keys would wait for what only the new primary can bring: they are sent away.
    pub(in crate::server) fn end_waits_of_primary(&mut self, running: Option<ClientKey>) {
        let waiting: Vec<ClientKey> = self
            .clients
            .iter()
            .filter(|client| Some(client.key) != running)
            .filter(|client| {
                // What only reads may go on at a client that says that it may read here.
                let stays = |blocked: &Blocked| client.readonly && !blocked.command.command.has(flag::WRITE);
                client.blocked.as_deref().is_some_and(|blocked| !stays(blocked))
            })
            .map(|client| client.key)
            .collect();
        for key in waiting {
            let Some(blocked) = self.blocked.unblock(&mut self.clients, key) else { continue };
            let redirect = self.redirection(key).filter(|_| !blocked.keys.is_empty());
            let closes = redirect.is_none();
            let error = redirect.unwrap_or(CommandError::UnblockedForced);
            self.count_refused_wait(key, blocked.command, &error);
            let Some(record) = self.clients.get_mut(key) else { continue };
            error.write(&mut record.output);
            record.close_after_reply |= closes;
            self.clients.needs_attention(key);
        }
    }

    /// Where a client that follows redirections has to go, if this server is a replica.
    #[must_use]
    pub fn redirection(&self, client: ClientKey) -> Option<CommandError> {
        let primary = self.replication.primary.as_ref()?;
        let follows = self.clients.get(client).is_some_and(|record| record.follows_redirects);
        let host = String::from_utf8_lossy(&primary.host);
        follows.then(|| CommandError::Redirect(format!("{host}:{}", primary.port).into()))
    }
}
