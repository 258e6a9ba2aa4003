//! The connections of the bus: what waits to be sent on each. The sockets themselves are the connection layer's; it looks
//! here when it is woken, and closes a socket whose link is gone.

use std::collections::VecDeque;
use std::rc::Rc;

use hashbrown::HashMap;
use tokio::sync::Notify;

use super::node::NodeKey;
use crate::bus::{self, Kind};
use crate::memory::{MemoryUsage, box_usage, usable_size};

/// What stands before the bytes of a shared message: two counts.
const COUNTS: usize = 2 * size_of::<usize>();

/// The number of a link; none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u64);

/// What a connection's two ends are called.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// Address of the other end.
    pub peer_ip: String,
    /// Address and port of the other end.
    pub peer: String,
    /// Address of this end.
    pub own_ip: String,
}

/// A connection of the bus.
#[derive(Debug)]
pub struct Link {
    /// The other node made it.
    pub inbound: bool,
    /// When it came to be, Unix ms.
    pub created_ms: i64,
    /// The node at the other end, if it is known.
    pub node: Option<NodeKey>,
    /// The other end has shown that it understands extensions.
    pub extensions: bool,
    /// Its two ends.
    pub ends: Ends,
    /// Bytes of the buffer in which a message arrives.
    pub receive_bytes: usize,
    /// Bytes of its task and of what the event loop keeps of its socket.
    pub task_bytes: usize,
    /// What waits to be sent, the first of it perhaps in part.
    queue: VecDeque<Rc<[u8]>>,
    /// Bytes of the first message that were sent.
    sent: usize,
    /// What waits goes only when this save of the node file is on the disk.
    gate: u64,
    /// The socket did not take all that could go.
    pub stuck: bool,
    attention: Rc<Notify>,
}

impl Link {
    /// Bytes that wait to be sent, with what holds them.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let room = usable_size(self.queue.capacity() * size_of::<Rc<[u8]>>());
        room + self.queue.iter().map(|message| usable_size(COUNTS + message.len())).sum::<usize>()
    }

    /// Puts a message behind those that wait. It goes when the node's work of this turn is done.
    pub(super) fn push(&mut self, message: Rc<[u8]>) {
        self.queue.push_back(message);
    }

    /// The bytes that may go now, while save number `saved` is on the disk.
    #[must_use]
    pub fn sendable(&self, saved: u64) -> &[u8] {
        let first = self.queue.front().filter(|_| self.gate <= saved);
        first.and_then(|message| message.get(self.sent..)).unwrap_or_default()
    }

    /// So many bytes were sent; gives the type of the message that they are of.
    pub fn note_sent(&mut self, count: usize) -> Option<Kind> {
        let first = self.queue.front()?;
        let kind = Kind::from_number(bus::peek(first).0);
        self.sent += count;
        if self.sent >= first.len() {
            self.sent = 0;
            self.queue.pop_front();
            if self.queue.is_empty() {
                self.queue.shrink_to_fit();
            }
        }
        kind
    }
}

/// All connections of the bus.
#[derive(Debug, Default)]
pub struct Links {
    all: HashMap<LinkId, Box<Link>, std::hash::RandomState>,
    last: u64,
}

impl Links {
    /// Adds a link, to a node if it is known which; gives its number and what wakes its task.
    pub fn add(&mut self, node: Option<NodeKey>, ends: Ends, now_ms: i64) -> (LinkId, Rc<Notify>) {
        self.last += 1;
        let id = LinkId(self.last);
        let attention = Rc::new(Notify::new());
        let link = Link {
            inbound: node.is_none(),
            created_ms: now_ms,
            node,
            extensions: false,
            ends,
            receive_bytes: 0,
            task_bytes: 0,
            queue: VecDeque::new(),
            sent: 0,
            gate: 0,
            stuck: false,
            attention: Rc::clone(&attention),
        };
        self.all.insert(id, Box::new(link));
        (id, attention)
    }

    /// A link, unless it is gone.
    #[must_use]
    pub fn get(&self, id: LinkId) -> Option<&Link> {
        self.all.get(&id).map(Box::as_ref)
    }

    /// A link to change, unless it is gone.
    pub fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.all.get_mut(&id).map(Box::as_mut)
    }

    /// What wakes a link's task.
    #[must_use]
    pub fn attention(&self, id: LinkId) -> Option<Rc<Notify>> {
        self.get(id).map(|link| Rc::clone(&link.attention))
    }

    /// Takes a link out; its task closes the socket.
    pub fn remove(&mut self, id: LinkId) -> Option<Box<Link>> {
        let link = self.all.remove(&id)?;
        link.attention.notify_one();
        Some(link)
    }

    /// What was queued may go once save number `gate` is on the disk; tasks that have something to send are woken.
    pub(super) fn release(&mut self, gate: u64, saved: u64) {
        for link in self.all.values_mut() {
            link.gate = link.gate.max(gate);
            if !link.queue.is_empty() && link.gate <= saved && !link.stuck {
                link.attention.notify_one();
            }
        }
    }

    /// Ids of links that hold more unsent bytes than this.
    pub(super) fn over(&self, bytes: u64) -> Vec<LinkId> {
        // Valkey counts the list itself: the lowest limit closes links on which nothing waits.
        let over = |link: &Link| (size_of_val(&link.queue) + link.queued_bytes()) as u64 > bytes;
        self.all.iter().filter(|(_, link)| link.node.is_some() && over(link)).map(|(id, _)| *id).collect()
    }
}

impl MemoryUsage for Links {
    /// Messages that several links share count once.
    fn memory_usage(&self) -> usize {
        let links = self.all.values();
        let mut messages: Vec<(*const u8, usize)> = links
            .clone()
            .flat_map(|link| link.queue.iter().map(|message| (message.as_ptr(), message.len())))
            .collect();
        messages.sort_unstable();
        messages.dedup();
        let messages: usize = messages.iter().map(|(_, length)| usable_size(COUNTS + length)).sum();
        let own = |link: &Link| {
            let Ends { peer_ip, peer, own_ip } = &link.ends;
            let texts = [peer_ip, peer, own_ip].map(|text| usable_size(text.capacity()));
            box_usage::<Link>()
                + usable_size(COUNTS + size_of::<Notify>())
                + usable_size(link.queue.capacity() * size_of::<Rc<[u8]>>())
                + texts.iter().sum::<usize>()
                + link.receive_bytes
                + link.task_bytes
        };
        usable_size(self.all.allocation_size().next_multiple_of(16))
            + messages
            + links.map(|link| own(link)).sum::<usize>()
    }
}
