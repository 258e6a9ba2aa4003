//! Nodes that talk to each other in memory: how they meet, agree on slots, notice failures and fail over; and the node
//! file.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::bus::Kind;
use crate::keyspace::Keyspace;

/// A cluster in memory: its nodes, what they go by, and which links lead where.
struct Net {
    nodes: Vec<Cluster>,
    configs: Vec<Config>,
    offsets: Vec<i64>,
    /// Who is not reached.
    down: Vec<bool>,
    /// The two ends of a connection: node and link, node and link.
    wires: Vec<((usize, LinkId), (usize, LinkId))>,
    /// What the nodes wanted to happen, links aside.
    effects: Vec<Vec<Effect>>,
    now_ms: i64,
}

const START_MS: i64 = 1_700_000_000_000;

impl Net {
    fn new(count: usize) -> Self {
        let configs: Vec<Config> = (0..count)
            .map(|index| Config {
                port: 7000 + index as u16,
                cluster_node_timeout: 1000,
                ..Config::default()
            })
            .collect();
        let mut nodes: Vec<Cluster> = (0..count).map(|_| Cluster::new(START_MS)).collect();
        for (node, config) in nodes.iter_mut().zip(&configs) {
            node.refresh_myself(config);
        }
        Self {
            nodes,
            configs,
            offsets: vec![1; count],
            down: vec![false; count],
            wires: Vec::new(),
            effects: (0..count).map(|_| Vec::new()).collect(),
            now_ms: START_MS,
        }
    }

    fn with<T>(&mut self, index: usize, act: impl FnOnce(&mut Cluster, &View<'_>) -> T) -> T {
        let view = View {
            config: &self.configs[index],
            now_ms: self.now_ms,
            offset: self.offsets[index],
            data_age_ms: 0,
        };
        act(&mut self.nodes[index], &view)
    }

    fn ends(from: usize, to: usize) -> Ends {
        let ip = |index| format!("10.0.0.{index}");
        Ends { peer_ip: ip(to), peer: String::new(), own_ip: ip(from) }
    }

    /// What the server does when a message or a turn of the cron is done.
    fn settle(&mut self, index: usize) {
        self.with(index, |node, view| {
            if node.todo.update_state {
                node.update_state(view);
            }
            if std::mem::take(&mut node.todo.manual_failover) {
                node.tend_manual_failover(view);
            }
            if std::mem::take(&mut node.todo.failover) {
                node.tend_failover(view);
            }
            if std::mem::take(&mut node.todo.broadcast) {
                node.broadcast_pong(false, view);
            }
        });
        for effect in std::mem::take(&mut self.nodes[index].effects) {
            match effect {
                Effect::Connect(link, _, port) => self.connect(index, link, usize::from(port - 17000)),
                other => self.effects[index].push(other),
            }
        }
    }

    fn connect(&mut self, from: usize, link: LinkId, to: usize) {
        if self.down[to] {
            let now_ms = self.now_ms;
            self.nodes[from].link_ended(link, Some("Connection refused"), now_ms);
            return;
        }
        let now_ms = self.now_ms;
        let (inbound, _) = self.nodes[to].links.add(None, Self::ends(to, from), now_ms);
        self.wires.push(((from, link), (to, inbound)));
        self.with(from, |node, view| node.connected(link, Self::ends(from, to), view));
    }

    /// Delivers what is queued until nothing is.
    fn deliver(&mut self) {
        for _ in 0..200 {
            let mut moved = false;
            for index in 0..self.nodes.len() {
                self.settle(index);
            }
            for ((a, to_b), (b, to_a)) in self.wires.clone() {
                moved |= self.pass((a, to_b), (b, to_a));
                moved |= self.pass((b, to_a), (a, to_b));
            }
            if !moved {
                return;
            }
        }
        panic!("the nodes never fall silent");
    }

    fn pass(&mut self, (from, outgoing): (usize, LinkId), (to, incoming): (usize, LinkId)) -> bool {
        let Some(link) = self.nodes[from].links.get_mut(outgoing) else { return false };
        let bytes = link.sendable(u64::MAX).to_vec();
        if bytes.is_empty() {
            return false;
        }
        link.note_sent(bytes.len());
        if self.down[from] || self.down[to] || self.nodes[to].links.get(incoming).is_none() {
            return true;
        }
        self.with(to, |node, view| node.receive(incoming, &bytes, view));
        self.settle(to);
        true
    }

    fn run(&mut self, ms: i64) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            for index in 0..self.nodes.len() {
                if !self.down[index] {
                    self.with(index, |node, view| node.run_cron(view));
                    self.settle(index);
                }
            }
            self.deliver();
        }
    }

    /// All nodes meet, and the first `primaries` of them share the slots.
    fn formed(count: usize, primaries: usize) -> Self {
        let mut net = Self::new(count);
        for index in 1..count {
            net.meet(0, index);
        }
        let share = 16384 / primaries + 1;
        for slot in 0..16384 {
            let owner = slot / share;
            let node = &mut net.nodes[owner];
            node.give_slot(node.myself, slot as u16);
        }
        net.run(6000);
        for index in 0..count {
            assert_eq!(net.nodes[index].nodes.count(), count, "node {index} knows all");
            assert!(net.nodes[index].is_ok(), "node {index} is up");
        }
        net
    }

    fn meet(&mut self, from: usize, to: usize) {
        let address = Address {
            ip: format!("10.0.0.{to}"),
            port: 7000 + to as u16,
            tls_port: 0,
            bus_port: 17000 + to as u16,
        };
        let now_ms = self.now_ms;
        assert!(self.nodes[from].begin_handshake(address, now_ms));
        self.run(500);
    }

    /// How node `from` sees node `to`.
    fn seen(&self, from: usize, to: usize) -> &Node {
        let key = self.nodes[from].nodes.find(self.nodes[to].me().id).unwrap();
        &self.nodes[from].nodes[key]
    }

    fn replicate(&mut self, replica: usize, primary: usize) {
        let key = self.nodes[replica].nodes.find(self.nodes[primary].me().id).unwrap();
        self.nodes[replica].replicate(key);
        self.run(1000);
    }
}

