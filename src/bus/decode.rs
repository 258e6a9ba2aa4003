//! Messages from bytes that anybody may have sent.

use std::fmt;

use super::{
    GOSSIP_LENGTH, GossipEntry, HEADER_LENGTH, ID_LENGTH, IP_LENGTH, LIGHT, LIGHT_HEADER_LENGTH,
    PREFIX_LENGTH,
};
use super::{Kind, NodeId, SIGNATURE, SlotSet, VERSION, at, extension, mark};
use crate::algorithms::slot_set::BYTES as SLOT_BYTES;

/// The longest message but those to subscribers: all nodes that a count can name, and extensions.
const LONGEST: usize = 16 << 20;

/// What stands at a place; zeros where nothing does. Lengths are checked before anything is read.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..at.saturating_add(N)).and_then(|bytes| bytes.try_into().ok());
    found.unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

fn id_at(bytes: &[u8], at: usize) -> Option<NodeId> {
    NodeId::parse(bytes.get(at..at.saturating_add(ID_LENGTH))?)
}

/// The text before the first zero; what is no UTF-8 is nothing that a node announces, and left out.
fn text(bytes: &[u8]) -> &str {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}

/// The length of the message that these bytes begin; `None` while too few are there to tell. A stranger (`known` is
/// false) may send no long ones.
///
/// # Errors
/// They are not the beginning of a message.
pub fn frame_length(bytes: &[u8], known: bool) -> Result<Option<usize>, Invalid> {
    if bytes.len() < PREFIX_LENGTH {
        return Ok(None);
    }
    let length = usize::try_from(u32_at(bytes, at::LENGTH)).unwrap_or(usize::MAX);
    let number = u16_at(bytes, at::KIND);
    let kind = Kind::from_number(number & !LIGHT);
    let shortest = if number & LIGHT == 0 { HEADER_LENGTH } else { LIGHT_HEADER_LENGTH };
    let may_be_long = known && kind.is_some_and(Kind::may_be_light);
    let is_fit = length >= shortest && (length <= LONGEST || may_be_long);
    if bytes.starts_with(SIGNATURE) && is_fit { Ok(Some(length)) } else { Err(Invalid::Frame) }
}

/// The number of a message's type and whether it has the short header, of bytes that [`frame_length`] has accepted.
#[must_use]
pub fn peek(bytes: &[u8]) -> (u16, bool) {
    let number = u16_at(bytes, at::KIND);
    (number & !LIGHT, number & LIGHT != 0)
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// They do not begin like one.
    Frame,
    /// Of another version of the protocol.
    Version,
    /// This type has no short header.
    Light(u16),
    /// There is no such type.
    Kind(u16),
    /// More nodes are announced than there are.
    Gossip(Kind, u16, usize),
    /// An extension is longer than the message.
    Extension(Kind, usize),
    /// The length of an extension is no multiple of 8.
    Padding(Kind, u32),
    /// The channel's name is longer than the message.
    Channel(Kind, usize),
    /// What is published is longer than the message.
    Publication(Kind, usize),
    /// It has another length than what is in it.
    Length(Kind, usize, usize),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Frame => write!(f, "Bad message length or signature received on the Cluster bus"),
            Self::Version => write!(f, "Received a packet of another protocol version"),
            Self::Light(number) => {
                let name = Kind::from_number(number).map_or("unknown", Kind::name);
                write!(
                    f,
                    "Packet of type '{name}' ({number}) does not support light cluster header. Marking packet as invalid."
                )
            }
            Self::Kind(number) => write!(f, "Received unknown packet type: {number}"),
            Self::Gossip(kind, count, length) => write!(
                f,
                "Received invalid {} packet with gossip count {count} that exceeds total packet length ({length})",
                kind.name()
            ),
            Self::Extension(kind, length) => write!(
                f,
                "Received invalid {} packet with extension data that exceeds total packet length ({length})",
                kind.name()
            ),
            Self::Padding(kind, length) => {
                write!(f, "Received a {} packet without proper padding ({length} bytes)", kind.name())
            }
            Self::Channel(kind, length) => write!(
                f,
                "Received invalid {} packet with channel length that exceeds total packet length ({length})",
                kind.name()
            ),
            Self::Publication(kind, length) => write!(
                f,
                "Received invalid {} packet with message length that exceeds total packet length ({length})",
                kind.name()
            ),
            Self::Length(kind, length, expected) => write!(
                f,
                "Received invalid {} packet of length {length} but expected length {expected}",
                kind.name()
            ),
        }
    }
}

