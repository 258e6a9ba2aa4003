//! Messages as bytes.

use std::rc::Rc;

use super::{
    GOSSIP_LENGTH, GossipEntry, HEADER_LENGTH, IP_LENGTH, Kind, LIGHT, NodeId, SIGNATURE, SlotSet, VERSION,
};
use super::{at, extension, mark};

/// What the long header tells of the sender. [`super::Sender`] is what is made of one that came: an id there may be none.
#[derive(Debug)]
pub struct Header<'a> {
    /// Its id.
    pub sender: NodeId,
    /// Its port for clients.
    pub port: u16,
    /// Its port for clients over TLS, 0 for none.
    pub tls_port: u16,
    /// The port of its bus.
    pub bus_port: u16,
    /// The address that it announces; empty for that of its connections.
    pub ip: &'a str,
    /// The highest epoch that it knows.
    pub current_epoch: u64,
    /// The epoch of its slots, a replica's primary's.
    pub config_epoch: u64,
    /// How far its data is.
    pub offset: i64,
    /// Its slots, a replica's primary's.
    pub slots: &'a SlotSet,
    /// Its primary, if it is a replica.
    pub primary: Option<NodeId>,
    /// What it is.
    pub flags: u16,
    /// The cluster is down as it sees it.
    pub is_down: bool,
    /// See [`mark`].
    pub marks: u8,
}

/// A message with the long header that is being written.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    entries: u16,
    extensions: u16,
}

/// A length that a message announces. What does not fit was refused long before it got here.
fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn push_ip(bytes: &mut Vec<u8>, ip: &str) {
    let mut field = [0; IP_LENGTH];
    // The last byte is a zero whatever the address.
    field.iter_mut().zip(ip.as_bytes()).take(IP_LENGTH - 1).for_each(|(to, from)| *to = *from);
    bytes.extend_from_slice(&field);
}

impl Writer {
    /// Begins a message.
    #[must_use]
    pub fn new(kind: Kind, header: &Header<'_>) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH + GOSSIP_LENGTH);
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&[0; 4]);
        for number in [VERSION, header.port, kind as u16, 0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for number in [header.current_epoch, header.config_epoch, header.offset.cast_unsigned()] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(header.sender.as_bytes());
        header.slots.write_to(&mut bytes);
        bytes.extend_from_slice(header.primary.as_ref().map_or(&[0; 40], NodeId::as_bytes));
        push_ip(&mut bytes, header.ip);
        // The count of extensions, and room for later.
        bytes.extend_from_slice(&[0; 32]);
        for number in [header.tls_port, header.bus_port, header.flags] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&[u8::from(header.is_down), header.marks, 0, 0]);
        debug_assert_eq!(bytes.len(), HEADER_LENGTH);
        Self { bytes, entries: 0, extensions: 0 }
    }

    /// Adds what is said of a node. Extensions come after all of these.
    pub fn gossip(&mut self, entry: &GossipEntry<'_>) {
        self.bytes.extend_from_slice(entry.id.as_bytes());
        self.bytes.extend_from_slice(&entry.ping_sent.to_be_bytes());
        self.bytes.extend_from_slice(&entry.pong_received.to_be_bytes());
        push_ip(&mut self.bytes, entry.ip);
        for number in [entry.port, entry.bus_port, entry.flags, entry.tls_port, 0] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        self.entries = self.entries.saturating_add(1);
    }

    /// Says that extensions are understood.
    pub fn mark_extensions(&mut self) {
        if let Some(marks) = self.bytes.get_mut(at::MARKS) {
            *marks |= mark::EXTENSIONS;
        }
    }

    fn extension(&mut self, kind: u16, data: &[u8]) {
        let padded = data.len().next_multiple_of(8);
        self.bytes.extend_from_slice(&length_of(8 + padded).to_be_bytes());
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len() + padded - data.len(), 0);
        self.extensions = self.extensions.saturating_add(1);
    }

    /// Adds a text, unless it is empty.
    pub fn text(&mut self, kind: u16, text: &str) {
        if !text.is_empty() {
            let ended = [text.as_bytes(), &[0]].concat();
            self.extension(kind, &ended);
        }
    }

    /// Adds a port, unless it is 0.
    pub fn port(&mut self, kind: u16, port: u16) {
        if port != 0 {
            self.extension(kind, &port.to_be_bytes());
        }
    }

    /// Adds the id of the sender's shard.
    pub fn shard(&mut self, shard: NodeId) {
        self.extension(extension::SHARD, shard.as_bytes());
    }

    /// Adds a node that was forgotten, for so many seconds.
    pub fn forgotten(&mut self, id: NodeId, seconds: u64) {
        let data = [id.as_bytes(), &seconds.to_be_bytes()].concat();
        self.extension(extension::FORGOTTEN, &data);
    }

    /// The message about a node that has failed.
    pub fn failed(&mut self, id: NodeId) {
        self.bytes.extend_from_slice(id.as_bytes());
    }

    /// Which slots a node has by which epoch.
    pub fn update(&mut self, id: NodeId, config_epoch: u64, slots: &SlotSet) {
        self.bytes.extend_from_slice(&config_epoch.to_be_bytes());
        self.bytes.extend_from_slice(id.as_bytes());
        slots.write_to(&mut self.bytes);
    }

    /// A message to subscribers.
    pub fn publication(&mut self, channel: &[u8], message: &[u8]) {
        push_publication(&mut self.bytes, channel, message);
    }

    /// The whole message.
    #[must_use]
    pub fn finish(mut self) -> Rc<[u8]> {
        let length = length_of(self.bytes.len());
        put(&mut self.bytes, at::LENGTH, &length.to_be_bytes());
        put(&mut self.bytes, at::COUNT, &self.entries.to_be_bytes());
        put(&mut self.bytes, at::EXTENSIONS, &self.extensions.to_be_bytes());
        self.bytes.into()
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at + value.len()) {
        field.copy_from_slice(value);
    }
}

fn push_publication(bytes: &mut Vec<u8>, channel: &[u8], message: &[u8]) {
    bytes.extend_from_slice(&length_of(channel.len()).to_be_bytes());
    bytes.extend_from_slice(&length_of(message.len()).to_be_bytes());
    bytes.extend_from_slice(channel);
    bytes.extend_from_slice(message);
}

/// A message to subscribers with the short header.
#[must_use]
pub fn publish_light(kind: Kind, channel: &[u8], message: &[u8]) -> Rc<[u8]> {
    let mut bytes = Vec::with_capacity(24 + channel.len() + message.len());
    bytes.extend_from_slice(SIGNATURE);
    bytes.extend_from_slice(&[0; 4]);
    for number in [VERSION, 0, kind as u16 | LIGHT, 0] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    push_publication(&mut bytes, channel, message);
    let length = length_of(bytes.len());
    put(&mut bytes, at::LENGTH, &length.to_be_bytes());
    bytes.into()
}