#[test]
fn nodes_meet_and_agree_on_slots_and_epochs() {
    let net = Net::formed(4, 3);
    let mut epochs: Vec<u64> = net.nodes.iter().map(|node| node.me().config_epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 4, "no two primaries have the same epoch");
    for node in &net.nodes {
        assert_eq!(node.size(), 3);
        assert_eq!(node.rows().len(), 3);
        assert!(node.nodes.iter().all(|(_, other)| other.link.is_some() || other.is(node_flag::MYSELF)));
        assert!(node.nodes.iter().all(|(_, other)| !other.is(node_flag::HANDSHAKE | node_flag::MEET)));
    }
    assert_eq!(net.nodes[1].me().address.ip, "10.0.0.1");
}

#[test]
fn what_a_node_announces_reaches_the_others() {
    let mut net = Net::formed(3, 1);
    net.configs[1].cluster_announce_hostname = crate::config::Text::new("host.example");
    net.configs[1].cluster_announce_client_port = 9001;
    net.run(3000);
    let announced = &net.seen(2, 1).announced;
    assert_eq!((announced.hostname.as_str(), announced.client_port), ("host.example", 9001));
    assert_eq!(net.seen(2, 1).shard, net.nodes[1].me().shard);
}

#[test]
fn a_forgotten_node_is_forgotten_by_all() {
    let mut net = Net::formed(4, 1);
    net.down[3] = true;
    let id = net.nodes[3].me().id;
    let key = net.nodes[0].nodes.find(id).unwrap();
    net.with(0, |node, view| node.forget_for_a_while(key, view));
    net.run(3000);
    for node in &net.nodes[..3] {
        assert_eq!(node.nodes.find(id), None);
    }
    let now_ms = net.now_ms;
    assert!(net.nodes[1].is_forgotten(id, now_ms));
}

#[test]
fn a_failed_primary_is_replaced_by_its_replica() {
    let mut net = Net::formed(5, 3);
    net.replicate(3, 0);
    net.replicate(4, 0);
    assert!(net.seen(1, 3).is_replica() && net.nodes[3].me().shard == net.nodes[0].me().shard);
    net.offsets[4] = 50;
    net.run(1500);
    net.down[0] = true;
    net.run(8000);
    assert!(net.seen(1, 0).is(node_flag::FAIL));
    // The one with more data.
    assert!(net.nodes[4].me().is_primary() && net.effects[4].contains(&Effect::Unfollow));
    assert!(net.nodes[4].serves(0) && net.nodes[4].is_ok());
    assert_eq!(net.nodes[3].me().primary, net.nodes[3].nodes.find(net.nodes[4].me().id));
    assert_eq!(net.nodes[1].owner(0), net.nodes[1].nodes.find(net.nodes[4].me().id));
    // The old primary comes back and learns what has happened.
    net.down[0] = false;
    net.wires.retain(|((a, _), (b, _))| *a != 0 && *b != 0);
    let now_ms = net.now_ms;
    for index in 0..5 {
        let node = &mut net.nodes[index];
        let links: Vec<LinkId> = node
            .nodes
            .iter()
            .filter(|(_, other)| index == 0 || other.address.port == 7000)
            .flat_map(|(_, other)| [other.link, other.inbound])
            .flatten()
            .collect();
        links.into_iter().for_each(|link| node.free_link(link, now_ms));
    }
    net.run(8000);
    assert!(net.nodes[0].me().is_replica(), "the old primary follows the new one");
    assert!(matches!(net.effects[0].last(), Some(Effect::Follow { port: 7004, full_sync: false, .. })));
    assert!(!net.seen(1, 0).is(node_flag::FAIL | node_flag::PFAIL));
}