/// What the long header tells of the sender.
#[derive(Debug)]
pub struct Sender<'a> {
    /// Its id; `None` for what is no id.
    pub id: Option<NodeId>,
    /// Its port for clients.
    pub port: u16,
    /// The same over TLS, 0 for none.
    pub tls_port: u16,
    /// The port of its bus.
    pub bus_port: u16,
    /// The address that it announces; empty for that of its connection.
    pub ip: &'a str,
    /// The highest epoch that it knows.
    pub current_epoch: u64,
    /// The epoch of its slots, a replica's primary's.
    pub config_epoch: u64,
    /// How far its data is.
    pub offset: i64,
    /// Its slots, a replica's primary's.
    pub slots: SlotSet,
    /// It says that it is a primary: no id of another one is given.
    pub is_primary: bool,
    /// Its primary's id.
    pub primary: Option<NodeId>,
    /// What it is.
    pub flags: u16,
    /// See [`mark`].
    pub marks: u8,
}

/// What a message says of other nodes.
#[derive(Debug, Clone, Copy)]
pub struct Gossip<'a> {
    bytes: &'a [u8],
}

impl<'a> Gossip<'a> {
    /// The nodes in order; `None` for one whose id is none.
    pub fn iter(self) -> impl Iterator<Item = Option<GossipEntry<'a>>> {
        self.bytes.chunks_exact(GOSSIP_LENGTH).map(|entry| {
            Some(GossipEntry {
                id: id_at(entry, 0)?,
                ping_sent: u32_at(entry, 40),
                pong_received: u32_at(entry, 44),
                ip: text(entry.get(48..48 + IP_LENGTH).unwrap_or_default()),
                port: u16_at(entry, 94),
                bus_port: u16_at(entry, 96),
                flags: u16_at(entry, 98),
                tls_port: u16_at(entry, 100),
            })
        })
    }
}

/// The extensions of a message; only [`decode`] makes them, with lengths that fit.
#[derive(Debug, Clone, Copy)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension<'a> {
    /// A text, by its type.
    Text(u16, &'a str),
    /// A port, by its type.
    Port(u16, u16),
    /// A node that was forgotten, and for how many seconds.
    Forgotten(NodeId, u64),
    /// The id of the sender's shard.
    Shard(NodeId),
    /// Nothing that is known here.
    Unknown(u16),
}

impl<'a> Extensions<'a> {
    /// The extensions in order.
    pub fn iter(self) -> impl Iterator<Item = Extension<'a>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let length = usize::try_from(u32_at(rest, 0)).ok().filter(|length| *length >= 8)?;
            let (this, others) = rest.split_at_checked(length)?;
            rest = others;
            Some(extension_of(u16_at(this, 4), this.get(8..).unwrap_or_default()))
        })
    }
}

fn extension_of(kind: u16, data: &[u8]) -> Extension<'_> {
    let found = match kind {
        extension::CLIENT_PORT | extension::CLIENT_TLS_PORT if data.len() >= 2 => {
            Some(Extension::Port(kind, u16_at(data, 0)))
        }
        extension::SHARD => id_at(data, 0).map(Extension::Shard),
        extension::FORGOTTEN => id_at(data, 0).map(|id| Extension::Forgotten(id, u64_at(data, ID_LENGTH))),
        extension::HOSTNAME
        | extension::HUMAN_NAME
        | extension::CLIENT_IPV4
        | extension::CLIENT_IPV6
        | extension::ZONE => Some(Extension::Text(kind, text(data))),
        _ => None,
    };
    found.unwrap_or(Extension::Unknown(kind))
}

/// Which slots a node has by which epoch.
#[derive(Debug)]
pub struct Update {
    /// The node; `None` for what is no id.
    pub id: Option<NodeId>,
    /// The epoch.
    pub config_epoch: u64,
    /// The slots.
    pub slots: Box<SlotSet>,
}

/// What follows the header.
#[derive(Debug)]
pub enum Body<'a> {
    /// Of PING, PONG and MEET.
    Gossip(Gossip<'a>, Extensions<'a>),
    /// A node has failed; `None` for what is no id.
    Fail(Option<NodeId>),
    /// To subscribers: channel and message.
    Publication(&'a [u8], &'a [u8]),
    /// Who has slots.
    Update(Update),
    /// Nothing, or nothing that matters here.
    Nothing,
}

/// A message.
#[derive(Debug)]
pub struct Message<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Of whom it is; `None` for one with the short header.
    pub sender: Option<Sender<'a>>,
    /// What it says.
    pub body: Body<'a>,
}

