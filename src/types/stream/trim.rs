//! Trimming: entries leave a stream at its front, by number or by id.

use super::node::{self, Node};
use super::{Log, StreamId};
use crate::structures::listpack::Listpack;

/// What a trim leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimTo {
    /// At most this many entries.
    Length(u64),
    /// No entry before this id.
    Id(StreamId),
}

/// How to trim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What is left.
    pub to: TrimTo,
    /// Whole nodes only.
    pub approximate: bool,
    /// How many entries at most are removed so; 0 for any number.
    pub limit: u64,
}

impl Log {
    /// Removes entries at the front; returns how many it were.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut removed = 0;
        while let Some((base, listpack)) = self.nodes.first() {
            if matches!(trim.to, TrimTo::Length(length) if self.len <= length) {
                break;
            }
            let Some(node) = Node::open(base, listpack) else { break };
            let live = node.live as u64;
            if trim.limit > 0 && removed + live > trim.limit {
                break;
            }
            let whole = match trim.to {
                TrimTo::Length(length) => self.len.saturating_sub(live) >= length,
                TrimTo::Id(id) => last_id(&node).is_none_or(|last| last < id),
            };
            if whole {
                self.nodes.remove(&base);
                self.len = self.len.saturating_sub(live);
                removed += live;
                continue;
            }
            if !trim.approximate {
                removed += self.trim_node(base, trim.to);
            }
            break;
        }
        if removed > 0 {
            self.find_first();
        }
        removed
    }

    /// Marks entries at the front of a node of which some stay.
    fn trim_node(&mut self, base: StreamId, to: TrimTo) -> u64 {
        let Self { nodes, len, .. } = self;
        let most = match to {
            TrimTo::Length(length) => len.saturating_sub(length),
            TrimTo::Id(_) => u64::MAX,
        };
        let before = match to {
            TrimTo::Length(_) => StreamId::MAX,
            TrimTo::Id(id) => id,
        };
        let removed = nodes.update(&base, |listpack| mark_front(listpack, base, most, before)).unwrap_or(0);
        *len -= removed;
        removed
    }
}

/// Marks up to `most` entries whose ids are before `before`; returns how many it were.
fn mark_front(listpack: &mut Listpack, base: StreamId, most: u64, before: StreamId) -> u64 {
    let mut marked = Vec::new();
    if let Some(node) = Node::open(base, listpack) {
        let mut at = node.first;
        while let Some(entry) = at.and_then(|at| node.entry(at)) {
            if marked.len() as u64 >= most || entry.id >= before {
                break;
            }
            if !entry.deleted {
                marked.push(entry.at);
            }
            at = node.after(&entry);
        }
    }
    if !marked.is_empty() {
        node::mark_deleted(listpack, base, &marked);
    }
    marked.len() as u64
}

/// The id of a node's last entry, deleted or not.
fn last_id(node: &Node<'_>) -> Option<StreamId> {
    node.entry(node.last()?).map(|entry| entry.id)
}
