//! How changes of groups and trims are told: by what came of them.
//!
//! A pending entry is told as the XCLAIM that makes it be what it is, whoever applies it and whenever; a group's last
//! id and its counter as XGROUP SETID. While a group is changed, its stream and the reply are borrowed, so changes are
//! noted first and told after.

use crate::server::Context;
use crate::types::stream::{Group, Pending, StreamId};

/// Changes of one group.
#[derive(Default)]
pub(super) struct GroupChanges {
    /// Whether anybody listens.
    wanted: bool,
    claims: Vec<Claim>,
    /// The last id and the counter of read entries, if they are to be told by themselves.
    moved_to: Option<(StreamId, Option<u64>)>,
}

/// What a pending entry became, and the last id of its group then.
struct Claim {
    pending: Pending,
    consumer: Vec<u8>,
    last_id: StreamId,
}

impl GroupChanges {
    pub(super) fn new(cx: &Context<'_>) -> Self {
        Self { wanted: cx.propagates(), ..Self::default() }
    }

    /// A pending entry is this now; of one that is to be forgotten, what it was.
    pub(super) fn claimed(&mut self, group: &Group, pending: Pending) {
        if self.wanted {
            let consumer = group.owner(&pending).to_vec();
            self.claims.push(Claim { pending, consumer, last_id: group.last_id });
        }
    }

    /// The group's last id or counter changed, and no claim tells it.
    pub(super) fn moved_on(&mut self, group: &Group) {
        self.moved_to = Some((group.last_id, group.entries_read));
    }

    /// Tells everything, in the order in which it was done.
    pub(super) fn tell(self, cx: &mut Context<'_>, key: &[u8], group: &[u8]) {
        if !self.wanted {
            return;
        }
        for Claim { pending, consumer, last_id } in self.claims {
            let mut buffers = [itoa::Buffer::new(), itoa::Buffer::new()];
            let [delivered, deliveries] = &mut buffers;
            cx.propagate_as(&[
                b"XCLAIM",
                key,
                group,
                &consumer,
                b"0",
                pending.id.to_string().as_bytes(),
                b"TIME",
                delivered.format(pending.delivered_ms).as_bytes(),
                b"RETRYCOUNT",
                deliveries.format(pending.deliveries).as_bytes(),
                b"FORCE",
                b"JUSTID",
                b"LASTID",
                last_id.to_string().as_bytes(),
            ]);
        }
        if let Some((last_id, entries_read)) = self.moved_to {
            let last_id = last_id.to_string();
            let read = entries_read.map_or_else(|| "-1".to_owned(), |read| read.to_string());
            let (last_id, read) = (last_id.as_bytes(), read.as_bytes());
            cx.propagate_as(&[b"XGROUP", b"SETID", key, group, last_id, b"ENTRIESREAD", read]);
        }
    }
}