/// Reads a whole message, of the length that [`frame_length`] told.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, Invalid> {
    let (number, is_light) = peek(bytes);
    let kind = Kind::from_number(number);
    if is_light && !kind.is_some_and(Kind::may_be_light) {
        return Err(Invalid::Light(number));
    }
    let header = if is_light { LIGHT_HEADER_LENGTH } else { HEADER_LENGTH };
    let rest = bytes.get(header..).ok_or(Invalid::Frame)?;
    if u16_at(bytes, at::VERSION) != VERSION {
        return Err(Invalid::Version);
    }
    let kind = kind.ok_or(Invalid::Kind(number))?;
    let body = match kind {
        Kind::Ping | Kind::Pong | Kind::Meet => decode_gossip(kind, bytes, rest)?,
        Kind::Fail => Body::Fail(id_at(exactly(kind, bytes, rest, ID_LENGTH)?, 0)),
        Kind::Publish | Kind::PublishShard => decode_publication(kind, bytes, rest)?,
        Kind::Update => {
            let rest = exactly(kind, bytes, rest, 8 + ID_LENGTH + SLOT_BYTES)?;
            let slots = SlotSet::from_bytes(rest.get(8 + ID_LENGTH..).unwrap_or_default());
            Body::Update(Update { id: id_at(rest, 8), config_epoch: u64_at(rest, 0), slots: Box::new(slots) })
        }
        Kind::AuthRequest | Kind::AuthAck | Kind::FailoverStart => {
            exactly(kind, bytes, rest, 0)?;
            Body::Nothing
        }
        Kind::Module => Body::Nothing,
    };
    Ok(Message { kind, sender: (!is_light).then(|| decode_sender(bytes)), body })
}

fn exactly<'a>(kind: Kind, bytes: &[u8], rest: &'a [u8], length: usize) -> Result<&'a [u8], Invalid> {
    if rest.len() == length {
        Ok(rest)
    } else {
        Err(Invalid::Length(kind, bytes.len(), bytes.len() - rest.len() + length))
    }
}

fn decode_gossip<'a>(kind: Kind, bytes: &[u8], rest: &'a [u8]) -> Result<Body<'a>, Invalid> {
    let count = u16_at(bytes, at::COUNT);
    let gossip_length = usize::from(count) * GOSSIP_LENGTH;
    let (gossip, tail) =
        rest.split_at_checked(gossip_length).ok_or(Invalid::Gossip(kind, count, bytes.len()))?;
    let marked = array::<1>(bytes, at::MARKS)[0] & mark::EXTENSIONS != 0;
    let announced = if marked { u16_at(bytes, at::EXTENSIONS) } else { 0 };
    let mut left = tail;
    for _ in 0..announced {
        let length = u32_at(left, 0);
        if left.len() < 8 {
            return Err(Invalid::Extension(kind, bytes.len()));
        }
        if !length.is_multiple_of(8) || length == 0 {
            return Err(Invalid::Padding(kind, length));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        left = left.get(length..).ok_or(Invalid::Extension(kind, bytes.len()))?;
    }
    exactly(kind, bytes, left, 0)?;
    Ok(Body::Gossip(Gossip { bytes: gossip }, Extensions { bytes: tail }))
}

fn decode_publication<'a>(kind: Kind, bytes: &[u8], rest: &'a [u8]) -> Result<Body<'a>, Invalid> {
    let too_long = Invalid::Channel(kind, bytes.len());
    let data = rest.get(8..).ok_or(too_long)?;
    let length = |at| usize::try_from(u32_at(rest, at)).unwrap_or(usize::MAX);
    let (channel, data) = data.split_at_checked(length(0)).ok_or(too_long)?;
    let (message, data) = data.split_at_checked(length(4)).ok_or(Invalid::Publication(kind, bytes.len()))?;
    exactly(kind, bytes, data, 0)?;
    Ok(Body::Publication(channel, message))
}

fn decode_sender(bytes: &[u8]) -> Sender<'_> {
    let range = |at: usize, length: usize| bytes.get(at..at + length).unwrap_or_default();
    Sender {
        id: id_at(bytes, at::SENDER),
        port: u16_at(bytes, at::PORT),
        tls_port: u16_at(bytes, at::SECOND_PORT),
        bus_port: u16_at(bytes, at::BUS_PORT),
        ip: text(range(at::IP, IP_LENGTH)),
        current_epoch: u64_at(bytes, at::CURRENT_EPOCH),
        config_epoch: u64_at(bytes, at::CONFIG_EPOCH),
        offset: u64_at(bytes, at::OFFSET).cast_signed(),
        slots: SlotSet::from_bytes(range(at::SLOTS, SLOT_BYTES)),
        is_primary: array::<ID_LENGTH>(bytes, at::PRIMARY) == [0; ID_LENGTH],
        primary: id_at(bytes, at::PRIMARY),
        flags: u16_at(bytes, at::FLAGS),
        marks: array::<1>(bytes, at::MARKS)[0],
    }
}
