//! Messages come back as they went, Valkey's own among them; whatever else arrives is refused, never worse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

/// A MEET that a Valkey 9.1 sent: 100 slots, one other node in its gossip.
const MEET: &[u8] = include_bytes!("../../tests/golden/valkey-9.1-meet.bus");

fn id(digit: char) -> NodeId {
    NodeId::parse(digit.to_string().repeat(40).as_bytes()).unwrap()
}

fn header(slots: &SlotSet) -> Header<'_> {
    Header {
        sender: id('a'),
        port: 7000,
        tls_port: 7443,
        bus_port: 17000,
        ip: "10.0.0.1",
        current_epoch: 9,
        config_epoch: 7,
        offset: 1234,
        slots,
        primary: Some(id('b')),
        flags: 0x1402,
        is_down: true,
        marks: mark::FORCE_ACK,
    }
}

fn ping() -> Vec<u8> {
    let slots = [0, 1, 63, 64, 16383].into_iter().collect();
    let mut writer = Writer::new(Kind::Ping, &header(&slots));
    for digit in ['c', 'd'] {
        writer.gossip(&GossipEntry {
            id: id(digit),
            ping_sent: 5,
            pong_received: 6,
            ip: "10.0.0.2",
            port: 7001,
            tls_port: 0,
            bus_port: 17001,
            flags: 1,
        });
    }
    writer.mark_extensions();
    writer.text(extension::HOSTNAME, "host.example");
    writer.text(extension::HUMAN_NAME, "");
    writer.port(extension::CLIENT_PORT, 9000);
    writer.port(extension::CLIENT_TLS_PORT, 0);
    writer.forgotten(id('e'), 60);
    writer.shard(id('f'));
    writer.finish().to_vec()
}

#[test]
fn a_message_of_valkey_is_read_and_written_again_byte_by_byte() {
    assert_eq!(frame_length(MEET, false), Ok(Some(MEET.len())));
    let message = decode(MEET).unwrap();
    let sender = message.sender.unwrap();
    assert_eq!(message.kind, Kind::Meet);
    assert_eq!((sender.port, sender.bus_port, sender.tls_port), (33001, 43001, 0));
    assert_eq!((sender.slots.ranges(), sender.is_primary), (vec![(0, 99)], true));
    assert_eq!(sender.flags & 0x1c11, 0x1c11);
    let Body::Gossip(gossip, extensions) = message.body else { panic!() };
    assert_eq!(extensions.iter().count(), 0);
    let entries: Vec<_> = gossip.iter().collect();
    let [Some(entry)] = entries.as_slice() else { panic!() };
    assert_eq!((entry.ip, entry.port, entry.bus_port, entry.flags), ("127.0.0.1", 33002, 43002, 0x1c01));
    let mut writer = Writer::new(
        Kind::Meet,
        &Header {
            sender: sender.id.unwrap(),
            port: sender.port,
            tls_port: sender.tls_port,
            bus_port: sender.bus_port,
            ip: sender.ip,
            current_epoch: sender.current_epoch,
            config_epoch: sender.config_epoch,
            offset: sender.offset,
            slots: &sender.slots,
            primary: None,
            flags: sender.flags,
            is_down: true,
            marks: sender.marks,
        },
    );
    writer.gossip(entry);
    assert_eq!(&*writer.finish(), MEET);
}

#[test]
fn pings_come_back_as_they_went() {
    let bytes = ping();
    let message = decode(&bytes).unwrap();
    let sender = message.sender.unwrap();
    assert_eq!((sender.id, sender.primary, sender.is_primary), (Some(id('a')), Some(id('b')), false));
    assert_eq!((sender.current_epoch, sender.config_epoch, sender.offset), (9, 7, 1234));
    assert_eq!(sender.slots.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 16383]);
    assert_eq!((sender.ip, sender.marks), ("10.0.0.1", mark::FORCE_ACK | mark::EXTENSIONS));
    let Body::Gossip(gossip, extensions) = message.body else { panic!() };
    assert_eq!(gossip.iter().map(|entry| entry.unwrap().id).collect::<Vec<_>>(), [id('c'), id('d')]);
    let extensions: Vec<_> = extensions.iter().collect();
    assert_eq!(
        extensions,
        [
            Extension::Text(extension::HOSTNAME, "host.example"),
            Extension::Port(extension::CLIENT_PORT, 9000),
            Extension::Forgotten(id('e'), 60),
            Extension::Shard(id('f')),
        ]
    );
}

