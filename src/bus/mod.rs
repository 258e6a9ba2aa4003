//! The byte format of what nodes of a cluster say to each other: Valkey's, as far as nodes without modules need it.
//!
//! A message begins with `RCmb` and its length; numbers are big-endian. All but the light ones carry a header of 2256
//! bytes that tells everything of their sender. Decoding checks every length against what is there before anything is
//! read; what it gives borrows from the message. Nothing here knows a socket or what a node makes of a message.

mod decode;
mod encode;
mod id;
#[cfg(test)]
mod tests;

pub use crate::algorithms::slot_set::SlotSet;
pub use decode::{
    Body, Extension, Extensions, Gossip, Invalid, Message, Sender, Update, decode, frame_length, peek,
};
pub use encode::{Header, Writer, publish_light};
pub use id::{ID_LENGTH, NodeId};

/// The first bytes of every message.
const SIGNATURE: &[u8; 4] = b"RCmb";
/// The version of the protocol.
const VERSION: u16 = 1;
/// In the type of a message: it has the short header.
const LIGHT: u16 = 0x8000;
/// Length of the long header.
pub const HEADER_LENGTH: usize = 2256;
/// Length of the short header.
const LIGHT_HEADER_LENGTH: usize = 16;
/// Length of what a message says of one other node.
const GOSSIP_LENGTH: usize = 104;
/// Length of an address, zeros at its end included.
const IP_LENGTH: usize = 46;
/// Bytes that have to be there before a message's length is known.
const PREFIX_LENGTH: usize = 14;

/// Where the fields of the long header stand.
mod at {
    pub(super) const LENGTH: usize = 4;
    pub(super) const VERSION: usize = 8;
    pub(super) const PORT: usize = 10;
    pub(super) const KIND: usize = 12;
    pub(super) const COUNT: usize = 14;
    pub(super) const CURRENT_EPOCH: usize = 16;
    pub(super) const CONFIG_EPOCH: usize = 24;
    pub(super) const OFFSET: usize = 32;
    pub(super) const SENDER: usize = 40;
    pub(super) const SLOTS: usize = 80;
    pub(super) const PRIMARY: usize = 2128;
    pub(super) const IP: usize = 2168;
    pub(super) const EXTENSIONS: usize = 2214;
    pub(super) const SECOND_PORT: usize = 2246;
    pub(super) const BUS_PORT: usize = 2248;
    pub(super) const FLAGS: usize = 2250;
    pub(super) const MARKS: usize = 2253;
}

/// Marks of a message.
pub mod mark {
    /// The sender, a primary, holds back its writers for a manual failover.
    pub const PAUSED: u8 = 1;
    /// A vote is asked for though the primary is up.
    pub const FORCE_ACK: u8 = 1 << 1;
    /// Extensions follow the gossip, or would be understood.
    pub const EXTENSIONS: u8 = 1 << 2;
}

/// The types of extensions.
pub mod extension {
    /// Announced host name.
    pub const HOSTNAME: u16 = 0;
    /// Name for humans.
    pub const HUMAN_NAME: u16 = 1;
    /// A node that was forgotten: its id, and for how many seconds.
    pub const FORGOTTEN: u16 = 2;
    /// The id of the sender's shard.
    pub const SHARD: u16 = 3;
    /// The IPv4 address that clients are told.
    pub const CLIENT_IPV4: u16 = 4;
    /// The IPv6 address that clients are told.
    pub const CLIENT_IPV6: u16 = 5;
    /// The port that clients are told.
    pub const CLIENT_PORT: u16 = 6;
    /// The TLS port that clients are told.
    pub const CLIENT_TLS_PORT: u16 = 7;
    /// Where the sender stands.
    pub const ZONE: u16 = 8;
}

/// What is said of another node.
#[derive(Debug)]
pub struct GossipEntry<'a> {
    /// Its id.
    pub id: NodeId,
    /// When it was last pinged without an answer so far, Unix seconds; 0 for not at all.
    pub ping_sent: u32,
    /// When it last answered, Unix seconds.
    pub pong_received: u32,
    /// Its address.
    pub ip: &'a str,
    /// Its port for clients.
    pub port: u16,
    /// The same over TLS.
    pub tls_port: u16,
    /// The port of its bus.
    pub bus_port: u16,
    /// What it is.
    pub flags: u16,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Sign of life that wants an answer.
    Ping,
    /// The answer, and news without being asked.
    Pong,
    /// A ping that asks to be taken into the cluster.
    Meet,
    /// A node has failed.
    Fail,
    /// A message to subscribers.
    Publish,
    /// A replica wants to take its primary's place.
    AuthRequest,
    /// The vote for that.
    AuthAck,
    /// Another node has the slots that the receiver claims.
    Update,
    /// A primary shall hold back its writers for a replica.
    FailoverStart,
    /// Of modules.
    Module,
    /// A message to subscribers of a shard's channel.
    PublishShard,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Ping,
        Self::Pong,
        Self::Meet,
        Self::Fail,
        Self::Publish,
        Self::AuthRequest,
        Self::AuthAck,
        Self::Update,
        Self::FailoverStart,
        Self::Module,
        Self::PublishShard,
    ];

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name that statistics and the log use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Meet => "meet",
            Self::Fail => "fail",
            Self::Publish => "publish",
            Self::AuthRequest => "auth-req",
            Self::AuthAck => "auth-ack",
            Self::Update => "update",
            Self::FailoverStart => "mfstart",
            Self::Module => "module",
            Self::PublishShard => "publishshard",
        }
    }

    /// Whether it is one of the three that carry gossip.
    #[must_use]
    pub const fn has_gossip(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Meet)
    }

    /// Whether it may have the short header.
    const fn may_be_light(self) -> bool {
        matches!(self, Self::Publish | Self::PublishShard | Self::Module)
    }
}
