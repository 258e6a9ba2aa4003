//! Nodes of a cluster, ours and the real Valkey's, and how they come together.

use super::Server;
use super::reply::Conversation;

/// Whether a node thinks that its cluster serves.
pub fn is_ok(client: &mut Conversation) -> bool {
    client.ask("CLUSTER INFO").contains("cluster_state:ok")
}

pub const NODE_OPTIONS: &[&str] = &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];

/// A node of several, and a connection to it.
pub struct Node {
    pub server: Server,
    pub client: Conversation,
    pub id: String,
}

impl Node {
    pub fn of(server: Server) -> Self {
        let mut client = Conversation::open(&server);
        let id = client.ask("CLUSTER MYID").trim_matches(['"', '\n']).to_owned();
        Self { server, client, id }
    }

    pub fn ours() -> Self {
        Self::of(Server::start(NODE_OPTIONS))
    }

    pub fn valkeys() -> Option<Self> {
        Server::start_valkey(NODE_OPTIONS).map(Self::of)
    }

    pub fn ok(&mut self, request: &str) {
        assert_eq!(self.client.ask(request), "OK\n", "{request}");
    }

    pub fn is_primary(&mut self) -> bool {
        self.client.ask("CLUSTER NODES").contains("myself,master")
    }
}

pub fn all(nodes: &mut [Node], what: &str, mut holds: impl FnMut(&mut Node) -> bool) {
    for node in nodes {
        let Node { server, .. } = &*node;
        let port = server.port;
        let begun = std::time::Instant::now();
        while !holds(node) {
            let patience = std::time::Duration::from_secs(60);
            assert!(begun.elapsed() < patience, "never at {port}: {what}\n{}", node.server.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// All meet, the first three share the slots, and of the others the first follows the first and so on.
pub fn form(nodes: &mut [Node]) {
    for (index, slots) in ["0 5460", "5461 10922", "10923 16383"].iter().enumerate() {
        nodes[index].ok(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
        nodes[index].ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
    }
    for index in 1..nodes.len() {
        let port = nodes[index].server.port;
        nodes[0].ok(&format!("CLUSTER MEET 127.0.0.1 {port}"));
    }
    let known = format!("cluster_known_nodes:{}", nodes.len());
    all(nodes, "it knows all", |node| {
        let info = node.client.ask("CLUSTER INFO");
        info.contains(&known) && info.contains("cluster_state:ok")
    });
    for index in 3..nodes.len() {
        let id = nodes[index - 3].id.clone();
        // It may not have heard yet that this one is a primary.
        all(&mut nodes[index..=index], "it replicates", |node| {
            node.client.ask(&format!("CLUSTER REPLICATE {id}")) == "OK\n"
        });
    }
    let count = nodes.len() - 3;
    all(nodes, "it knows who is whose replica", |node| {
        let text = node.client.ask("CLUSTER NODES");
        text.matches("slave ").count() == count && !text.contains("slave - ")
    });
    all(&mut nodes[3..], "it is synchronized", |node| {
        node.client.ask("INFO replication").contains("master_link_status:up")
    });
}

/// Writes a key wherever it belongs.
pub fn set(nodes: &mut [Node], key: &str) {
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 60 {
        if nodes.iter_mut().any(|node| node.client.ask(&format!("SET {key} {key}")) == "OK\n") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("nobody takes {key}");
}

/// What was written is at the replicas of whoever has one.
pub fn await_replicas(nodes: &mut [Node]) {
    for node in nodes.iter_mut() {
        if node.is_primary() {
            node.client.ask("WAIT 1 2000");
        }
    }
}