#[test]
fn other_messages_come_back_as_they_went() {
    let slots = SlotSet::default();
    let mut writer = Writer::new(Kind::Fail, &header(&slots));
    writer.failed(id('c'));
    assert!(matches!(decode(&writer.finish()).unwrap().body, Body::Fail(Some(failed)) if failed == id('c')));
    let mut writer = Writer::new(Kind::Update, &header(&slots));
    writer.update(id('c'), 77, &(5..=9).collect());
    let bytes = writer.finish();
    let Body::Update(update) = decode(&bytes).unwrap().body else { panic!() };
    assert_eq!((update.id, update.config_epoch, update.slots.ranges()), (Some(id('c')), 77, vec![(5, 9)]));
    let light = publish_light(Kind::PublishShard, b"channel", b"message");
    let mut writer = Writer::new(Kind::Publish, &header(&slots));
    writer.publication(b"channel", b"message");
    for bytes in [light, writer.finish()] {
        assert_eq!(frame_length(&bytes, true), Ok(Some(bytes.len())));
        let message = decode(&bytes).unwrap();
        assert!(matches!(message.body, Body::Publication(b"channel", b"message")));
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    let bytes = ping();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    let count = decode(&with(at::COUNT, &[0, 100])).unwrap_err();
    assert!(matches!(count, Invalid::Gossip(Kind::Ping, 100, _)), "{count}");
    let extensions = decode(&with(at::EXTENSIONS, &[0xff, 0xff])).unwrap_err();
    assert!(matches!(extensions, Invalid::Extension(..)), "{extensions}");
    let first_extension = HEADER_LENGTH + 2 * GOSSIP_LENGTH;
    for length in [0_u32, 4, 12, 1 << 20, u32::MAX, u32::MAX - 7] {
        assert!(decode(&with(first_extension, &length.to_be_bytes())).is_err(), "{length}");
    }
    assert_eq!(decode(&with(at::VERSION, &[0, 9])).unwrap_err(), Invalid::Version);
    assert_eq!(decode(&with(at::KIND, &[0, 99])).unwrap_err(), Invalid::Kind(99));
    assert_eq!(decode(&with(at::KIND, &[0x80, 0])).unwrap_err(), Invalid::Light(0));
    let mut forged = publish_light(Kind::Publish, b"", b"").to_vec();
    forged[16..24].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]);
    assert!(matches!(decode(&forged).unwrap_err(), Invalid::Channel(..)));
    forged[16..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
    assert!(matches!(decode(&forged).unwrap_err(), Invalid::Publication(..)));
}

#[test]
fn frames_that_are_none_are_refused() {
    let bytes = ping();
    assert_eq!(frame_length(&bytes[..13], false), Ok(None));
    assert_eq!(frame_length(b"GET / HTTP/1.1\r\n", false), Err(Invalid::Frame));
    let with_length = |length: u32, kind: u16| {
        let mut bytes = bytes.clone();
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        bytes
    };
    for (length, kind) in [(0, 0), (2255, 0), (u32::MAX, 0), (15, LIGHT | 4), (1 << 30, 4)] {
        assert_eq!(frame_length(&with_length(length, kind), false), Err(Invalid::Frame), "{length} {kind}");
    }
    // A node that is known may publish what is long.
    assert_eq!(frame_length(&with_length(1 << 30, LIGHT | 4), true), Ok(Some(1 << 30)));
}

/// Whatever is changed or cut off, decoding comes to an end and reads nothing that is not there.
#[test]
fn damaged_messages_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(7);
    let originals = [ping(), MEET.to_vec(), publish_light(Kind::Publish, b"channel", b"message").to_vec()];
    for round in 0..20_000 {
        let mut bytes = originals[round % originals.len()].clone();
        for _ in 0..random.usize(1..6) {
            // Mostly where lengths and counts stand.
            let place = if random.bool() { random.usize(..24) } else { random.usize(..bytes.len()) };
            bytes[place] = random.u8(..);
        }
        if random.bool() {
            bytes.truncate(random.usize(14..=bytes.len()));
        }
        let _ = frame_length(&bytes, random.bool());
        if let Ok(message) = decode(&bytes)
            && let Body::Gossip(gossip, extensions) = message.body
        {
            assert!(gossip.iter().count() <= 2 && extensions.iter().count() <= 200);
        }
    }
}

#[test]
fn sets_of_slots_do_as_sets_do() {
    let mut set = SlotSet::default();
    assert!(set.is_empty() && set.insert(100) && !set.insert(100) && set.insert(101) && set.insert(16383));
    assert!(set.contains(101) && !set.contains(102) && !set.insert(16384) && !set.contains(16384));
    assert_eq!((set.len(), set.ranges()), (3, vec![(100, 101), (16383, 16383)]));
    let other = [100, 5].into_iter().collect();
    assert_eq!(set.without(&other).ranges(), [(101, 101), (16383, 16383)]);
    assert!(set.remove(100) && !set.remove(100));
    let mut bytes = Vec::new();
    set.write_to(&mut bytes);
    assert_eq!(SlotSet::from_bytes(&bytes), set);
}

#[test]
fn ids_are_forty_hexadecimal_digits() {
    assert_eq!(NodeId::parse(NodeId::random().as_bytes()).map(|id| id.as_str().len()), Some(40));
    assert_ne!(NodeId::random(), NodeId::random());
    for wrong in ["", "abc", &"A".repeat(40), &"g".repeat(40), &"a".repeat(41)] {
        assert_eq!(NodeId::parse(wrong.as_bytes()), None);
    }
}
