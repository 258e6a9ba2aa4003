//! What becomes of migrations when slots change hands, or this node its role.

use super::{Direction, JobId, JobState};
use crate::bus::NodeId;
use crate::server::Server;
use crate::server::cluster::Cluster;

impl Cluster {
    /// Whose all slots of a job are; `None` when they are not all the same node's.
    fn owner_of_job(&self, id: JobId) -> Option<NodeId> {
        let job = self.migrations.get(id)?;
        let mut owners = job.slots.iter().map(|slot| self.owner(slot));
        let first = owners.next().flatten()?;
        owners.all(|owner| owner == Some(first)).then(|| self.nodes[first].id)
    }
}

/// What the owners of an export's slots mean for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExportOwnership {
    /// They are this node's still.
    Own,
    /// They have arrived.
    Arrived,
    /// They are somebody else's.
    Lost,
}

impl Server {
    /// Whose an export's slots are now.
    pub(super) fn export_ownership(&self, id: JobId) -> ExportOwnership {
        let Some(cluster) = self.cluster.as_deref() else { return ExportOwnership::Own };
        let Some(job) = cluster.migrations.get(id) else { return ExportOwnership::Own };
        let owner = cluster.owner_of_job(id);
        if owner == Some(cluster.me().id) {
            ExportOwnership::Own
        } else if owner.is_some() && owner == job.target {
            tracing::info!("Slot migration {} slots are now owned by target node.", job.description);
            ExportOwnership::Arrived
        } else {
            tracing::warn!(
                "Slot migration {} contains slots that are no longer all owned by myself",
                job.description
            );
            ExportOwnership::Lost
        }
    }

    /// Holds every job that is under way against the owners of its slots.
    pub(super) fn check_job_owners(&mut self) {
        let exports = self.cluster.as_ref().map(|c| c.migrations.in_progress(Some(Direction::Export)));
        for id in exports.unwrap_or_default() {
            self.settle_export_by_owner(id);
        }
        let imports = self.cluster.as_ref().map(|c| c.migrations.in_progress(Some(Direction::Import)));
        for id in imports.unwrap_or_default() {
            self.check_import_owner(id);
        }
    }

    /// Ends an export whose slots are not this node's any more.
    pub(super) fn settle_export_by_owner(&mut self, id: JobId) {
        match self.export_ownership(id) {
            ExportOwnership::Own => {}
            ExportOwnership::Arrived => self.finish_slot_migration(id, JobState::Success, None),
            ExportOwnership::Lost => {
                let message = b"Slots are no longer owned by myself";
                self.finish_slot_migration(id, JobState::Failed, Some(message));
            }
        }
    }

    fn check_import_owner(&mut self, id: JobId) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let (is_primary, own_id) = (cluster.me().is_primary(), cluster.me().id);
        let owner = cluster.owner_of_job(id);
        let Some(job) = cluster.migrations.get_mut(id) else { return };
        if !is_primary {
            // To delete what has come would part this node's data from its new primary's, which decides what becomes
            // of it.
            if job.state != JobState::OnPrimary {
                job.is_tracked_only = true;
                self.unlink_job(id);
                self.set_job_state(id, JobState::OnPrimary);
            }
            return;
        }
        if job.source.is_none() || owner == job.source {
            return;
        }
        let message: &[u8] = if owner == Some(own_id) {
            b"Slots were unexpectedly assigned to myself during import"
        } else {
            b"Slots are no longer owned by source node"
        };
        self.finish_slot_migration(id, JobState::Failed, Some(message));
    }
}