#[test]
fn a_minority_serves_nothing() {
    let mut net = Net::formed(3, 3);
    (net.down[1], net.down[2]) = (true, true);
    net.run(5000);
    assert!(!net.nodes[0].is_ok());
    assert!(net.seen(0, 1).is(node_flag::PFAIL) && !net.seen(0, 1).is(node_flag::FAIL));
}

#[test]
fn a_manual_failover_waits_for_the_stream() {
    let mut net = Net::formed(4, 3);
    net.replicate(3, 0);
    net.offsets = vec![100, 100, 100, 90];
    net.with(3, |node, view| node.begin_manual_failover(FailoverMode::Agreed, view));
    net.run(1000);
    assert!(matches!(net.effects[0].last(), Some(Effect::HoldWriters(_))));
    assert!(net.nodes[3].me().is_replica() && net.nodes[3].awaits_stream());
    net.offsets[3] = 100;
    net.run(1000);
    assert!(net.nodes[3].me().is_primary() && net.nodes[3].serves(0));
    assert!(net.nodes[0].me().is_replica());
    assert!(net.effects[0].contains(&Effect::ReleaseWriters));
}

#[test]
fn a_slot_moves_and_everybody_learns_of_it() {
    let mut net = Net::formed(3, 3);
    let keyspace = Keyspace::new(1);
    let key = |net: &Net, at: usize, of: usize| net.nodes[at].nodes.find(net.nodes[of].me().id);
    let (source, target) = (key(&net, 1, 0), key(&net, 0, 1));
    let set = |action, node| SetSlot { slot: 0, action, node };
    net.with(1, |node, view| node.set_slot(set(SlotAction::Importing, source), &keyspace, view));
    net.with(0, |node, view| node.set_slot(set(SlotAction::Migrating, target), &keyspace, view));
    assert_eq!((net.nodes[0].migrating_to(0), net.nodes[1].importing_from(0)), (target, source));
    assert!(net.nodes[0].lines(Reader::Client(false)).contains("[0->-"));
    let myself = Some(net.nodes[1].myself);
    net.with(1, |node, view| node.set_slot(set(SlotAction::Assign, myself), &keyspace, view));
    net.run(2000);
    assert!(net.nodes[1].serves(0));
    for node in &net.nodes {
        assert_eq!(node.owner(0), node.nodes.find(net.nodes[1].me().id));
        assert_eq!((node.migrating_to(0), node.importing_from(0)), (None, None));
    }
}

#[test]
fn messages_are_published_to_every_node() {
    let mut net = Net::formed(3, 3);
    net.with(0, |node, view| node.publish(false, b"c", b"m", view));
    net.with(0, |node, view| node.publish(true, b"s", b"m", view));
    net.deliver();
    let publish = Effect::Publish { sharded: false, channel: b"c".to_vec(), message: b"m".to_vec() };
    assert_eq!(net.effects[1].iter().filter(|effect| matches!(effect, Effect::Publish { .. })).count(), 1);
    assert!(net.effects[1].contains(&publish) && net.effects[2].contains(&publish));
    assert_eq!(net.nodes[1].bus.messages_received[Kind::Publish as usize], 1);
}

/// Strangers and damaged messages change nothing and break nothing.
#[test]
fn hostile_messages_leave_the_table_alone() {
    let mut net = Net::formed(3, 3);
    let before = net.nodes[0].file_text();
    let mut random = fastrand::Rng::with_seed(3);
    let now_ms = net.now_ms;
    let template = {
        let link = net.nodes[1].nodes.iter().find_map(|(_, node)| node.link).unwrap();
        net.with(1, |node, view| node.send_ping(link, Kind::Ping, view));
        net.nodes[1].links.get(link).unwrap().sendable(u64::MAX).to_vec()
    };
    for _ in 0..3000 {
        let (link, _) = net.nodes[0].links.add(None, Net::ends(0, 9), now_ms);
        let mut bytes = template.clone();
        // Another sender, so that it is a stranger's; then anything.
        bytes[40] = b'z';
        for _ in 0..random.usize(..8) {
            let place = random.usize(8..bytes.len());
            bytes[place] = random.u8(..);
        }
        bytes[12..14].copy_from_slice(&[0, *random.choice(&[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 50]).unwrap()]);
        net.with(0, |node, view| node.receive(link, &bytes, view));
        net.nodes[0].link_ended(link, None, now_ms);
    }
    assert_eq!(net.nodes[0].file_text(), before);
}

