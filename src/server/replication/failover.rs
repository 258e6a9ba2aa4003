//! FAILOVER: a primary changes places with a replica that has everything, without losing a write.
//!
//! Writes are held back until a replica has executed all of the stream; then this server becomes its replica, and asks
//! for the stream in words by which the other becomes a primary (`PSYNC ... FAILOVER`).

use super::super::client::{Client, ClientKey};
use super::super::{Hold, Server};
use super::{PrimaryAddress, Replication, replica_address};
use crate::replication::ReplicaState;
use crate::resp::CommandError;

/// How far a failover has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverState {
    /// A replica has to execute all of the stream.
    WaitsForReplica,
    /// The replica is asked to take over.
    UnderWay,
}

/// A failover.
#[derive(Debug)]
pub struct Failover {
    state: FailoverState,
    /// Who takes over; `None` for whoever is ready first.
    pub(super) target: Option<PrimaryAddress>,
    /// When it is given up, Unix ms; `None` never.
    deadline_ms: Option<i64>,
    /// At that time it is not given up, but goes on whether the replica has everything or not.
    force: bool,
}

impl Replication {
    /// Whether a replica is asked to take over.
    #[must_use]
    pub fn failover_is_under_way(&self) -> bool {
        self.failover.as_ref().is_some_and(|failover| failover.state == FailoverState::UnderWay)
    }

    /// The state that INFO shows.
    #[must_use]
    pub fn failover_state(&self) -> &'static str {
        match self.failover.as_ref().map(|failover| failover.state) {
            None => "no-failover",
            Some(FailoverState::WaitsForReplica) => "waiting-for-sync",
            Some(FailoverState::UnderWay) => "failover-in-progress",
        }
    }
}

/// Where others reach a replica.
fn address_of(client: &Client) -> Option<PrimaryAddress> {
    let replica = client.replica.as_deref()?;
    let host = replica_address(client, replica).into_bytes();
    Some(PrimaryAddress { host, port: u16::try_from(replica.port).ok()? })
}

impl Server {
    fn replica_at(&self, target: &PrimaryAddress) -> Option<&Client> {
        let mut records = self.replication.replicas().iter().filter_map(|key| self.clients.get(*key));
        records.find(|client| {
            address_of(client).is_some_and(|address| {
                address.port == target.port && address.host.eq_ignore_ascii_case(&target.host)
            })
        })
    }

    /// Begins a failover.
    ///
    /// # Errors
    /// This server or the replica that is asked for is not in a state for it.
    pub fn begin_failover(
        &mut self,
        target: Option<PrimaryAddress>,
        timeout_ms: Option<i64>,
        force: bool,
    ) -> Result<(), CommandError> {
        if self.replication.failover.is_some() {
            return Err(CommandError::FailoverInProgress);
        }
        if self.replication.is_replica() {
            return Err(CommandError::FailoverOnReplica);
        }
        if self.replication.replicas().is_empty() {
            return Err(CommandError::FailoverNoReplicas);
        }
        if force && (timeout_ms.is_none() || target.is_none()) {
            return Err(CommandError::FailoverForce);
        }
        match &target {
            None => tracing::info!("FAILOVER requested to any replica."),
            Some(target) => {
                let client = self.replica_at(target).ok_or(CommandError::FailoverTarget)?;
                let replica = client.replica.as_deref();
                if replica.is_none_or(|replica| replica.state != ReplicaState::Online) {
                    return Err(CommandError::FailoverTargetOffline);
                }
                let host = String::from_utf8_lossy(&target.host);
                tracing::info!("FAILOVER requested to {host}:{}.", target.port);
            }
        }
        let deadline_ms = timeout_ms.map(|timeout_ms| self.now_ms.saturating_add(timeout_ms));
        let state = FailoverState::WaitsForReplica;
        self.replication.failover = Some(Failover { state, target, deadline_ms, force });
        self.pauses.hold(Hold::Failover);
        Ok(())
    }

    /// Looks whether a failover can go on. To be called by the cron.
    pub(super) fn tend_failover(&mut self) {
        let Some(failover) = &self.replication.failover else { return };
        if failover.state != FailoverState::WaitsForReplica {
            return;
        }
        if failover.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.now_ms) {
            match failover.target.clone().filter(|_| failover.force) {
                Some(target) => {
                    let host = String::from_utf8_lossy(&target.host);
                    tracing::info!("FAILOVER to {host}:{} time out exceeded, failing over.", target.port);
                    self.fail_over_to(target);
                }
                None => self.abort_failover("Replica never caught up before timeout"),
            }
            return;
        }
        if let Some(target) = self.level_target(failover) {
            let host = String::from_utf8_lossy(&target.host);
            tracing::info!("Failover target {host}:{} is synced, failing over.", target.port);
            self.fail_over_to(target);
        }
    }

    /// The replica that takes over, if it has executed all of the stream.
    fn level_target(&self, failover: &Failover) -> Option<PrimaryAddress> {
        let offset = self.replication.offset();
        let is_level =
            |client: &&Client| client.replica.as_ref().is_some_and(|replica| replica.acknowledged == offset);
        match &failover.target {
            Some(target) => self.replica_at(target).filter(is_level).map(|_| target.clone()),
            None => {
                let records = self.replication.replicas().iter();
                records.filter_map(|key| self.clients.get(*key)).find(is_level).and_then(address_of)
            }
        }
    }

    fn fail_over_to(&mut self, target: PrimaryAddress) {
        if let Some(failover) = &mut self.replication.failover {
            failover.state = FailoverState::UnderWay;
            failover.target = Some(target.clone());
        }
        self.follow_for_failover(&target);
    }

    /// Gives a failover up; a server that has become a replica for it is a primary again.
    pub fn abort_failover(&mut self, why: &str) {
        let Some(failover) = &self.replication.failover else { return };
        match &failover.target {
            Some(target) => {
                let host = String::from_utf8_lossy(&target.host);
                tracing::info!("FAILOVER to {host}:{} aborted: {why}", target.port);
            }
            None => tracing::info!("FAILOVER to any replica aborted: {why}"),
        }
        if failover.state == FailoverState::UnderWay {
            self.unfollow();
        }
        self.end_failover(false);
    }

    /// A failover is over: writes go on, here or at the new primary.
    pub fn end_failover(&mut self, succeeded: bool) {
        self.replication.failover = None;
        if succeeded {
            self.end_waits_of_primary(None::<ClientKey>);
        }
        self.release(Hold::Failover);
    }
}