#[test]
fn the_node_file_comes_back_as_it_went() {
    let mut net = Net::formed(4, 3);
    net.replicate(3, 0);
    let keyspace = Keyspace::new(1);
    let target = net.nodes[0].nodes.find(net.nodes[1].me().id);
    let set = SetSlot { slot: 1, action: SlotAction::Migrating, node: target };
    net.with(0, |node, view| node.set_slot(set, &keyspace, view));
    (net.nodes[0].current_epoch, net.nodes[0].last_vote_epoch) = (70, 60);
    let text = net.nodes[0].file_text();
    let back = file::parse(&text, START_MS).unwrap();
    assert_eq!((back.me().id, back.me().shard), (net.nodes[0].me().id, net.nodes[0].me().shard));
    assert_eq!((back.current_epoch, back.last_vote_epoch), (70, 60));
    assert_eq!(back.rows().len(), 3);
    assert_eq!(back.migrating_to(1).map(|key| back.nodes[key].id), Some(net.nodes[1].me().id));
    assert_eq!(back.replicas_of(back.myself).len(), 1);
    let without_times = |text: &str| {
        let words = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let skipped = |at: &usize| !matches!(at, 4 | 5 | 7);
            (0..words.len()).filter(skipped).map(|at| words[at].to_owned()).collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = text.lines().map(words).collect();
        lines.sort();
        lines
    };
    assert_eq!(without_times(&back.file_text()), without_times(&text));
}

#[test]
fn a_node_file_of_valkey_is_read() {
    let text = "6c79f457e313ae8a518c0f3a1e2de2b9a5bc156c :30210@30710,,tls-port=0,\
                shard-id=79ba4670b8f97e398b099b0dd952ad114356bdba myself,master - 0 0 1 connected 0-4 8 10-16383\n\
                vars currentEpoch 1 lastVoteEpoch 0\n";
    let cluster = file::parse(text, START_MS).unwrap();
    assert_eq!(cluster.me().id.as_str(), "6c79f457e313ae8a518c0f3a1e2de2b9a5bc156c");
    assert_eq!(cluster.me().shard.as_str(), "79ba4670b8f97e398b099b0dd952ad114356bdba");
    assert_eq!(cluster.me().slots.ranges(), [(0, 4), (8, 8), (10, 16383)]);
}

#[test]
fn wrong_node_files_are_refused() {
    let id = "6c79f457e313ae8a518c0f3a1e2de2b9a5bc156c";
    for text in [
        "garbage".to_owned(),
        "vars currentEpoch 1\n".to_owned(),
        format!("{id} :1@2 myself,master - 0 0 x connected\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected 0-16384\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected 4-x\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected [5->-abc]\n"),
        format!("{id} :1@2 myself,master {id} 0 0 1 connected\n"),
        format!("{id}0 :1@2 myself,master - 0 0 1 connected\n"),
        format!("{id} :1@2,,bogus=1 myself,master - 0 0 1 connected\n"),
        format!("{id} :1@2 myself,bogus - 0 0 1 connected\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected\nvars currentEpoch\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected\n{id} :1@2 master - 0 0 1 connected\n"),
    ] {
        assert!(matches!(file::parse(&text, START_MS), Err(file::FileError::Corrupt(_))), "{text}");
    }
    assert!(file::parse(&format!("{id} :1@2 master - 0 0 1 connected 0-5\n"), START_MS).is_err());
}

#[test]
fn keys_are_served_when_every_slot_is() {
    let mut net = Net::new(1);
    net.run(2500);
    assert!(!net.nodes[0].is_ok());
    let give = |node: &mut Cluster, slots: std::ops::Range<u16>| {
        slots.for_each(|slot| {
            node.give_slot(node.myself, slot);
        });
    };
    give(&mut net.nodes[0], 0..16383);
    net.run(2000);
    assert!(!net.nodes[0].is_ok());
    net.configs[0].cluster_require_full_coverage = false;
    net.run(1500);
    assert!(net.nodes[0].is_ok());
    net.configs[0].cluster_require_full_coverage = true;
    give(&mut net.nodes[0], 16383..16384);
    net.with(0, |node, view| node.update_state(view));
    assert!(net.nodes[0].is_ok());
    let now_ms = net.now_ms;
    net.nodes[0].reset(true, now_ms);
    net.with(0, |node, view| node.update_state(view));
    assert!(!net.nodes[0].is_ok());
}

#[test]
fn epochs_grow() {
    let mut cluster = Cluster::new(START_MS);
    assert!(cluster.bump_epoch());
    assert_eq!((cluster.me().config_epoch, cluster.current_epoch), (1, 1));
    assert!(!cluster.bump_epoch());
    cluster.current_epoch = 5;
    assert!(cluster.bump_epoch());
    assert_eq!(cluster.me().config_epoch, 6);
}
